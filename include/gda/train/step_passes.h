// The passes of a step: every micro-batch forward and backward through the stages of this rank.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "gda/data/batch.h"
#include "gda/model/staged_model.h"
#include "gda/optim/gradient_buckets.h"
#include "gda/optim/logit_watch.h"
#include "gda/report/phase_timer.h"
#include "gda/train/pipeline_schedule.h"

namespace gda {

struct PassOptions {
  double scale = 1;             // the gradient is that of scale * sum of the losses
  LogitWatch* watch = nullptr;  // not null: attention's largest logits are looked for
  // On a GPU: micro-batches during which ranks exchange nothing are launched as one graph. Where a
  // graph cannot be made, they are launched without.
  bool graphs = false;
};

struct PipelineOptions {
  PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
  int chunks = 1;  // of each rank
};

class StepPasses {
 public:
  StepPasses() = default;
  StepPasses(const StepPasses&) = delete;
  StepPasses& operator=(const StepPasses&) = delete;
  virtual ~StepPasses() = default;

  // Adds the gradients of all micro-batches, and starts summing each bucket's over the ranks when
  // it is whole. `losses` [rows * micro-batches], accumulate type: those of each local row, where
  // this rank has the head. Collective.
  virtual void run(const Context& context, std::span<const Batch> micro_batches,
                   const PassOptions& options, const Tensor& losses, PhaseTimer& timer) = 0;

  // Bytes of the context's arena that run(), or a pass for losses alone, takes for as many
  // micro-batches like this one on a GPU.
  // What it holds in other arenas is reserved at once.
  virtual std::size_t reserve(const Context& plan, const Batch& batch, std::size_t micro_batches,
                              LogitWatch* watch) = 0;
  // Bytes of arenas of its own.
  virtual std::size_t held_bytes() const = 0;
};

// A model that is one stage: one micro-batch after another.
std::unique_ptr<StepPasses> make_sequential_passes(StagedModel& model, GradientBuckets& buckets);
// A pipeline, as a table says it.
std::unique_ptr<StepPasses> make_pipeline_passes(StagedModel& model, GradientBuckets& buckets,
                                                 const PipelineOptions& options);

}  // namespace gda
