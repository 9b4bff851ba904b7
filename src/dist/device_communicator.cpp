#include "gda/dist/device_communicator.h"

#include <utility>

#include "dist/nccl.h"
#include "dist/validate.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"

namespace gda {
namespace {

bool is_on_host(const Tensor& tensor) {
  return tensor.device().type == DeviceType::cpu;
}

// A copy in the host's memory, and back when the operation on it is done.
class StagedOperation final : public Pending::State {
 public:
  StagedOperation(const Stream& stream, const Tensor& to)
      : stream_(stream), to_(to), host_(to.dtype(), to.shape()) {}

  const Tensor& host() const { return host_.tensor; }
  // What the operation reads, if that is not host() itself.
  const Tensor& stage(const Tensor& from) {
    from_ = OwnedTensor(from.dtype(), from.shape());
    copy(stream_, from, from_.tensor);
    return from_.tensor;
  }
  void under_way(Pending operation) { operation_ = std::move(operation); }

  void wait() override {
    if (done_) return;
    operation_.wait();
    copy(stream_, host_.tensor, to_);
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
class StagedCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  StagedCommunicator(Communicator& host, const Stream& compute) : host_(host), compute_(compute) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  void set_step(std::int64_t step) override { host_.set_step(step); }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    if (is_on_host(data)) return host_.all_reduce(data, reduction);
    dist::validate_all_reduce(data);
    return in_place(data, [&](const Tensor& host) { return host_.all_reduce(host, reduction); });
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    if (is_on_host(from)) return host_.reduce_scatter(from, to);
    dist::validate_reduce_scatter(from, to, rank(), size());
    return out_of_place(from, to, [&](const Tensor& host_from, const Tensor& host_to) {
      return host_.reduce_scatter(host_from, host_to);
    });
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    if (is_on_host(to)) return host_.all_gather(from, to);
    dist::validate_all_gather(from, to, rank(), size());
    return out_of_place(from, to, [&](const Tensor& host_from, const Tensor& host_to) {
      return host_.all_gather(host_from, host_to);
    });
  }
  Pending broadcast(const Tensor& data, int root) override {
    if (is_on_host(data)) return host_.broadcast(data, root);
    dist::validate_broadcast(data, root, size());
    return in_place(data, [&](const Tensor& host) { return host_.broadcast(host, root); });
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

  Communicator& host_;
  Stream compute_;
};

}  // namespace

bool nccl_is_available() {
  return cuda::nccl_is_available();
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& host, const Stream& compute,
                                                       const DeviceCommunicatorOptions& options) {
  const bool sends = compute.device.type == DeviceType::cuda && host.size() > 1;
  const bool automatic = options.backend == "auto" && cuda::nccl_is_available();
  if (sends && (automatic || options.backend == "nccl")) {
    return cuda::make_nccl_communicator(host, compute, options.timeout);
  }
  if (sends && options.backend == "auto" && host.rank() == 0) {
    log::warning(
        "this build has no NCCL: ranks exchange through the host's memory, which is slow; "
        "configure "
        "it with GDA_NCCL=ON, or set parallel.backend: mpi if that is meant");
  }
  return std::make_unique<StagedCommunicator>(host, compute);
}

}  // namespace gda
