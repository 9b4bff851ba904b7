// The growth stages of a run: the model is saved, grown on the disk as `gda grow` does it, and read
// again, so that a run that is killed in between goes on before or after the growth.
#pragma once

#include <optional>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/data/batch.h"
#include "gda/report/step_report.h"
#include "gda/train/run.h"
#include "gda/train/run_progress.h"
#include "gda/train/run_saver.h"

namespace gda {

class GrowthStages {
 public:
  // Both must outlive it.
  GrowthStages(Run& run, RunSaver& saver) : run_(run), saver_(saver) {}

  // ConfigError unless a run that was in this state when `reader` was written can go on with the
  // stages that the configuration lists.
  void check(const CheckpointReader& reader, const RunState& state) const;

  // Grows the model if a stage begins with the coming step, the first batches of which are
  // `sample`. What is to be told of it; nothing: none begins. Collective.
  std::optional<GrowthReport> grow_if_due(const Batch& sample, RunProgress& progress);

 private:
  GrowthReport grow(const Batch& sample, RunProgress& progress);

  Run& run_;
  RunSaver& saver_;
};

}  // namespace gda
