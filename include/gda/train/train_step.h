// One optimizer step: micro-batches forward and backward, gradients summed over the ranks while the
// last backward pass goes on, the decision to update or to skip, clipping and the update.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gda/core/stream.h"
#include "gda/data/batch.h"
#include "gda/dist/communicator.h"
#include "gda/model/staged_model.h"
#include "gda/optim/logit_watch.h"
#include "gda/optim/optimizer.h"
#include "gda/report/phase_timer.h"
#include "gda/train/loss_guard.h"
#include "gda/train/step_passes.h"

namespace gda {

// Of the global batch, the same on every rank. Losses are in nats a target token.
struct StepResult {
  double loss = 0;           // NaN without targets
  double gradient_norm = 0;  // before clipping
  std::int64_t targets = 0;  // tokens that the loss was taken over
  std::string skipped;       // why the update was skipped; empty: it was done
  // Per data source: mean loss and number of targets (0: none in this step).
  std::vector<double> source_loss;
  std::vector<double> source_targets;
};

struct UpdateOptions {
  double lr = 0;
  std::int64_t update = 1;   // updates done so far, plus one
  double gradient_clip = 0;  // largest norm of the gradient; 0: no clipping
  // On a GPU: micro-batches during which ranks exchange nothing are launched as one graph. Not
  // while the decoder's growth mask changes. Where a graph cannot be made, they are launched
  // without.
  bool graphs = false;
};

// What each rank gives of the numbers that all of them add up.
struct StepRanks {
  Communicator& world;        // all
  std::int64_t parts = 1;     // ranks that read different tokens: data x context
  bool counts_tokens = true;  // of the ranks that read the same tokens, one
  // The ranks of the pipeline take micro-batches through their stages as this says.
  PipelineOptions pipeline = {};
};

class TrainStep {
 public:
  // All must outlive it. `sources`: number of data sources. `watch`: of attention's logits, or
  // null.
  TrainStep(StagedModel& model, GradientBuckets& buckets, Optimizer& optimizer,
            const StepRanks& ranks, std::size_t sources, LogitWatch* watch = nullptr);

  // The mean loss over all targets of all micro-batches of all ranks is what is descended, however
  // the batch is cut up. Throws DistError.
  // A step without any target does nothing but say so in `skipped`: its gradient is 0, and weight
  // decay alone would move the weights. The guard counts it, but not as a sign of divergence.
  // On a GPU the host waits for it once: for the losses and the gradient's norm, which decide
  // whether the update is done.
  StepResult run(const Context& context, std::span<const Batch> micro_batches,
                 const UpdateOptions& options, LossGuard& guard, PhaseTimer& timer);

  // Bytes of the arena that a step of that many batches like this one takes on a GPU. Other memory
  // of its passes is taken by then.
  std::size_t scratch_bytes(Device device, const Batch& batch, std::size_t micro_batches);
  // Bytes of that other memory.
  std::size_t held_bytes() const { return passes_->held_bytes(); }

 private:
  std::int64_t count_targets(std::span<const Batch> micro_batches) const;
  // Of a step of so many tokens, none of which is a target.
  StepResult without_targets(std::int64_t tokens) const;
  // Memory for the loss of each token of a step, one batch after the other.
  Tensor allocate_losses(const Context& context, const Batch& batch,
                         std::size_t micro_batches) const;
  void add_losses(std::span<const Batch> micro_batches, const HostCopy& losses);
  void reduce_losses(StepResult& result, std::int64_t targets);

  StagedModel& model_;
  GradientBuckets& buckets_;
  Optimizer& optimizer_;
  LogitWatch* watch_;
  StepRanks ranks_;
  std::unique_ptr<StepPasses> passes_;
  // Sums of the losses, then numbers of targets, by source.
  OwnedTensor sums_;
};

}  // namespace gda
