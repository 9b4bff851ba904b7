#include "nccl.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "combine.h"
#include "device_memory.h"
#include "pipes.h"
#include "streams.h"

namespace gda::emulation {

// Of this process.
inline std::string& last_error() {
  static std::string text;
  return text;
}

inline ncclResult_t refuse(ncclResult_t status, const std::string& why) {
  last_error() = why;
  return status;
}

// Of a group, shared with what is in streams.
struct NcclState {
  NcclState(const std::string& folder, int rank, int size) : pipes(folder, rank, size) {}

  Pipes pipes;
  std::atomic<int> threads_inside = 0;
  bool aborted = false;
  ncclResult_t failure = ncclSuccess;

  // Whether all messages are through. A failure shows when the group is asked; what waits for the
  // messages waits on, as a kernel would.
  bool advance() {
    if (aborted) return true;
    if (failure != ncclSuccess) return false;
    try {
      return pipes.advance();
    } catch (const std::exception& error) {
      failure = refuse(ncclRemoteError, error.what());
      return false;
    }
  }
};

// A call of a group, which takes its time, so that another thread's shows.
class Call {
 public:
  explicit Call(std::shared_ptr<NcclState> state) : state_(std::move(state)) {
    check_device_is_chosen();
    if (state_->threads_inside.fetch_add(1) > 0) overlap();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    if (state_->threads_inside > 1) overlap();
    lock_ = lock_device();
  }
  ~Call() { --state_->threads_inside; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  void overlap() {
    const auto lock = lock_device();
    state_->failure = refuse(ncclInvalidUsage, "two threads are in calls of one group");
  }

  std::shared_ptr<NcclState> state_;
  std::unique_lock<std::recursive_mutex> lock_;
};

}  // namespace gda::emulation

using gda::emulation::Call;
using gda::emulation::combine;
using gda::emulation::Label;
using gda::emulation::last_error;
using gda::emulation::lock_device;
using gda::emulation::NcclState;
using gda::emulation::Pipes;
using gda::emulation::refuse;

namespace {

enum Kind { greeting, all_reduce, reduce_scatter, all_gather, broadcast, message };

// How often a group says of a call that it is not finished yet.
constexpr int kUnfinished = 2;

std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclFloat64:
      return 8;
    case ncclBfloat16:
      return 2;
    default:
      return 4;
  }
}

using Post = std::function<void(Pipes&)>;
using Finish = std::function<void()>;

// One operation: its messages are handed to the pipes, and when they are through it is finished.
std::function<bool()> operation(std::shared_ptr<NcclState> state, Post post, Finish finish) {
  return [state = std::move(state), post = std::move(post), finish = std::move(finish)]() mutable {
    if (post) std::exchange(post, nullptr)(state->pipes);
    if (!state->advance()) return false;
    if (finish && !state->aborted) finish();
    return true;
  };
}

// Between ncclGroupStart and ncclGroupEnd. In the program all calls are of one group and stream.
struct Together {
  int depth = 0;
  ncclComm_t group = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<Post> posts;
};

Together& together() {
  thread_local Together calls;
  return calls;
}

}  // namespace

struct ncclComm {
  explicit ncclComm(std::shared_ptr<NcclState> shared) : state(std::move(shared)) {}

  std::shared_ptr<NcclState> state;
  // The call under way. On the stream, or tried on the host, only when it is found unfinished no
  // more.
  int unfinished = 0;
  std::function<bool()> call;
  cudaStream_t stream = nullptr;
  bool on_host = false;

  ncclResult_t begin(std::function<bool()> next, cudaStream_t where, bool host) {
    call = std::move(next);
    stream = where;
    on_host = host;
    unfinished = kUnfinished;
    return ncclInProgress;
  }
  ncclResult_t begin(Post post, Finish finish, cudaStream_t where) {
    return begin(operation(state, std::move(post), std::move(finish)), where, false);
  }

  ncclResult_t ask() {
    if (state->failure != ncclSuccess) return state->failure;
    if (unfinished > 0) {
      --unfinished;
      return ncclInProgress;
    }
    if (on_host && call && !call()) return ncclInProgress;
    if (!on_host && call)
      gda::emulation::enqueue_until(gda::Stream{.device = {}, .handle = stream}, std::move(call));
    call = nullptr;
    return state->failure;
  }
};

