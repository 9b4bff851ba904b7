#include "gda/report/phase_timer.h"

#include <algorithm>
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
  if (marked_ == limit_) {
    settle(reached_marks());
    if (marked_ > limit_ / 2) limit_ *= 2;  // the device is far behind, and not waited for
  }
  if (marked_ == marks_.size()) marks_.push_back({.event = Event(stream_.device)});
  Mark& mark = marks_[marked_++];
  mark.event.record(stream_);
  mark.phase = phase;
}

std::size_t PhaseTimer::reached_marks() const {
  const auto end = marks_.begin() + static_cast<std::ptrdiff_t>(marked_);
  const auto next = std::partition_point(marks_.begin(), end,
                                         [](const Mark& mark) { return mark.event.reached(); });
  return static_cast<std::size_t>(next - marks_.begin());
}

void PhaseTimer::settle(std::size_t reached) {
  if (reached < 2) return;
  for (std::size_t i = 0; i + 1 < reached; ++i) {
    seconds_[static_cast<std::size_t>(marks_[i].phase)] +=
        marks_[i].event.seconds_until(marks_[i + 1].event);
  }
  const auto begin = marks_.begin();
  std::rotate(begin, begin + static_cast<std::ptrdiff_t>(reached - 1),
              begin + static_cast<std::ptrdiff_t>(marked_));
  marked_ -= reached - 1;
}

PhaseSeconds PhaseTimer::take() {
  enter(current_);
  if (marked_ > 0) {
    marks_[marked_ - 1].event.wait();
    settle(marked_);
  }
  return std::exchange(seconds_, {});
}

}  // namespace gda
