#include "gda/train/stop_request.h"

#include <array>
#include <atomic>
#include <csignal>

#include "gda/core/error.h"

namespace gda {
namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT, SIGUSR1};

// The first signal that came; 0 before. Handlers may touch lock-free atomics only.
std::atomic<int> received{0};
std::atomic<bool> interrupted{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

std::atomic<bool> installed{false};
std::array<struct sigaction, kSignals.size()> handlers_before;

void note_signal(int signal) {
  int none = 0;
  received.compare_exchange_strong(none, signal);
  if (signal == SIGINT && interrupted.exchange(true)) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);  // delivered as soon as this handler returns
  }
}

}  // namespace

std::string describe(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "nothing";
    case StopReason::time_limit:
      return "the time limit (train.max_minutes)";
    case StopReason::sigusr1:
      return "SIGUSR1";
    case StopReason::sigint:
      return "SIGINT (Ctrl-C)";
    case StopReason::sigterm:
      return "SIGTERM";
  }
  return "an unknown reason";
}

StopRequest::StopRequest() {
  require<Error>(!installed.exchange(true), "a process can have one StopRequest only");
  received = 0;
  interrupted = false;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // a read or write under way is no error
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &handlers_before[i]);
  }
}

void StopRequest::set_time_limit(double max_minutes) {
  require<ConfigError>(max_minutes > 0, "train.max_minutes must be above 0, it is {}", max_minutes);
  deadline_ = std::chrono::steady_clock::now() +
              std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                  std::chrono::duration<double, std::ratio<60>>(max_minutes));
}

StopRequest::~StopRequest() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &handlers_before[i], nullptr);
  }
  installed = false;
}

StopReason StopRequest::here() const {
  switch (received.load()) {
    case SIGTERM:
      return StopReason::sigterm;
    case SIGINT:
      return StopReason::sigint;
    case SIGUSR1:
      return StopReason::sigusr1;
    default:
      break;
  }
  const bool late = deadline_ && std::chrono::steady_clock::now() >= *deadline_;
  return late ? StopReason::time_limit : StopReason::none;
}

StopReason StopRequest::anywhere(Communicator& group) const {
  const auto own = static_cast<std::int64_t>(here());
  return static_cast<StopReason>(group.all_reduce(own, Reduction::max));
}

}  // namespace gda
