// Mean loss on a set of tokens.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>

#include "gda/data/evaluation_set.h"
#include "gda/dist/communicator.h"
#include "gda/model/decoder.h"

namespace gda {

// A batch as the model reads it, with its targets.
struct PlacedBatch {
  SequenceBatch input;
  Tensor target;  // [B*T] i32
};

// Views of the batch on the CPU; copies in the context's arena, on their way, on a GPU. The batch
// may change on return.
PlacedBatch to_device(const Context& context, const Batch& batch);

// Sum of per-token losses, f32 or f64, once they are there.
double sum_of_losses(const Stream& stream, const Tensor& loss);

struct EvaluationResult {
  double loss = 0;           // nats a token; NaN if there was nothing to predict
  std::int64_t targets = 0;  // tokens that were predicted
  double perplexity() const { return std::exp(loss); }
};

// Told how many of the rows are done.
using EvaluationProgress = std::function<void(std::int64_t done, std::int64_t samples)>;

// Who evaluates.
struct EvaluationRanks {
  Communicator& world;  // all
  std::int64_t share =
      0;  // the batches that this rank takes part in: one in `shares`, from `share`
  std::int64_t shares = 1;
  // Whether ranks of different shares exchange parameters during a pass, so that all make as many:
  // one whose rows are at an end makes a pass that does not count.
  bool in_step = false;
};

// What this rank gives of a batch; over all ranks of its share, each loss and each target once.
struct LossShare {
  double loss = 0;  // sum, nats
  std::int64_t targets = 0;
};
using LossOfBatch = std::function<LossShare(const Batch& batch)>;

// The first `max_samples` rows of the set (0: all), `micro_batch` at a time, dealt to the shares in
// turn. The result is the same on every rank. `progress` (if any) is told after each batch of this
// rank. Throws what reading the set throws, on every rank, of whatever rank it is. Collective.
EvaluationResult evaluate_loss(const EvaluationSet& set, const EvaluationRanks& ranks,
                               std::int64_t micro_batch, std::int64_t max_samples,
                               const LossOfBatch& loss_of, const EvaluationProgress& progress = {});
// Of a model that each rank has, which has a share of its own.
EvaluationResult evaluate_loss(const Context& context, Decoder& decoder, const EvaluationSet& set,
                               Communicator& communicator, std::int64_t micro_batch,
                               std::int64_t max_samples, const EvaluationProgress& progress = {});

}  // namespace gda
