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

Phase PhaseTimer::enter(Phase phase) {
  const Clock::time_point now = Clock::now();
  seconds_[static_cast<std::size_t>(current_)] +=
      std::chrono::duration<double>(now - since_).count();
  since_ = now;
  return std::exchange(current_, phase);
}

PhaseSeconds PhaseTimer::take() {
  enter(current_);
  return std::exchange(seconds_, {});
}

}  // namespace gda
