// Watches operations that a device carries out by itself, and ends the process when one does not
// come to its end: the thread that trains may then be waiting for the device, and cannot. Under MPI
// the log has by then what every rank does, on its device too: a rank that does nothing there is
// the one that the others wait for.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dist/operation.h"

namespace gda {

class MpiThread;

namespace dist {

struct WatchdogOptions {
  std::function<std::string()> rank_name;  // what errors call this rank, at the time
  int size = 1;
  std::chrono::milliseconds timeout{600'000};
  // How long after its report a rank waits for the others to write theirs, since the end of one
  // ends all.
  std::chrono::milliseconds grace{2'000};
  // Called on the watchdog's thread before all else, if it is set: what the thread needs to ask.
  std::function<void()> begin = {};
  // Ends the process. Called on the watchdog's thread, after the report.
  std::function<void(const std::string& message)> give_up;
};

class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // `done` is asked on the watchdog's thread, of the operations in the order in which they are
  // watched; when it throws, or is not true within the timeout of the operation before it (or of
  // now), the last operations of this rank are written to the log, and it is given up.
  void watch(OperationInfo info, std::function<bool()> done);
  // Waits until all that is watched has ended.
  void drain();
  // Watches no more; when it returns nothing is asked again.
  void stop();
  // "waiting in all_reduce ..." for the first operation that is under way.
  std::string doing();

 private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    OperationInfo info;
    std::function<bool()> done;
    Clock::time_point begin;
  };
  struct Finished {
    OperationInfo info;
    double seconds = 0;
  };

  void run();
  // What is wrong with the thread; empty: nothing.
  std::string begin() const;
  void give_up(const std::string& fault, std::unique_lock<std::mutex>& lock);
  // What is wrong with the first operation; empty: nothing, or there is none.
  std::string fault_of_first();
  void report(const std::string& fault);
  // What every rank does.
  void report_ranks() const;

  WatchdogOptions options_;
  std::shared_ptr<MpiThread> mpi_;  // null without MPI
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Watched> watched_;
  std::deque<Finished> history_;
  Clock::time_point last_end_ = Clock::now();
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace dist
}  // namespace gda
