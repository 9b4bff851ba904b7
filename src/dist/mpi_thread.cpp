#include "dist/mpi_thread.h"

#include <fmt/format.h>
#include <mpi.h>
#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/text.h"

namespace gda {
namespace {

// Operations that are remembered for the report about one that does not finish.
constexpr std::size_t kHistory = 16;

// MPI guarantees tags up to 32767: collectives take one after another, messages all the last one,
// since only their order counts; between them are those of the roll call.
constexpr std::int64_t kCollectiveTags = dist::RollCall::kQuestionTag;
constexpr int kMessageTag = 32767;

// How long the thread sleeps without work. It wakes to let MPI push out what is still on its way to
// other ranks: an operation may be complete here while a peer still waits for its last bytes.
constexpr auto kIdle = std::chrono::milliseconds(2);

// Waiting for messages without taking the core from the computation: a few polls for answers that
// are nearly there, then sleeps that grow to `longest`.
class Backoff {
 public:
  explicit Backoff(std::chrono::microseconds longest) : longest_(longest) {}

  void pause() {
    if (polls_ < kYields) {
      ++polls_;
      std::this_thread::yield();
      return;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(sleep_ * 2, longest_);
  }

 private:
  static constexpr int kYields = 16;
  int polls_ = 0;
  std::chrono::microseconds sleep_{10};
  std::chrono::microseconds longest_;
};

// How long a rank whose time is over waits for the others to say what they do. Those that can
// answer at once; this is for the end to come on a machine that is crowded as well as without them.
constexpr std::chrono::seconds kGrace{5};

// A rank that waits for a late one polls at this distance: about a fiftieth of a core, and no
// matter beside how late the other is.
constexpr std::chrono::microseconds kWaitForRanks{1000};
// What is no larger arrives whole without anybody's help, so there is only the rank to wait for;
// MPI also sees when it is longer than expected.
constexpr std::size_t kSmall = 2048;
// Once all are there data flows only while MPI is called: without memory that processes can read
// from each other it goes in pieces of some 10 KiB a call.
constexpr std::chrono::microseconds kWaitForData{20};

// What ranks show each other before they send what is not small: what they are about to do. An odd
// length, which no data has.
using Sign = std::array<char, 61>;

Sign sign_of(const OperationInfo& info) {
  Sign sign{};
  info.what.copy(sign.data(), sign.size() - 1);
  return sign;
}

bool is_message(const OperationInfo& info) {
  return info.kind == OperationInfo::Kind::message;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Signals are for the thread that trains.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

MpiThread::MpiThread() {
  std::promise<void> started;
  std::future<void> up = started.get_future();
  {
    const SignalsBlocked blocked;
    thread_ = std::thread(&MpiThread::run, this, std::move(started));
  }
  try {
    up.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

MpiThread::~MpiThread() {
  end(Ending::finish);
}

std::shared_future<void> MpiThread::submit(std::shared_ptr<dist::MpiGroup> group,
                                           std::unique_ptr<dist::Operation> operation,
                                           OperationInfo info, OperationLimits limits) {
  info.group = group->name;
  Task task{std::move(group), std::move(operation), std::move(info), limits, {}};
  std::shared_future<void> done = task.done.get_future().share();
  {
    const std::lock_guard lock(mutex_);
    require<DistError>(!closed_, "[{}] the MPI session has ended", task.info.what);
    task.info.number = is_message(task.info) ? task.group->messages++ : task.group->collectives++;
    queue_.push_back(std::move(task));
  }
  submitted_.notify_one();
  return done;
}

void MpiThread::end(Ending ending, int exit_code) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    exit_code_ = exit_code;
    ending_ = ending;
  }
  submitted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void MpiThread::set_device_report(std::function<std::string()> report) {
  const std::lock_guard lock(report_mutex_);
  device_report_ = std::move(report);
}

std::vector<std::string> MpiThread::what_ranks_do() {
  std::future<std::vector<std::string>> lines;
  {
    const std::lock_guard lock(mutex_);
    lines = questions_.emplace_back().get_future();
  }
  if (lines.wait_for(2 * kGrace) != std::future_status::ready) return {};
  return lines.get();
}

void MpiThread::initialise() {
  int provided = MPI_THREAD_SINGLE;
  dist::check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided),
                  "MPI_Init_thread");
  require<DistError>(provided >= MPI_THREAD_FUNNELED,
                     "the MPI library cannot be used in a program with threads: asked for "
                     "MPI_THREAD_FUNNELED, got level {}",
                     provided);
  world_ = dist::make_world_group();
}

void MpiThread::run(std::promise<void> started) {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // nanoseconds: by default sleeps last 50 us longer
  try {
    initialise();
    started.set_value();
  } catch (...) {
    started.set_exception(std::current_exception());
    return;
  }
  while (!stopped_at_once()) {
    if (std::optional<Task> task = next_task()) {
      execute(*task);
    } else if (ending_ == Ending::finish) {
      break;
    }
  }
  if (ending_ == Ending::abort) MPI_Abort(MPI_COMM_WORLD, exit_code_);
  if (ending_ == Ending::finish && !failure_) MPI_Finalize();
}

std::optional<MpiThread::Task> MpiThread::next_task() {
  std::unique_lock lock(mutex_);
  submitted_.wait_for(lock, kIdle, [&] { return !queue_.empty() || closed_; });
  if (queue_.empty()) {
    lock.unlock();
    call_roll([&] { return doing_nothing(); });
    return std::nullopt;
  }
  Task task = std::move(queue_.front());
  queue_.pop_front();
  return task;
}

void MpiThread::execute(Task& task) {
  try {
    if (failure_) std::rethrow_exception(failure_);
    carry_out(task);
    task.done.set_value();
  } catch (const dist::MessageError& error) {
    report_history();
    failure_ = std::make_exception_ptr(DistError(fmt::format(
        "{} of {}: {}: {}; the ranks may run different programs, configurations or data",
        names_.name(world_->place.rank), world_->place.size, describe(task.info), error.what())));
    task.done.set_exception(failure_);
  } catch (...) {
    failure_ = std::current_exception();
    task.done.set_exception(failure_);
  }
}

void MpiThread::carry_out(Task& task) {
  const auto begin = Clock::now();
  const OperationInfo& info = task.info;
  transfers_.begin(
      {.comm = task.group->comm,
       .tag = is_message(info) ? kMessageTag : static_cast<int>(info.number % kCollectiveTags),
       .world_ranks = &task.group->world_ranks,
       .names = &names_,
       .message_bytes = task.limits.message_bytes});
  const bool small = info.bytes <= kSmall;
  if (!small && !is_message(info)) check_peers(task, begin);
  // The first round of a message is its length alone.
  bool waits_for_rank = small || is_message(info);
  while (task.operation->next_round(transfers_)) {
    wait_for_round(task, begin, waits_for_rank ? kWaitForRanks : kWaitForData);
    waits_for_rank = small;
  }
  history_.push_back({info, seconds_since(begin)});
  if (history_.size() > kHistory) history_.pop_front();
}

// Ranks show each other that they are there, and for what: to wait for them is another matter than
// to wait for their data, and data of another length must not come.
void MpiThread::check_peers(const Task& task, Clock::time_point begin) {
  const dist::Group place = task.group->place;
  const Sign own = sign_of(task.info);
  std::vector<Sign> signs(static_cast<std::size_t>(place.size), own);
  for (int peer = 0; peer < place.size; ++peer) {
    if (peer == place.rank) continue;
    transfers_.receive(&signs[static_cast<std::size_t>(peer)], sizeof(Sign), peer);
    transfers_.send(&own, sizeof(Sign), peer);
  }
  wait_for_round(task, begin, kWaitForRanks);
  for (int peer = 0; peer < place.size; ++peer) {
    const Sign& sign = signs[static_cast<std::size_t>(peer)];
    require<dist::MessageError>(sign == own, "{} calls {} instead", transfers_.name(peer),
                                sign.data());
  }
}

void MpiThread::wait_for_round(const Task& task, Clock::time_point begin,
                               std::chrono::microseconds longest_pause) {
  Backoff backoff(longest_pause);
  while (!transfers_.done()) {
    require<DistError>(!stopped_at_once(), "{} was given up: the process is ending",
                       describe(task.info));
    if (Clock::now() - begin > task.limits.timeout) fail_late(task);
    call_roll([&] { return doing(task); });
    backoff.pause();
  }
}

void MpiThread::fail_late(const Task& task) {
  report_history();
  gave_up_ = doing(task);
  log::error("what the ranks do:");
  for (const std::string& line : roll_call_.ask(*world_, names_, gave_up_, kGrace)) {
    log::error("  {}", line);
  }
  fail<DistError>(
      "{} of {}: {} did not finish within {} s; no answer from {}: look at the end of the log "
      "there",
      names_.name(world_->place.rank), world_->place.size, describe(task.info),
      task.limits.timeout.count(), names_.list(transfers_.awaited()));
}

std::string MpiThread::doing(const Task& task) const {
  return with_device(
      fmt::format("waiting in {} for {}", describe(task.info), names_.list(transfers_.awaited())));
}

std::string MpiThread::doing_nothing() const {
  if (!gave_up_.empty()) return gave_up_;
  if (failure_) return "ending, after an operation that failed";
  return with_device(fmt::format("in no operation; the last was {}",
                                 history_.empty() ? "none" : describe(history_.back().info)));
}

std::string MpiThread::with_device(const std::string& doing) const {
  const std::lock_guard lock(report_mutex_);
  return device_report_ ? fmt::format("{}; on its device {}", doing, device_report_()) : doing;
}

void MpiThread::call_roll(const std::function<std::string()>& doing) {
  std::vector<std::promise<std::vector<std::string>>> questions;
  {
    const std::lock_guard lock(mutex_);
    questions.swap(questions_);
  }
  for (auto& question : questions) {
    question.set_value(roll_call_.ask(*world_, names_, doing(), kGrace));
  }
  if (dist::RollCall::is_asked()) roll_call_.answer(doing());
}

void MpiThread::report_history() {
  log::error("the last operations of {}, all complete:", names_.name(world_->place.rank));
  for (const Finished& done : history_) {
    log::error("  {} took {:.3f} s", describe(done.info), done.seconds);
  }
}

}  // namespace gda
