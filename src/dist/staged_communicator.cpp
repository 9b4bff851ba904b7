#include "dist/staged_communicator.h"

#include <utility>

#include "dist/forwarding_communicator.h"
#include "dist/validate.h"

namespace gda::dist {
namespace {

// A copy in the host's memory, and back when the operation on it is done.
class StagedOperation final : public Pending::State {
 public:
  // An empty `to` awaits nothing.
  StagedOperation(const Stream& stream, const Tensor& to) : stream_(stream), to_(to) {
    if (to) host_ = OwnedTensor(to.dtype(), to.shape());
  }

  const Tensor& host() const { return host_.tensor; }
  // What the operation reads, if that is not host() itself.
  const Tensor& stage(const Tensor& from) {
    if (!from) return from_.tensor;
    from_ = OwnedTensor(from.dtype(), from.shape());
    copy(stream_, from, from_.tensor);
    return from_.tensor;
  }
  void under_way(Pending operation) { operation_ = std::move(operation); }

  void wait() override {
    if (done_) return;
    operation_.wait();
    if (to_) copy(stream_, host_.tensor, to_);
    done_ = true;
  }

 private:
  Stream stream_;
  Tensor to_;
  OwnedTensor host_;
  OwnedTensor from_;
  Pending operation_;
  bool done_ = false;
};

// Through the host's memory.
class StagedCommunicator final : public ForwardingCommunicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  StagedCommunicator(std::shared_ptr<Communicator> host, const Stream& compute)
      : ForwardingCommunicator(std::move(host)), compute_(compute) {}

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    if (is_on_host(data)) return inner().all_reduce(data, reduction);
    validate_all_reduce(data);
    return in_place(data, [&](const Tensor& host) { return inner().all_reduce(host, reduction); });
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    if (is_on_host(from)) return inner().reduce_scatter(from, to);
    validate_reduce_scatter(from, to, rank(), size());
    return out_of_place(from, to, [&](const Tensor& host_from, const Tensor& host_to) {
      return inner().reduce_scatter(host_from, host_to);
    });
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    if (is_on_host(to)) return inner().all_gather(from, to);
    validate_all_gather(from, to, rank(), size());
    return out_of_place(from, to, [&](const Tensor& host_from, const Tensor& host_to) {
      return inner().all_gather(host_from, host_to);
    });
  }
  Pending broadcast(const Tensor& data, int root) override {
    if (is_on_host(data)) return inner().broadcast(data, root);
    validate_broadcast(data, root, size());
    return in_place(data, [&](const Tensor& host) { return inner().broadcast(host, root); });
  }
  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    if (is_on_host(from)) return inner().all_to_all(from, to);
    validate_all_to_all(from, to, size());
    return out_of_place(from, to, [&](const Tensor& host_from, const Tensor& host_to) {
      return inner().all_to_all(host_from, host_to);
    });
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    if (is_on_host(to == kNobody ? receive : send)) {
      return inner().send_receive(send, to, receive, from);
    }
    validate_send_receive(send, to, receive, from, rank(), size());
    if (to == rank()) {
      copy(compute_, send, receive);
      return {};
    }
    auto operation = std::make_shared<StagedOperation>(compute_, receive);
    const Tensor staged = operation->stage(send);
    operation->under_way(inner().send_receive(staged, to, operation->host(), from));
    return Pending(std::move(operation));
  }
  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    return make_staged_communicator(inner().split(colour, name), compute_);
  }

 private:
  template <class Start>
  Pending in_place(const Tensor& data, const Start& start) {
    if (size() == 1) return {};
    auto operation = std::make_shared<StagedOperation>(compute_, data);
    copy(compute_, data, operation->host());
    operation->under_way(start(operation->host()));
    return Pending(std::move(operation));
  }
  template <class Start>
  Pending out_of_place(const Tensor& from, const Tensor& to, const Start& start) {
    if (size() == 1) {
      if (from.raw() != to.raw()) copy(compute_, from, to);
      return {};
    }
    auto operation = std::make_shared<StagedOperation>(compute_, to);
    const Tensor staged = operation->stage(from);
    operation->under_way(start(staged, operation->host()));
    return Pending(std::move(operation));
  }

  Stream compute_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(std::shared_ptr<Communicator> host,
                                                       const Stream& compute) {
  return std::make_unique<StagedCommunicator>(std::move(host), compute);
}

}  // namespace gda::dist
