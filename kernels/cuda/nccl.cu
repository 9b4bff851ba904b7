// Operations by NCCL (https://docs.nvidia.com/deeplearning/nccl), with MPI's group for what ranks
// have to tell each other before, and for tensors of the host.
#include <nccl.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/device_runtime.h"
#include "dist/forwarding_communicator.h"
#include "dist/nccl.h"
#include "dist/staged_communicator.h"
#include "dist/validate.h"
#include "dist/watchdog.h"
#include "gda/core/error.h"
#include "gda/core/stream.h"

namespace gda::cuda {
namespace {

bool has_failed(ncclResult_t status) {
  return status != ncclSuccess && status != ncclInProgress;
}

void check_nccl(ncclResult_t status, const char* call) {
  if (!has_failed(status)) return;
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
  void wait() override { operation_->done.stream_wait(compute_); }

 private:
  std::shared_ptr<const Operation> operation_;
  Stream compute_;
};

// Calls that NCCL carries out as one. Group calls nest, so each start has its end.
template <class Calls>
ncclResult_t together(const Calls& calls) {
  const ncclResult_t start = ncclGroupStart();
  if (has_failed(start)) return start;
  const ncclResult_t inside = calls();
  const ncclResult_t end = ncclGroupEnd();
  return has_failed(inside) ? inside : end;
}

// What the groups of a process share.
struct Process {
  Process(const std::shared_ptr<Communicator>& host, const Stream& stream_of_computation,
          std::chrono::milliseconds timeout)
      : compute(stream_of_computation),
        watchdog({.rank_name = [host] { return host->rank_name(host->rank()); },
                  .size = host->size(),
                  .timeout = timeout,
                  .begin = [device = compute.device.index] { use_device(device); },
                  .give_up = [](const std::string& /*message*/) { MpiSession::abort(1); }}) {}

  Stream compute;
  std::int64_t step = -1;
  dist::Watchdog watchdog;  // the last: it looks at the others
};

// Has a stream of its own, so that what one group waits for does not hold up another.
class NcclCommunicator final : public dist::ForwardingCommunicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  NcclCommunicator(std::shared_ptr<Communicator> host, std::shared_ptr<Process> process,
                   std::string name)
      : ForwardingCommunicator(std::move(host)),
        process_(std::move(process)),
        name_(std::move(name)),
        stream_(process_->compute.device, StreamPriority::high),
        before_(process_->compute.device) {
    use_device(process_->compute.device.index);
    const ncclUniqueId id = agree_on_id(inner());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that a rank that does not come is noticed
    check_nccl(ncclCommInitRankConfig(&group_, size(), id, rank(), &config),
               "ncclCommInitRankConfig");
    watch({.what = "ncclCommInitRankConfig"}, [this] { return is_seen_idle(); });
    process_->watchdog.drain();
  }

  ~NcclCommunicator() override {
    if (std::uncaught_exceptions() > 0) {
      process_->watchdog.stop();
      ncclCommAbort(group_);  // the other ranks may never come
      return;
    }
    process_->watchdog.drain();
    finalize();
    watch({.what = "ncclCommFinalize"}, [this] { return is_seen_idle(); });
    process_->watchdog.drain();
    ncclCommDestroy(group_);
  }

