// Time of a step, by phase.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "gda/core/stream.h"

namespace gda {

enum class Phase : std::uint8_t { data, forward, backward, communication, optimizer, other };
inline constexpr std::size_t kPhases = 6;

// "data", "forward", ...
std::string_view name_of(Phase phase);

// Seconds, indexed by Phase.
using PhaseSeconds = std::array<double, kPhases>;

// Splits the wall time of one thread among phases. Every moment belongs to exactly one phase: the
// innermost scope that is open, or Phase::other. So the phases add up to the time that passed.
//
// With a GPU's stream it splits the time of the stream: a phase begins there when the work that
// was put on it before is done.
class PhaseTimer {
 public:
  class Scope {
   public:
    Scope(PhaseTimer& timer, Phase phase) : timer_(timer), outer_(timer.enter(phase)) {}
    ~Scope() { timer_.enter(outer_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    PhaseTimer& timer_;
    Phase outer_;
  };

  explicit PhaseTimer(const Stream& stream = {});

  // Time belongs to `phase` until the scope ends.
  [[nodiscard]] Scope scope(Phase phase) { return Scope(*this, phase); }
  // Seconds by phase since the last call (or since construction).
  PhaseSeconds take();

 private:
  using Clock = std::chrono::steady_clock;

  // A place in the stream where a phase begins.
  struct Mark {
    Event event;
    Phase phase = Phase::other;
  };

  Phase enter(Phase phase);
  void mark(Phase phase);
  // Number of marks that the stream has reached.
  std::size_t reached_marks() const;
  // Adds up the phases between the first `reached` marks; the last of them stays.
  void settle(std::size_t reached);

  Stream stream_;
  Clock::time_point since_;
  Phase current_ = Phase::other;
  PhaseSeconds seconds_{};
  // Of a GPU; the first `marked_` are in use, events are used again.
  std::vector<Mark> marks_;
  std::size_t marked_ = 0;
  std::size_t limit_ = 1024;  // then the reached ones are settled
};

}  // namespace gda
