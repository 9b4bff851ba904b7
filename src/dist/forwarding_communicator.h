// A group that adds something to another one of the same ranks.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gda/dist/communicator.h"

namespace gda::dist {

class ForwardingCommunicator : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  explicit ForwardingCommunicator(std::shared_ptr<Communicator> inner) : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  int world_rank(int rank) const override { return inner_->world_rank(rank); }
  std::string rank_name(int rank) const override { return inner_->rank_name(rank); }
  void set_rank_places(const std::vector<std::string>& places) override {
    inner_->set_rank_places(places);
  }
  void set_step(std::int64_t step) override { inner_->set_step(step); }

 protected:
  Communicator& inner() const { return *inner_; }

 private:
  std::shared_ptr<Communicator> inner_;
};

// The other group stays its owner's.
inline std::shared_ptr<Communicator> kept_elsewhere(Communicator& group) {
  return {std::shared_ptr<void>(), &group};
}

}  // namespace gda::dist
