#include "gda/train/stop_request.h"

#include <array>
#include <atomic>
#include <csignal>

#include "gda/core/error.h"

namespace gda {
namespace {

struct Noted {
  int signal;
  StopReason reason;
  const char* name;
};
constexpr std::array kNoted = {Noted{SIGTERM, StopReason::sigterm, "SIGTERM"},
                               Noted{SIGINT, StopReason::sigint, "SIGINT (Ctrl-C)"},
                               Noted{SIGHUP, StopReason::sighup, "SIGHUP"},
                               Noted{SIGUSR1, StopReason::sigusr1, "SIGUSR1"},
                               Noted{SIGUSR2, StopReason::sigusr2, "SIGUSR2"},
                               Noted{SIGXCPU, StopReason::sigxcpu, "SIGXCPU"}};

// The first signal that came; 0 before. Handlers may touch lock-free atomics only.
std::atomic<int> received{0};
std::atomic<bool> interrupted{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

std::atomic<bool> installed{false};
std::array<struct sigaction, kNoted.size()> handlers_before;
struct sigaction pipe_before;

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
  if (reason == StopReason::none) return "nothing";
  for (const Noted& noted : kNoted) {
    if (noted.reason == reason) return noted.name;
  }
  return "the time limit (train.max_minutes)";
}

StopRequest::StopRequest() {
  require<Error>(!installed.exchange(true), "a process can have one StopRequest only");
  received = 0;
  interrupted = false;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // a read or write under way is no error
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kNoted.size(); ++i) {
    sigaction(kNoted[i].signal, &action, &handlers_before[i]);
    const bool is_unwanted = kNoted[i].signal == SIGHUP && handlers_before[i].sa_handler == SIG_IGN;
    if (is_unwanted) sigaction(SIGHUP, &handlers_before[i], nullptr);
  }
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, &pipe_before);
}

void StopRequest::set_time_limit(double max_minutes) {
  require<ConfigError>(max_minutes > 0, "train.max_minutes must be above 0, it is {}", max_minutes);
  deadline_ = std::chrono::steady_clock::now() +
              std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                  std::chrono::duration<double, std::ratio<60>>(max_minutes));
}

StopRequest::~StopRequest() {
  for (std::size_t i = 0; i < kNoted.size(); ++i) {
    sigaction(kNoted[i].signal, &handlers_before[i], nullptr);
  }
  sigaction(SIGPIPE, &pipe_before, nullptr);
  installed = false;
}

StopReason StopRequest::here() const {
  const int signal = received.load();
  for (const Noted& noted : kNoted) {
    if (noted.signal == signal) return noted.reason;
  }
  const bool late = deadline_ && std::chrono::steady_clock::now() >= *deadline_;
  return late ? StopReason::time_limit : StopReason::none;
}

StopReason StopRequest::anywhere(Communicator& group) const {
  const auto own = static_cast<std::int64_t>(here());
  return static_cast<StopReason>(group.all_reduce(own, Reduction::max));
}

}  // namespace gda
