// A group that can do nothing; tests derive the groups from it that can do what they need.
#pragma once

#include <memory>
#include <string>

#include "gda/core/error.h"
#include "gda/dist/communicator.h"

namespace gda::test {

class StubCommunicator : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  StubCommunicator(int rank, int size) : rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int world_rank(int rank) const override { return rank; }
  void set_step(std::int64_t /*step*/) override {}

  Pending all_reduce(const Tensor& /*data*/, Reduction /*reduction*/) override { refuse(); }
  Pending reduce_scatter(const Tensor& /*from*/, const Tensor& /*to*/) override { refuse(); }
  Pending all_gather(const Tensor& /*from*/, const Tensor& /*to*/) override { refuse(); }
  Pending broadcast(const Tensor& /*data*/, int /*root*/) override { refuse(); }
  Pending all_to_all(const Tensor& /*from*/, const Tensor& /*to*/) override { refuse(); }
  Pending send_receive(const Tensor& /*send*/, int /*to*/, const Tensor& /*receive*/,
                       int /*from*/) override {
    refuse();
  }
  std::unique_ptr<Communicator> split(int /*colour*/, const std::string& /*name*/) override {
    refuse();
  }

 private:
  [[noreturn]] static void refuse() { throw DistError("not for this test"); }

  int rank_;
  int size_;
};

}  // namespace gda::test