namespace {

ncclResult_t check(const ncclComm* group, const void* data, std::size_t bytes) {
  if (group->call) return refuse(ncclInvalidUsage, "the call before is not finished");
  if (!gda::emulation::is_device_memory(data, bytes)) {
    return refuse(ncclInvalidArgument, "not all of it is the device's memory");
  }
  return group->state->failure;
}

// Sends part p of `from` to rank p, all of it to each where `stride` is 0; what every rank sent,
// side by side, is for `finish`.
ncclResult_t exchange(ncclComm* group, const void* from, std::size_t stride, const Label& label,
                      std::function<void(const std::byte*)> finish, cudaStream_t stream) {
  const auto ranks = static_cast<std::size_t>(group->state->pipes.size());
  const auto received = std::make_shared<std::vector<std::byte>>(ranks * label.bytes);
  const auto post = [=](Pipes& pipes) {
    for (std::size_t peer = 0; peer < ranks; ++peer) {
      const int rank = static_cast<int>(peer);
      pipes.send(rank, static_cast<const std::byte*>(from) + peer * stride, label);
      pipes.receive(rank, received->data() + peer * label.bytes, label);
    }
  };
  return group->begin(
      post, [=] { finish(received->data()); }, stream);
}

// all_reduce where stride is 0, else reduce_scatter.
ncclResult_t reduce(Kind kind, const void* from, std::size_t stride, void* to, std::size_t count,
                    ncclDataType_t type, ncclRedOp_t operation, ncclComm* group,
                    cudaStream_t stream) {
  const Call call(group->state);
  const std::size_t bytes = count * size_of(type);
  const auto ranks = static_cast<std::size_t>(group->state->pipes.size());
  if (const auto status = check(group, from, stride == 0 ? bytes : stride * ranks)) return status;
  if (const auto status = check(group, to, bytes)) return status;
  const auto finish = [=](const std::byte* terms) {
    combine(terms, to, count, ranks, type, operation);
  };
  return exchange(group, from, stride, {kind * 16 + operation, type, bytes}, finish, stream);
}

ncclResult_t post_message(Post post, const void* data, std::size_t bytes, ncclComm* group,
                          cudaStream_t stream) {
  const Call call(group->state);
  if (const auto status = check(group, data, bytes)) return status;
  Together& calls = together();
  if (calls.depth == 0) return group->begin(std::move(post), {}, stream);
  calls.group = group;
  calls.stream = stream;
  calls.posts.push_back(std::move(post));
  return ncclInProgress;
}

// Every rank to every other: nobody goes on before all are here.
std::function<bool()> meet(const std::shared_ptr<NcclState>& state, Finish finish) {
  const auto post = [](Pipes& pipes) {
    for (int peer = 0; peer < pipes.size(); ++peer) {
      pipes.send(peer, nullptr, {.operation = greeting});
      pipes.receive(peer, nullptr, {.operation = greeting});
    }
  };
  return operation(state, post, std::move(finish));
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t status) {
  switch (status) {
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote error";
    default:
      return "system error";
  }
}

const char* ncclGetLastError(ncclComm_t /*group*/) {
  return last_error().c_str();
}

ncclResult_t ncclGetVersion(int* version) {
  *version = 0;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::random_device random;
  const std::string text = "gda-nccl-" + std::to_string(random()) + std::to_string(random());
  std::memset(id->internal, 0, sizeof id->internal);
  text.copy(id->internal, text.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* group, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  gda::emulation::check_device_is_chosen();
  const auto lock = lock_device();
  if (config->blocking != 0) return refuse(ncclInvalidArgument, "the emulation does not block");
  const auto folder = std::filesystem::temp_directory_path() / id.internal;
  auto state = std::make_shared<NcclState>(folder.string(), rank, size);
  *group = new ncclComm(state);
  const auto all_here = [state] { state->pipes.forget_names(); };
  return (*group)->begin(meet(state, all_here), nullptr, true);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t group, ncclResult_t* state) {
  const Call call(group->state);
  *state = group->ask();
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t group) {
  const Call call(group->state);
  if (const auto status = check(group, nullptr, 0)) return status;
  return group->begin(meet(group->state, {}), nullptr, true);
}

ncclResult_t ncclCommDestroy(ncclComm_t group) {
  const Call call(group->state);
  if (const auto status = check(group, nullptr, 0)) return status;
  delete group;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t group) {
  const Call call(group->state);
  group->state->aborted = true;
  delete group;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++together().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  Together& calls = together();
  if (--calls.depth > 0 || calls.posts.empty()) return ncclSuccess;
  const Call call(calls.group->state);
  const auto post = [posts = std::exchange(calls.posts, {})](Pipes& pipes) {
    for (const Post& next : posts) next(pipes);
  };
  return calls.group->begin(post, {}, calls.stream);
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t group, cudaStream_t stream) {
  return reduce(all_reduce, from, 0, to, count, type, operation, group, stream);
}

ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t part, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t group, cudaStream_t stream) {
  return reduce(reduce_scatter, from, part * size_of(type), to, part, type, operation, group,
                stream);
}

ncclResult_t ncclAllGather(const void* from, void* to, std::size_t part, ncclDataType_t type,
                           ncclComm_t group, cudaStream_t stream) {
  const Call call(group->state);
  const std::size_t bytes = part * size_of(type);
  const std::size_t all = bytes * static_cast<std::size_t>(group->state->pipes.size());
  if (const auto status = check(group, from, bytes)) return status;
  if (const auto status = check(group, to, all)) return status;
  const auto finish = [=](const std::byte* parts) { std::memcpy(to, parts, all); };
  return exchange(group, from, 0, {all_gather * 16, type, bytes}, finish, stream);
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           int root, ncclComm_t group, cudaStream_t stream) {
  const Call call(group->state);
  const std::size_t bytes = count * size_of(type);
  if (const auto status = check(group, from, bytes)) return status;
  if (const auto status = check(group, to, bytes)) return status;
  const auto finish = [=](const std::byte* parts) {
    std::memcpy(to, parts + static_cast<std::size_t>(root) * bytes, bytes);
  };
  return exchange(group, from, 0, {broadcast * 16 + root, type, bytes}, finish, stream);
}

ncclResult_t ncclSend(const void* data, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t group, cudaStream_t stream) {
  const Label label{message * 16, type, count * size_of(type)};
  const auto post = [=](Pipes& pipes) { pipes.send(peer, data, label); };
  return post_message(post, data, label.bytes, group, stream);
}

ncclResult_t ncclRecv(void* data, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t group, cudaStream_t stream) {
  const Label label{message * 16, type, count * size_of(type)};
  const auto post = [=](Pipes& pipes) { pipes.receive(peer, data, label); };
  return post_message(post, data, label.bytes, group, stream);
}
