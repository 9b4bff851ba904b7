#include "thread_group.h"

#include <gtest/gtest.h>

#include <barrier>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "support/stub_communicator.h"

namespace gda::test {
namespace {

struct Shared {
  explicit Shared(int ranks) : meeting(ranks), sources(static_cast<std::size_t>(ranks)) {}
  std::barrier<> meeting;
  std::vector<const std::byte*> sources;
  // Messages on their way from one rank to another.
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> mail;
};

// Only the operations that checkpoints use: all_gather, on which the scalar operations are built,
// broadcast and messages, which do not wait to be received.
class ThreadCommunicator final : public StubCommunicator {
 public:
  ThreadCommunicator(Shared& shared, int rank, int size)
      : StubCommunicator(rank, size), shared_(shared) {}

  Pending all_gather(const Tensor& from, const Tensor& to) override {
    exchange(
        from,
        [&] {
          for (int r = 0; r < size(); ++r) copy(r, to, static_cast<std::size_t>(r) * from.bytes());
        },
        from.bytes());
    return {};
  }
  Pending broadcast(const Tensor& data, int root) override {
    exchange(
        data,
        [&] {
          if (rank() != root) copy(root, data, 0);
        },
        data.bytes());
    return {};
  }

  Pending send_receive(const Tensor& send, int to, const Tensor& receive, int from) override {
    std::unique_lock lock(shared_.mutex);
    if (to != kNobody) {
      const auto* bytes = static_cast<const std::byte*>(send.raw());
      shared_.mail[{rank(), to}].emplace_back(bytes, bytes + send.bytes());
      shared_.arrived.notify_all();
    }
    if (from == kNobody) return {};
    auto& queue = shared_.mail[{from, rank()}];
    shared_.arrived.wait(lock, [&] { return !queue.empty(); });
    require<Error>(queue.front().size() == receive.bytes(), "rank {} sent {} bytes, not {}", from,
                   queue.front().size(), receive.bytes());
    std::memcpy(receive.raw(), queue.front().data(), receive.bytes());
    queue.pop_front();
    return {};
  }

 private:
  void exchange(const Tensor& own, const std::function<void()>& take, std::size_t bytes) {
    shared_.sources[static_cast<std::size_t>(rank())] = static_cast<const std::byte*>(own.raw());
    bytes_ = bytes;
    shared_.meeting.arrive_and_wait();
    take();
    shared_.meeting.arrive_and_wait();
  }
  void copy(int rank, const Tensor& to, std::size_t offset) const {
    std::memcpy(static_cast<std::byte*>(to.raw()) + offset,
                shared_.sources[static_cast<std::size_t>(rank)], bytes_);
  }

  Shared& shared_;
  std::size_t bytes_ = 0;
};

}  // namespace

void run_ranks(int size, const std::function<void(Communicator&)>& f) {
  Shared shared(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadCommunicator communicator(shared, rank, size);
      try {
        f(communicator);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << rank << ": " << error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& [ends, queue] : shared.mail) {
    EXPECT_TRUE(queue.empty()) << "of rank " << ends.first << " for rank " << ends.second;
  }
}

}  // namespace gda::test
