#include "dist/watchdog.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "dist/mpi_thread.h"
#include "gda/core/log.h"

namespace gda::dist {
namespace {

// Operations that are remembered for the report about one that does not finish.
constexpr std::size_t kHistory = 16;

// Between two looks at the first operation; short beside any timeout.
constexpr std::chrono::milliseconds kPoll{5};

}  // namespace

Watchdog::Watchdog(WatchdogOptions options)
    : options_(std::move(options)), mpi_(session_thread()), thread_(&Watchdog::run, this) {
  if (mpi_) mpi_->set_device_report([this] { return doing(); });
}

Watchdog::~Watchdog() {
  stop();
  if (mpi_) mpi_->set_device_report(nullptr);
}

void Watchdog::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::watch(OperationInfo info, std::function<bool()> done) {
  {
    const std::lock_guard lock(mutex_);
    watched_.push_back({std::move(info), std::move(done), Clock::now()});
  }
  changed_.notify_all();
}

void Watchdog::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return watched_.empty() || stopped_; });
}

std::string Watchdog::begin() const {
  try {
    if (options_.begin) options_.begin();
    return {};
  } catch (const std::exception& error) {
    return fmt::format("{} of {}: the watch over its operations failed: {}", options_.rank_name(),
                       options_.size, error.what());
  }
}

void Watchdog::give_up(const std::string& fault, std::unique_lock<std::mutex>& lock) {
  report(fault);
  lock.unlock();
  report_ranks();
  lock.lock();
  stopped_ = true;
  lock.unlock();
  changed_.notify_all();
  std::this_thread::sleep_for(options_.grace);
  options_.give_up(fault);
}

void Watchdog::run() {
  const std::string obstacle = begin();
  std::unique_lock lock(mutex_);
  if (!obstacle.empty()) return give_up(obstacle, lock);
  while (!stopped_) {
    if (watched_.empty()) {
      changed_.wait(lock, [&] { return stopped_ || !watched_.empty(); });
      continue;
    }
    const std::string fault = fault_of_first();
    if (!fault.empty()) {
      give_up(fault, lock);
      return;
    }
    if (watched_.empty()) changed_.notify_all();
    changed_.wait_for(lock, kPoll, [&] { return stopped_; });
  }
}

std::string Watchdog::fault_of_first() {
  while (!watched_.empty()) {
    const Watched& first = watched_.front();
    const std::string who =
        fmt::format("{} of {}: {}", options_.rank_name(), options_.size, describe(first.info));
    const Clock::time_point now = Clock::now();
    // One that was put in line while another was under way has had no time of its own.
    const Clock::time_point begin = std::max(first.begin, last_end_);
    try {
      if (!first.done()) {
        if (now - begin <= options_.timeout) return {};
        return fmt::format(
            "{} did not finish within {} s; the ranks that wait in another operation, or in none, "
            "are the ones to look at",
            who, std::chrono::duration<double>(options_.timeout).count());
      }
    } catch (const std::exception& error) {
      return fmt::format("{} failed: {}", who, error.what());
    }
    history_.push_back({first.info, std::chrono::duration<double>(now - begin).count()});
    if (history_.size() > kHistory) history_.pop_front();
    last_end_ = now;
    watched_.pop_front();
  }
  return {};
}

void Watchdog::report(const std::string& fault) {
  log::error("{}", fault);
  log::error("the last operations of {} on its device, all complete:", options_.rank_name());
  for (const Finished& done : history_) {
    log::error("  {} took {:.3f} s", describe(done.info), done.seconds);
  }
  log::error("and those under way, {} of them:", watched_.size());
  for (std::size_t i = 0; i < std::min(kHistory, watched_.size()); ++i) {
    log::error("  {}", describe(watched_[i].info));
  }
  log::flush();
}

// Without the lock: this rank is asked, too.
void Watchdog::report_ranks() const {
  if (!mpi_) return;
  log::error("what the ranks do:");
  for (const std::string& line : mpi_->what_ranks_do()) log::error("  {}", line);
  log::flush();
}

std::string Watchdog::doing() {
  const std::lock_guard lock(mutex_);
  if (!watched_.empty()) return "waiting in " + describe(watched_.front().info);
  return "in no operation; the last there was " +
         (history_.empty() ? "none" : describe(history_.back().info));
}

}  // namespace gda::dist
