// What a run will hold and send on each rank, from formulas, without allocating anything.
//
// Numbers of a micro-batch: B sequences of T tokens, N = B T / context rows of a context rank and
// n = N / tensor rows of the residual stream between layers. Of the model: D hidden, F units, V
// vocabulary; Q columns of q, k, v (and differential_v2's gate), A of attention's output
// (query heads times value_dim), O of o_proj's input, H query heads, S signal heads. Types: w bytes
// of the compute type, a of its accumulate type. R = data * context ranks hold the same parameters.
//
// Parameters. A rank holds, in w bytes, M elements of layers' matrices, m of them in its largest
// layer, E of the embedding and U of an untied head; in a bytes, v elements of vectors.
//   values     (M + E + U) w + v a; ZeRO 3: (M + E + U) w / R + (2 m + max(E, U)) w + v a, where a
//              rank with E or U alone, or both tied, has it whole, and its part in it
//   gradients  (M + E + U + v) a; ZeRO 2 and 3: that / R + (2 m + max(E, U) + v) a
//   optimizer  a / R bytes of each state of each element (AdamW: two; Muon: one of layers'
//              matrices), and of a master of each matrix element where w < a
// Frozen parameters have no gradients and no states.
//
// Activations that a layer keeps of a micro-batch until its backward pass, by train.recompute:
//   full       n D w, its input
//   selective  2 n D w + 2 n a + N (Q + A + 2 F) w / tensor + N (H + S) a / tensor, with S only
//              for types with lambda
//   none       and 2 n D w + N (O + F) w / tensor, without O for softmax
// A stage keeps one n D w more, the stream behind its last layer, and a rank as many micro-batches
// of each chunk as its schedule has on the way at once (pipeline_schedule.h). What the zero-bubble
// schedule defers takes (4 n D + N (Q + O + 3 F) / tensor) w a layer and micro-batch.
//
// Working memory is the most of these, one at a time:
//   a layer's backward pass: 2 n D w (4 where the head is), what it recomputes, and the larger of
//     3 F N w / tensor and N (Q + A + O) w / tensor + N H a / tensor, O and H only as above
//   the loss: 3 n D w and a chunk of logits: N V / tensor of w bytes (a on a CPU), at most
//     train.max_logit_mib
//   Muon's update: two matrices of a bytes
//
// Communication buffers:
//   tensor    2 N D w: the whole input of a product, and a whole gradient
//   context   ulysses: 2 N Q w / tensor. gather: keys and values of all tokens, and their gradients
//   pipeline  (2 + messages that have arrived early) n D w
//
// Bytes that a rank sends in a step of k micro-batches, by the formulas of rings: a share (s-1)/s
// of what s ranks gather or reduce.
//   tensor    of N D w: 10 a layer and micro-batch (13 with recompute: full), 2 where the embedding
//             is, 2 where the head is
//   context   a layer and micro-batch; ulysses: 2 (Q + O) N w / tensor, with recompute: full 3, and
//             with selective O once more. gather: 3 times keys and values of all tokens
//   replicas  ZeRO 1: gradients in a bytes and values in w bytes, once; 2: gradients k times;
//             3: gradients k times, layers' values 2 k times but for the two that are there where
//             a pass turns, the ends' k times (tied, or one alone: once); Muon: parts of the update
//             there and back
//   pipeline  n D w for each stream to the next stage and each gradient to the one before, and half
//             of a tied embedding's exchange
// Sums of norms, of losses' rows and of vectors are left out: below a hundredth of these. So are
// the memory that libraries and the driver take (about 2 GiB a GPU) and padding.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/dist/mesh.h"
#include "gda/train/pipeline_schedule.h"
#include "gda/train/run_config.h"

namespace gda {

// Bytes.
struct RankMemory {
  double parameters = 0;
  double gradients = 0;
  double optimizer = 0;
  double activations = 0;
  double working = 0;
  double communication = 0;

  double total() const {
    return parameters + gradients + optimizer + activations + working + communication;
  }
};

// Bytes that a rank sends in a step.
struct RankTraffic {
  double tensor = 0;
  double context = 0;
  double replicas = 0;
  double pipeline = 0;
};

struct RankEstimate {
  std::int64_t elements = 0;  // of parameters, before ZeRO cuts them
  RankMemory memory;
  RankTraffic traffic;
};

struct LayoutEstimate {
  std::int64_t parameters = 0;  // of the whole model
  MeshShape mesh;
  ContextMethod method = ContextMethod::ulysses;
  std::int64_t micro_batches = 0;  // of a data-parallel rank, at train.global_batch_size
  double bubble = 0;
  std::vector<PipelineKept> kept;   // of each pipeline rank
  std::vector<RankEstimate> ranks;  // of each pipeline rank, the last tensor coordinate: the most
  std::vector<Stage> stages;
};

// Of a model, trained as `config` says (its own, or one that a growth stage makes) by so many
// processes (0: as many as one model takes). train.trainable: new counts as all. ConfigError if the
// configuration does not fit them.
LayoutEstimate estimate_layout(const RunConfig& config, const ModelConfig& model,
                               std::int64_t ranks);

// estimate_layout of the run's first model and of the one after its last growth stage, as text;
// `with_schedule`: with the pipeline's table (draw), of at most two rounds of micro-batches.
std::string layout_page(const RunConfig& config, std::int64_t ranks, bool with_schedule);

}  // namespace gda
