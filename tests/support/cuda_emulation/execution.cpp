#include "execution.cuh"

#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <memory>
#include <utility>

namespace gda::emulation {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;

enum class State { ready, at_barrier, meeting, returned };

struct Copy {
  void* target;
  const void* source;
  std::size_t bytes;
};

}  // namespace

struct Thread {
  dim3 index;
  int number = 0;
  State state = State::ready;
  boost::context::fiber fiber;
  boost::context::fiber scheduler;
  // Of a meeting: two sets of deposits in turn, since one thread may be a meeting ahead of another
  // that still reads.
  const char* meeting = nullptr;
  std::uint32_t mask = 0;
  std::uint64_t meetings = 0;
  std::vector<std::vector<Copy>> copy_groups;
  std::vector<Copy> open_group;
  bool has_unfenced_copies = false;
  std::vector<std::vector<std::function<void()>>> product_groups;
  std::vector<std::function<void()>> open_products;
};

namespace {

struct Warp {
  std::array<std::array<Deposit, kWarpSize>, 2> deposits;
  // The meeting that lanes come to now, and those that have. The last one lets all go on; where
  // lanes are at different meetings release_meeting sorts them out.
  const char* meeting = nullptr;
  std::uint32_t mask = 0;
  std::uint32_t arrived = 0;
};

struct Block {
  std::string kernel;
  dim3 index, size, grid;
  std::vector<std::byte> shared;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::exception_ptr error;
};

// Stacks are used again: making them anew for every thread takes longer than most kernels.
thread_local boost::context::pooled_fixedsize_stack stacks(kStackBytes);
thread_local Block* block = nullptr;
thread_local Thread* running = nullptr;

[[noreturn]] void fault(const std::string& what) {
  fail<Fault>("{}: {} (block {},{},{})", block->kernel, what, block->index.x, block->index.y,
              block->index.z);
}

// The end of a block that failed unwinds the fibers that wait: they are destroyed.
void wait_as(State state) {
  Thread& me = *running;
  me.state = state;
  me.scheduler = std::move(me.scheduler).resume();
}

void make_copies(const std::vector<Copy>& copies) {
  for (const Copy& copy : copies) std::memcpy(copy.target, copy.source, copy.bytes);
}

void start(Thread& thread, const std::function<void()>& kernel) {
  thread.fiber = boost::context::fiber(
      std::allocator_arg, stacks, [&thread, &kernel](boost::context::fiber&& scheduler) {
        thread.scheduler = std::move(scheduler);
        try {
          kernel();
          if (!thread.open_group.empty() || !thread.copy_groups.empty()) {
            fault("a thread returned before it waited for its asynchronous copies");
          }
          if (!thread.open_products.empty() || !thread.product_groups.empty()) {
            fault("a thread returned before it waited for its products");
          }
        } catch (const boost::context::detail::forced_unwind&) {
          throw;
        } catch (...) {
          if (!block->error) block->error = std::current_exception();
        }
        thread.state = State::returned;
        return std::move(thread.scheduler);
      });
}

std::span<Thread> warp_of(std::size_t warp) {
  const std::size_t first = warp * kWarpSize;
  return std::span(block->threads)
      .subspan(first, std::min<std::size_t>(kWarpSize, block->threads.size() - first));
}

bool is_same(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

// Lets the threads of a warp that have met go on; false where none has.
bool release_meeting(std::span<Thread> warp) {
  bool released = false;
  block->warps[static_cast<std::size_t>(warp.front().number / kWarpSize)].arrived = 0;
  for (Thread& first : warp) {
    if (first.state != State::meeting) continue;
    bool complete = true;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if ((first.mask >> lane & 1U) == 0) continue;
      if (lane >= static_cast<int>(warp.size())) fault("a warp's mask names threads it lacks");
      const Thread& other = warp[static_cast<std::size_t>(lane)];
      if (other.state == State::returned || other.state == State::at_barrier) {
        fault(fmt::format("{} waits for lane {}, which {}", first.meeting, lane,
                          other.state == State::returned ? "has returned" : "is at a barrier"));
      }
      complete = complete && other.state == State::meeting && other.mask == first.mask &&
                 is_same(other.meeting, first.meeting);
    }
    if (!complete) continue;
    for (std::size_t lane = 0; lane < warp.size(); ++lane) {
      if ((first.mask >> lane & 1U) != 0) warp[lane].state = State::ready;
    }
    released = true;
  }
  return released;
}

// Runs a warp until all of its threads are at the block's barrier or have returned.
void run_warp(std::span<Thread> warp) {
  while (true) {
    for (Thread& thread : warp) {
      if (thread.state != State::ready) continue;
      running = &thread;
      thread.fiber = std::move(thread.fiber).resume();
      if (block->error) return;
    }
    const auto some = [&](State state) {
      return std::any_of(warp.begin(), warp.end(),
                         [&](const Thread& thread) { return thread.state == state; });
    };
    if (some(State::ready)) continue;
    if (!some(State::meeting)) return;
    if (!release_meeting(warp)) fault("threads of a warp wait for one another in different places");
  }
}

void run_block(const std::function<void()>& kernel) {
  for (Thread& thread : block->threads) start(thread, kernel);
  const std::size_t warps = block->warps.size();
  while (true) {
    std::size_t waiting = 0;
    for (std::size_t warp = warps; warp-- > 0;) {  // no order of warps is promised
      run_warp(warp_of(warp));
      if (block->error) std::rethrow_exception(block->error);
    }
    for (const Thread& thread : block->threads)
      waiting += thread.state == State::at_barrier ? 1 : 0;
    if (waiting == 0) return;
    if (waiting < block->threads.size()) {
      fault(fmt::format("a barrier that {} of {} threads reach: the others have returned", waiting,
                        block->threads.size()));
    }
    for (Thread& thread : block->threads) thread.state = State::ready;
  }
}

void run_block_at(const std::string& name, dim3 index, dim3 grid, dim3 size, std::size_t shared,
                  const std::function<void()>& kernel) {
  Block here;
  here.kernel = name;
  here.index = index;
  here.size = size;
  here.grid = grid;
  here.shared.assign(shared, std::byte{0xff});
  here.threads = std::vector<Thread>(size.x);
  here.warps = std::vector<Warp>((size.x + kWarpSize - 1) / kWarpSize);
  for (unsigned i = 0; i < size.x; ++i) {
    here.threads[i].index = {i, 0, 0};
    here.threads[i].number = static_cast<int>(i);
  }
  block = &here;
  try {
    run_block(kernel);
  } catch (...) {
    here.threads.clear();
    block = nullptr;
    throw;
  }
  block = nullptr;
}

}  // namespace

