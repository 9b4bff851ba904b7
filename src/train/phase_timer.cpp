#include "gda/train/phase_timer.h"

#include <utility>

namespace gda {

std::string_view name_of(Phase phase) {
  switch (phase) {
    case Phase::data:
      return "data";
    case Phase::forward:
      return "forward";
    case Phase::backward:
      return "backward";
    case Phase::communication:
      return "communication";
    case Phase::optimizer:
      return "optimizer";
    case Phase::other:
      return "other";
  }
  return "unknown";
}

PhaseTimer::PhaseTimer(const Stream& stream) : stream_(stream), since_(Clock::now()) {
  if (stream_.device.type == DeviceType::cuda) mark(current_);
}

Phase PhaseTimer::enter(Phase phase) {
  if (stream_.device.type == DeviceType::cuda) {
    mark(phase);
    return std::exchange(current_, phase);
  }
  const Clock::time_point now = Clock::now();
  seconds_[static_cast<std::size_t>(current_)] +=
      std::chrono::duration<double>(now - since_).count();
  since_ = now;
  return std::exchange(current_, phase);
}

void PhaseTimer::mark(Phase phase) {
  // A long run of steps between two reports must not take ever more events.
  constexpr std::size_t kMost = 4096;
  if (marked_ == kMost) settle();
  if (marked_ == marks_.size()) marks_.push_back({.event = Event(stream_.device)});
  Mark& mark = marks_[marked_++];
  mark.event.record(stream_);
  mark.phase = phase;
}

void PhaseTimer::settle() {
  marks_[marked_ - 1].event.wait();
  for (std::size_t i = 0; i + 1 < marked_; ++i) {
    seconds_[static_cast<std::size_t>(marks_[i].phase)] +=
        marks_[i].event.seconds_until(marks_[i + 1].event);
  }
  std::swap(marks_.front(), marks_[marked_ - 1]);
  marked_ = 1;
}

PhaseSeconds PhaseTimer::take() {
  enter(current_);
  if (marked_ > 0) settle();
  return std::exchange(seconds_, {});
}

}  // namespace gda
