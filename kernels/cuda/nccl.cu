// Collectives by NCCL (https://docs.nvidia.com/deeplearning/nccl), with MPI's group for what ranks
// have to tell each other before, and for tensors of the host.
#include <nccl.h>

#include <atomic>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <utility>

#include "check.h"
#include "dist/nccl.h"
#include "dist/validate.h"
#include "dist/watchdog.h"
#include "gda/core/error.h"
#include "gda/core/stream.h"

namespace gda::cuda {
namespace {

void check_nccl(ncclResult_t status, const char* call) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  fail<DistError>("{} failed: {} ({}); NCCL_DEBUG=INFO says more", call, ncclGetErrorString(status),
                  ncclGetLastError(nullptr));
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return ncclFloat64;
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    default:
      return ncclInt32;
  }
}

ncclRedOp_t operation_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::min:
      return ncclMin;
    case Reduction::max:
      return ncclMax;
    default:
      return ncclSum;
  }
}

std::size_t count_of(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.elements());
}

// The same identity on every rank, from rank 0.
ncclUniqueId agree_on_id(Communicator& host) {
  ncclUniqueId id{};
  if (host.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
  const std::string bytes = host.broadcast(std::string(id.internal, sizeof id.internal), 0);
  std::memcpy(id.internal, bytes.data(), sizeof id.internal);
  return id;
}

struct Operation {
  explicit Operation(Device device) : done(device) {}
  std::atomic<bool> issued{false};
  Event done;  // recorded once it is issued
};

class PendingOperation final : public Pending::State {
 public:
  PendingOperation(std::shared_ptr<const Operation> operation, Stream compute)
      : operation_(std::move(operation)), compute_(compute) {}
  void wait() override { operation_->done.hold_back(compute_); }

 private:
  std::shared_ptr<const Operation> operation_;
  Stream compute_;
};

class NcclCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  NcclCommunicator(Communicator& host, const Stream& compute, std::chrono::milliseconds timeout)
      : host_(host),
        compute_(compute),
        stream_(compute.device, StreamPriority::high),
        watchdog_({.rank = host.rank(),
                   .size = host.size(),
                   .timeout = timeout,
                   .give_up = [](const std::string& /*message*/) { MpiSession::abort(1); }}) {
    check(cudaSetDevice(compute.device.index), "cudaSetDevice", "nccl");
    const ncclUniqueId id = agree_on_id(host);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that a rank that does not come is noticed
    check_nccl(ncclCommInitRankConfig(&group_, host.size(), id, host.rank(), &config),
               "ncclCommInitRankConfig");
    watchdog_.watch({.what = "ncclCommInitRankConfig", .bytes = 0, .step = -1, .number = 0},
                    [this] { return is_idle(); });
    watchdog_.drain();
  }

  ~NcclCommunicator() override {
    if (std::uncaught_exceptions() > 0) {
      watchdog_.stop();
      ncclCommAbort(group_);  // the other ranks may never come
      return;
    }
    watchdog_.drain();
    ncclCommFinalize(group_);
    watchdog_.watch({.what = "ncclCommFinalize", .bytes = 0, .step = step_, .number = number_++},
                    [this] { return is_idle(); });
    watchdog_.drain();
    watchdog_.stop();
    ncclCommDestroy(group_);
  }

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  void set_step(std::int64_t step) override {
    step_ = step;
    host_.set_step(step);
  }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    if (is_on_host(data)) return host_.all_reduce(data, reduction);
    dist::validate_all_reduce(data);
    return submit("all_reduce", data, [&](cudaStream_t stream) {
      return ncclAllReduce(data.raw(), data.raw(), count_of(data), type_of(data.dtype()),
                           operation_of(reduction), group_, stream);
    });
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    if (is_on_host(from)) return host_.reduce_scatter(from, to);
    dist::validate_reduce_scatter(from, to, rank(), size());
    return submit("reduce_scatter", from, [&](cudaStream_t stream) {
      return ncclReduceScatter(from.raw(), to.raw(), count_of(to), type_of(from.dtype()), ncclSum,
                               group_, stream);
    });
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    if (is_on_host(to)) return host_.all_gather(from, to);
    dist::validate_all_gather(from, to, rank(), size());
    return submit("all_gather", to, [&](cudaStream_t stream) {
      return ncclAllGather(from.raw(), to.raw(), count_of(from), type_of(from.dtype()), group_,
                           stream);
    });
  }
  Pending broadcast(const Tensor& data, int root) override {
    if (is_on_host(data)) return host_.broadcast(data, root);
    dist::validate_broadcast(data, root, size());
    return submit("broadcast", data, [&](cudaStream_t stream) {
      return ncclBroadcast(data.raw(), data.raw(), count_of(data), type_of(data.dtype()), root,
                           group_, stream);
    });
  }

 private:
  static bool is_on_host(const Tensor& tensor) { return tensor.device().type == DeviceType::cpu; }

  // Whether NCCL has nothing under way on the host's side. Throws DistError if the group is broken.
  bool is_idle() const {
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(group_, &state), "ncclCommGetAsyncError");
    check_nccl(state, "NCCL's group");
    return state != ncclInProgress;
  }

  template <class Call>
  Pending submit(const char* name, const Tensor& whole, const Call& call) {
    const ProfileRange range(name);
    auto operation = std::make_shared<Operation>(compute_.device);
    watchdog_.watch(
        {.what = std::string(name) + " " + whole.str(),
         .bytes = whole.bytes(),
         .step = step_,
         .number = number_++},
        [this, operation] { return operation->issued && operation->done.reached() && is_idle(); });
    before_.record(compute_);
    before_.hold_back(stream_.get());
    check_nccl(call(static_cast<cudaStream_t>(stream_.get().handle)), name);
    // Connections are made at the first use of an algorithm; another call may not overlap that.
    while (!is_idle()) std::this_thread::yield();
    operation->done.record(stream_.get());
    operation->issued = true;
    return Pending(std::make_shared<PendingOperation>(std::move(operation), compute_));
  }

  Communicator& host_;
  Stream compute_;
  OwnedStream stream_;
  Event before_{compute_.device};
  ncclComm_t group_ = nullptr;
  std::int64_t step_ = -1;
  std::int64_t number_ = 1;
  dist::Watchdog watchdog_;  // the last: it looks at the others
};

}  // namespace

bool nccl_is_available() {
  return true;
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const Stream& compute,
                                                     std::chrono::milliseconds timeout) {
  return std::make_unique<NcclCommunicator>(host, compute, timeout);
}

}  // namespace gda::cuda
