// The one thread of the process that calls MPI: it initialises it, carries out operations one after
// another in the order in which they were submitted, and finalises it. Nobody else calls MPI, so
// MPI_THREAD_FUNNELED is all that is asked of the library, and MPI needs no locks.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dist/mpi_group.h"
#include "dist/operation.h"
#include "dist/roll_call.h"

namespace gda {

struct OperationLimits {
  std::chrono::seconds timeout;
  std::size_t message_bytes;
};

class MpiThread {
 public:
  // Returns when MPI is up. Throws DistError.
  MpiThread();
  ~MpiThread();
  MpiThread(const MpiThread&) = delete;
  MpiThread& operator=(const MpiThread&) = delete;

  // All processes, and what they are called.
  const std::shared_ptr<dist::MpiGroup>& world() const { return world_; }
  dist::RankNames& names() { return names_; }

  // An operation of `group`, which it numbers. One that takes longer than its timeout fails, and
  // with it all that come after, in every group.
  std::shared_future<void> submit(std::shared_ptr<dist::MpiGroup> group,
                                  std::unique_ptr<dist::Operation> operation, OperationInfo info,
                                  OperationLimits limits);

  // What this rank's device does, "waiting in ...", for all to whom this rank tells what it does.
  // Called on this thread. Null: nothing is told. When it returns, the one before is not called any
  // more.
  void set_device_report(std::function<std::string()> report);
  // What every rank does, for another thread of this process that is about to end it. Empty where
  // this thread does not come to it.
  std::vector<std::string> what_ranks_do();

  enum class Ending {
    none,     // it goes on
    finish,   // carry out what was submitted, then MPI_Finalize
    abandon,  // stop at once and leave MPI as it is: the other ranks may never come
    abort,    // MPI_Abort
  };
  // Returns when the thread has ended (from `abort` it does not return when all goes well).
  void end(Ending ending, int exit_code = 0);

 private:
  using Clock = std::chrono::steady_clock;

  struct Task {
    std::shared_ptr<dist::MpiGroup> group;
    std::unique_ptr<dist::Operation> operation;
    OperationInfo info;
    OperationLimits limits;
    std::promise<void> done;
  };

  void run(std::promise<void> started);
  void initialise();
  // Waits for a task for a moment; empty when there is none.
  std::optional<Task> next_task();
  void execute(Task& task);
  void carry_out(Task& task);
  void check_peers(const Task& task, Clock::time_point begin);
  void wait_for_round(const Task& task, Clock::time_point begin,
                      std::chrono::microseconds longest_pause);
  bool stopped_at_once() const {
    const Ending ending = ending_;
    return ending == Ending::abandon || ending == Ending::abort;
  }
  // Says, before it throws, what every rank does.
  [[noreturn]] void fail_late(const Task& task);
  void report_history();
  // What this rank does, for those who ask: in an operation, or in none.
  std::string doing(const Task& task) const;
  std::string doing_nothing() const;
  std::string with_device(const std::string& doing) const;
  // Answers those who have asked what this rank does, and asks for a thread that wants to know.
  void call_roll(const std::function<std::string()>& doing);

  std::shared_ptr<dist::MpiGroup> world_;
  dist::RankNames names_;
  dist::Transfers transfers_;
  dist::RollCall roll_call_;

  std::mutex mutex_;
  std::condition_variable submitted_;
  std::deque<Task> queue_;
  bool closed_ = false;
  std::vector<std::promise<std::vector<std::string>>> questions_;  // what every rank does
  std::atomic<Ending> ending_{Ending::none};
  int exit_code_ = 0;

  // On the thread only.
  struct Finished {
    OperationInfo info;
    double seconds = 0;
  };
  std::deque<Finished> history_;
  std::exception_ptr failure_;  // of an operation; nothing works after it
  std::string gave_up_;         // what this rank did when its time was over

  mutable std::mutex report_mutex_;
  std::function<std::string()> device_report_;

  std::thread thread_;
};

// The thread of this process's MpiSession; null without one.
std::shared_ptr<MpiThread> session_thread();

}  // namespace gda