const dim3& thread_index() {
  return running->index;
}
const dim3& block_index() {
  return block->index;
}
const dim3& block_size() {
  return block->size;
}
const dim3& grid_size() {
  return block->grid;
}
int lane() {
  return static_cast<int>(static_cast<unsigned>(running->number) % kWarpSize);
}

void block_barrier() {
  wait_as(State::at_barrier);
}

namespace {

// Notes that the running thread has come to its meeting.
bool is_last_to_arrive(Warp& warp) {
  const Thread& me = *running;
  if (warp.arrived == 0) {
    warp.meeting = me.meeting;
    warp.mask = me.mask;
  }
  if (warp.mask != me.mask || !is_same(warp.meeting, me.meeting)) return false;
  warp.arrived |= 1U << lane();
  if (warp.arrived != warp.mask) return false;
  warp.arrived = 0;
  return true;
}

}  // namespace

const Deposit* meet(const char* name, std::uint32_t mask, const Deposit& mine) {
  Thread& me = *running;
  if ((mask >> lane() & 1U) == 0)
    fault(fmt::format("{} without the calling lane in its mask", name));
  Warp& warp = block->warps[static_cast<std::size_t>(me.number / kWarpSize)];
  auto& deposits = warp.deposits[me.meetings++ % 2];
  deposits[static_cast<std::size_t>(lane())] = mine;
  me.meeting = name;
  me.mask = mask;
  if (is_last_to_arrive(warp)) {
    for (Thread& other : warp_of(static_cast<std::size_t>(me.number / kWarpSize))) {
      if ((mask >> (other.number % kWarpSize) & 1U) != 0) other.state = State::ready;
    }
  } else {
    wait_as(State::meeting);
  }
  return deposits.data();
}

std::byte* shared_begin() {
  return block->shared.data();
}
std::size_t shared_bytes() {
  return block->shared.size();
}

void copy_later(void* target, const void* source, std::size_t bytes) {
  running->open_group.push_back({target, source, bytes});
}

void end_copy_group() {
  running->copy_groups.push_back(std::exchange(running->open_group, {}));
}

void wait_for_copies(int groups_left) {
  auto& groups = running->copy_groups;
  while (groups.size() > static_cast<std::size_t>(groups_left)) {
    make_copies(groups.front());
    running->has_unfenced_copies = running->has_unfenced_copies || !groups.front().empty();
    groups.erase(groups.begin());
  }
}

void fence_copies() {
  running->has_unfenced_copies = false;
}

void require_fenced_copies(const char* name) {
  for (const Thread& thread : block->threads) {
    if (thread.has_unfenced_copies) {
      fault(fmt::format("{} while copies of thread {} are not fenced", name, thread.number));
    }
  }
}

void product_later(std::function<void()> finish) {
  running->open_products.push_back(std::move(finish));
}

void end_product_group() {
  running->product_groups.push_back(std::exchange(running->open_products, {}));
}

void wait_for_product_groups(int groups_left) {
  auto& groups = running->product_groups;
  while (groups.size() > static_cast<std::size_t>(groups_left)) {
    for (const auto& finish : groups.front()) finish();
    groups.erase(groups.begin());
  }
}

void run(const std::string& name, dim3 grid, dim3 size, std::size_t shared,
         const std::function<void()>& kernel) {
  constexpr unsigned kMaxThreads = 1024;
  require<Fault>(size.x >= 1 && size.x <= kMaxThreads, "{}: {} threads a block", name, size.x);
  require<Fault>(grid.x >= 1 && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535,
                 "{}: a grid of {} x {} x {} blocks", name, grid.x, grid.y, grid.z);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = grid.y; y-- > 0;) {
      for (unsigned x = grid.x; x-- > 0;) {
        run_block_at(name, {x, y, z}, grid, size, shared, kernel);
      }
    }
  }
}

}  // namespace gda::emulation
