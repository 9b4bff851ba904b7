// A group whose operations are done, but whose results arrive only when somebody waits for them:
// until then there are no numbers where they will be. What is read too early shows.
#pragma once

#include <cstring>
#include <memory>
#include <utility>

#include "gda/core/memory.h"
#include "support/stub_communicator.h"

namespace gda::test {

class LateCommunicator final : public StubCommunicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  explicit LateCommunicator(Communicator& group)
      : StubCommunicator(group.rank(), group.size()), group_(group) {}

  void set_step(std::int64_t step) override { group_.set_step(step); }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    OwnedTensor result = copy_of(data);
    group_.all_reduce(result.tensor, reduction).wait();
    return deliver(std::move(result), data, {});
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    const OwnedTensor all = copy_of(from);
    OwnedTensor result = copy_of(to);
    group_.reduce_scatter(all.tensor, result.tensor).wait();
    return deliver(std::move(result), to, {});
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    OwnedTensor result = copy_of(to);
    group_.all_gather(from, result.tensor).wait();
    return deliver(std::move(result), to, from);
  }
  Pending broadcast(const Tensor& data, int root) override {
    OwnedTensor result = copy_of(data);
    group_.broadcast(result.tensor, root).wait();
    return deliver(std::move(result), data, root == rank() ? data : Tensor());
  }
  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    auto part = group_.split(colour, name);
    auto late = std::make_unique<LateCommunicator>(*part);
    late->owned_ = std::move(part);
    return late;
  }

 private:
  class Delivery final : public Pending::State {
   public:
    Delivery(OwnedTensor result, const Tensor& to) : result_(std::move(result)), to_(to) {}
    void wait() override {
      // Once: the receiver may have changed it since.
      if (std::exchange(is_there_, true)) return;
      std::memcpy(to_.raw(), result_.tensor.raw(), to_.bytes());
    }

   private:
    OwnedTensor result_;
    Tensor to_;
    bool is_there_ = false;
  };

  static OwnedTensor copy_of(const Tensor& tensor) {
    OwnedTensor copy(tensor.dtype(), tensor.shape());
    std::memcpy(copy.tensor.raw(), tensor.raw(), tensor.bytes());
    return copy;
  }

  // `kept`, which may be a part of `to`, stays as it is.
  static Pending deliver(OwnedTensor result, const Tensor& to, const Tensor& kept) {
    OwnedTensor own;
    if (kept) own = copy_of(kept);
    std::memset(to.raw(), 0xff, to.bytes());  // not a number, in every type
    if (kept) std::memcpy(kept.raw(), own.tensor.raw(), kept.bytes());
    return Pending(std::make_shared<Delivery>(std::move(result), to));
  }

  std::unique_ptr<Communicator> owned_;
  Communicator& group_;
};

}  // namespace gda::test
