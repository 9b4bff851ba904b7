// Progress of a run, and the model that it trains: the parts that change, and that checkpoints
// bring back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gda/data/batch.h"
#include "gda/eval/loss.h"
#include "gda/model/growth_state.h"
#include "gda/train/run.h"
#include "gda/train/run_state.h"
#include "gda/train/trained_model.h"

namespace gda {

// The last step that was done.
struct DoneStep {
  StepResult result;
  double lr = 0;
  std::optional<double> mask;  // of growth, in the step's passes; nothing: none is faded in
  FlopsPerToken flops;         // of the whole step, not a token; 0 without targets
};

// Numbers of the whole model.
struct ParameterCounts {
  std::int64_t all = 0;
  std::int64_t trainable = 0;
};

struct RunProgress {
  RunState state;
  GrowthState growth;
  LossGuard guard;
  FlopsPerToken flops;  // of the model
  ParameterCounts parameters;
  DoneStep last;                          // of this process
  std::int64_t first_step = 0;            // done before this process trained
  std::unique_ptr<TrainedModel> model{};  // null until it is allocated
};

// Of a run that has done nothing, without a model.
RunProgress no_progress(const RunConfig& config);

// Allocates the model after progress.state.stages_done stages, of which what the configuration says
// is trainable, and on a GPU the memory of its steps. `added`: what growth has added to the model
// that `origin` names.
void allocate_model(Run& run, const std::vector<std::string>& added, std::string_view origin,
                    RunProgress& progress);

// The mask of the coming step, and of evaluations before it. A ramp at its end leaves an ordinary
// model.
void follow_ramp(RunProgress& progress);

// What this rank gives of the losses of a batch, of whose tokens it has its part. Collective over
// the ranks that compute the model together.
LossShare loss_share(Run& run, TrainedModel& model, const Batch& part);

// The mean loss of the batches of all ranks, of whose tokens each has its part; nothing if they
// have no target. Collective.
std::optional<double> loss_of(Run& run, TrainedModel& model, const Batch& batch);

}  // namespace gda
