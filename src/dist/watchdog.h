// Watches operations that a device carries out by itself, and ends the process when one does not
// come to its end: the thread that trains may then be waiting for the device, and cannot.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "dist/operation.h"

namespace gda::dist {

struct WatchdogOptions {
  int rank = 0;
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

  // Operations end in the order in which they are watched. `done` is asked on the watchdog's
  // thread; when it throws, or is not true within the timeout of the operation before it (or of
  // now), the last operations of this rank are written to the log, and it is given up.
  void watch(OperationInfo info, std::function<bool()> done);
  // Waits until all that is watched has ended.
  void drain();
  // Watches no more; when it returns nothing is asked again.
  void stop();

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

  WatchdogOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Watched> watched_;
  std::deque<Finished> history_;
  Clock::time_point last_end_ = Clock::now();
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace gda::dist