  void set_step(std::int64_t step) override {
    process_->step = step;
    inner().set_step(step);
  }

  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    if (dist::is_on_host(data)) return inner().all_reduce(data, reduction);
    dist::validate_all_reduce(data);
    return submit("all_reduce", data, [&](cudaStream_t stream) {
      return ncclAllReduce(data.raw(), data.raw(), count_of(data), type_of(data.dtype()),
                           operation_of(reduction), group_, stream);
    });
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    if (dist::is_on_host(from)) return inner().reduce_scatter(from, to);
    dist::validate_reduce_scatter(from, to, rank(), size());
    return submit("reduce_scatter", from, [&](cudaStream_t stream) {
      return ncclReduceScatter(from.raw(), to.raw(), count_of(to), type_of(from.dtype()), ncclSum,
                               group_, stream);
    });
  }
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    if (dist::is_on_host(to)) return inner().all_gather(from, to);
    dist::validate_all_gather(from, to, rank(), size());
    return submit("all_gather", to, [&](cudaStream_t stream) {
      return ncclAllGather(from.raw(), to.raw(), count_of(from), type_of(from.dtype()), group_,
                           stream);
    });
  }
  Pending broadcast(const Tensor& data, int root) override {
    if (dist::is_on_host(data)) return inner().broadcast(data, root);
    dist::validate_broadcast(data, root, size());
    return submit("broadcast", data, [&](cudaStream_t stream) {
      return ncclBroadcast(data.raw(), data.raw(), count_of(data), type_of(data.dtype()), root,
                           group_, stream);
    });
  }

  Pending all_to_all(const Tensor& from, const Tensor& to) override {
    if (dist::is_on_host(from)) return inner().all_to_all(from, to);
    dist::validate_all_to_all(from, to, size());
    return submit("all_to_all", from, [&](cudaStream_t stream) {
      return together([&] {
        const std::int64_t part = from.elements() / size();
        ncclResult_t status = ncclSuccess;
        for (int peer = 0; peer < size() && !has_failed(status); ++peer) {
          status = post(part_of(from, peer * part, part), peer, part_of(to, peer * part, part),
                        peer, stream);
        }
        return status;
      });
    });
  }
  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    if (dist::is_on_host(to == kNobody ? receive : send)) {
      return inner().send_receive(send, to, receive, from);
    }
    dist::validate_send_receive(send, to, receive, from, rank(), size());
    return submit({.what = describe_message(*this, send, to, receive, from),
                   .bytes = message_bytes(send, to, receive, from),
                   .kind = OperationInfo::Kind::message},
                  [&](cudaStream_t stream) {
                    return together([&] { return post(send, to, receive, from, stream); });
                  });
  }
  // A group of one has nothing for NCCL to do.
  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    std::shared_ptr<Communicator> part = inner().split(colour, name);
    if (part->size() == 1) {
      return dist::make_staged_communicator(std::move(part), process_->compute);
    }
    return std::make_unique<NcclCommunicator>(std::move(part), process_, name);
  }

 private:
  static Tensor part_of(const Tensor& tensor, std::int64_t begin, std::int64_t count) {
    return tensor.reshape({tensor.elements()}).rows(begin, count);
  }

  ncclResult_t post(const Tensor& send, int to, const Tensor& receive, int from,
                    cudaStream_t stream) const {
    ncclResult_t status = ncclSuccess;
    if (to != kNobody) {
      status = ncclSend(send.raw(), count_of(send), type_of(send.dtype()), to, group_, stream);
    }
    if (from != kNobody && !has_failed(status)) {
      status = ncclRecv(receive.raw(), count_of(receive), type_of(receive.dtype()), from, group_,
                        stream);
    }
    return status;
  }

  // Whether NCCL has nothing under way on the host's side. Throws DistError if the group is broken.
  // Asking completes what is under way, so no other thread may be in a call of the group.
  bool is_idle() const {
    const std::lock_guard lock(calls_);
    return is_idle_now();
  }
  // For the watchdog, which must not wait for a call that does not return.
  bool is_seen_idle() const {
    const std::unique_lock lock(calls_, std::try_to_lock);
    return lock.owns_lock() && is_idle_now();
  }
  bool is_idle_now() const {
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(group_, &state), "ncclCommGetAsyncError");
    check_nccl(state, "NCCL's group");
    return state != ncclInProgress;
  }

  void finalize() {
    const std::lock_guard lock(calls_);
    ncclCommFinalize(group_);
  }

  // With the only thread in a call of the group.
  template <class Call>
  void issue(const OperationInfo& info, const Call& call) {
    const std::lock_guard lock(calls_);
    const auto stream = static_cast<cudaStream_t>(stream_.get().handle);
    check_nccl(call(stream), info.what.c_str());
  }

  void watch(OperationInfo info, std::function<bool()> done) {
    info.step = process_->step;
    info.group = name_;
    info.number = info.kind == OperationInfo::Kind::message ? messages_++ : collectives_++;
    process_->watchdog.watch(std::move(info), std::move(done));
  }

  template <class Call>
  Pending submit(const char* name, const Tensor& whole, const Call& call) {
    return submit({.what = std::string(name) + " " + whole.str(), .bytes = whole.bytes()}, call);
  }
  template <class Call>
  Pending submit(const OperationInfo& info, const Call& call) {
    const ProfileRange range(info.what.c_str());
    auto operation = std::make_shared<Operation>(process_->compute.device);
    watch(info, [this, operation] {
      return operation->issued && operation->done.reached() && is_seen_idle();
    });
    const Stream stream = stream_.get();
    before_.record(process_->compute);
    before_.stream_wait(stream);
    issue(info, call);
    // Connections are made at the first use of an algorithm; another call may not overlap that.
    while (!is_idle()) std::this_thread::yield();
    operation->done.record(stream);
    operation->issued = true;
    return Pending(std::make_shared<PendingOperation>(std::move(operation), process_->compute));
  }

  std::shared_ptr<Process> process_;
  std::string name_;
  OwnedStream stream_;
  Event before_;  // what an operation of the group waits for
  ncclComm_t group_ = nullptr;
  mutable std::mutex calls_;  // held in every call of the group
  std::int64_t collectives_ = 0;
  std::int64_t messages_ = 0;
};

}  // namespace

bool nccl_is_available() {
  return true;
}

std::string nccl_version() {
  int version = 0;
  check_nccl(ncclGetVersion(&version), "ncclGetVersion");
  return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::unique_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>& host,
                                                     const Stream& compute,
                                                     std::chrono::milliseconds timeout) {
  // Kernels of several groups run side by side, and a kernel keeps its place on the device while it
  // waits for other ranks. So that these cannot have given the places to other groups, NCCL (from
  // 2.26) begins kernels in the order of the calls, which is the same on all ranks.
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
  auto process = std::make_shared<Process>(host, compute, timeout);
  return std::make_unique<NcclCommunicator>(host, std::move(process), "");
}

}  // namespace gda::cuda
