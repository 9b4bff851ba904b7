// The samples of the coming step, as this rank takes them from the data.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gda/data/batch.h"
#include "gda/report/phase_timer.h"
#include "gda/train/run.h"
#include "gda/train/run_state.h"

namespace gda {

// Data that a rank could not read; the same on every rank.
struct UnreadableData {
  std::string what;  // "the samples of step 7"
  std::string fault;
  std::string way_on;
};

class StepSamples {
 public:
  explicit StepSamples(const Run& run) : run_(run) {}

  // Fills the micro-batches of the step after `state`: each is a row of blocks, one of each data
  // coordinate, in the order of the samples, and of these the tokens that this rank has.
  // Collective.
  std::optional<UnreadableData> read(const RunState& state, PhaseTimer& timer);

  // Of the step that was read last.
  std::span<const Batch> micro_batches() const { return micro_batches_; }
  // The first of them; null if none could be read.
  const Batch* first() const;

  // The sources that the last `steps` of the steps done drew from.
  std::vector<std::string> sources_of(const RunState& state, std::int64_t steps) const;

 private:
  void fill(const RunState& state, PhaseTimer& timer);

  const Run& run_;
  Batch whole_;  // of which context ranks take their parts
  std::vector<Batch> micro_batches_;
  bool are_read_ = false;  // on every rank
};

}  // namespace gda
