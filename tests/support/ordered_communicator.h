// A group whose operations run at once, or not before they are waited for: the two ends of what the
// background may do. What is read or written between gives other numbers in one of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "gda/dist/communicator.h"

namespace gda::test {

enum class OperationOrder { at_once, when_waited_for };

class OrderedCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  // The other group outlives this one.
  OrderedCommunicator(Communicator& group, OperationOrder order) : group_(&group), order_(order) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  int world_rank(int rank) const override { return group_->world_rank(rank); }
  void set_step(std::int64_t step) override { group_->set_step(step); }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    return run([=, this] { return group_->all_reduce(data, reduction); });
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    return run([=, this] { return group_->reduce_scatter(from, to); });
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    return run([=, this] { return group_->all_gather(from, to); });
  }
  Pending broadcast(const Tensor& data, int root) override {
    return run([=, this] { return group_->broadcast(data, root); });
  }
  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    return run([=, this] { return group_->all_to_all(from, to); });
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    return run([=, this] { return group_->send_receive(send, to, receive, from); });
  }
  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    auto part = std::make_unique<OrderedCommunicator>(*group_, order_);
    part->own_ = group_->split(colour, name);
    part->group_ = part->own_.get();
    return part;
  }

 private:
  using Start = std::function<Pending()>;

  class Late final : public Pending::State {
   public:
    explicit Late(Start start) : start_(std::move(start)) {}
    void wait() override {
      if (start_) std::exchange(start_, nullptr)().wait();
    }

   private:
    Start start_;
  };

  Pending run(Start start) const {
    if (order_ == OperationOrder::when_waited_for) return Pending(std::make_shared<Late>(start));
    start().wait();
    return {};
  }

  Communicator* group_;
  std::unique_ptr<Communicator> own_;
  OperationOrder order_;
};

}  // namespace gda::test
