// Cross-entropy fused with the output projection, over chunks of tokens, so that the logits of all
// tokens never exist at once.
//
//   logits_n = W x_n,   loss_n = log sum_v exp(logits_nv) - logits_{n, target_n}
//
// Losses are of the accumulate type, and so are logits, with one exception: on a GPU, logits that a
// gradient is wanted of are of the compute type, which halves their memory and its traffic in bf16.
// A bf16 logit is wrong by up to 2^-8 of itself (0.03 at a logit of 8), to either side and anew for
// each: losses of single tokens are wrong in their second decimal; a mean over N tokens by about
// 1 / sqrt(N) of that, and by half the variance of these errors, 1e-4, which is below a step's
// noise. The target's logit is rounded like the others, so that no loss is below 0 and it goes to 0
// where the model is sure. The loss alone, which evaluations are compared by, is that of logits of
// the accumulate type.
// A logit that is inf or NaN makes its row's loss (and gradient) NaN, unless the row is left out. A
// target outside [0, V) that is not kIgnoreTarget is an OpError that names the position and the id
// (on a GPU, which is not waited for: its loss is NaN).
#pragma once

#include <cstdint>
#include <functional>

#include "gda/ops/context.h"
#include "gda/ops/vocabulary_part.h"

namespace gda {

// A target that is left out of the loss: padding, or the first token of the next document.
inline constexpr std::int32_t kIgnoreTarget = -1;

struct LinearCrossEntropyOptions {
  // Logits of one chunk take at most this much memory (at least one row). 0: 64 MiB on the CPU,
  // 1 GiB on a GPU. Each chunk reads and writes all of dweight, 8 V D bytes in f32, for its
  // 6 V D FLOPs a row: memory and matrix units of an H200 (4.8 TB/s, 989 TFLOP/s) take the same
  // time at 275 rows, and 1 GiB is 4096 rows of 131,072 entries in bf16.
  std::size_t max_logit_bytes = 0;

  // Where places share the vocabulary, the rows of weight that are here, and what takes the maximum
  // of a tensor over the places, or its sum, element by element and in place; both null if all rows
  // are here. Each place calls them for every chunk, on the same rows in the same order, first the
  // one and then the other: for row maxima [n] of the accumulate type, and for sums of exponentials
  // and targets' logits [2, n] f64. Chunks have as many rows as they have for the whole vocabulary,
  // so that all places, whose parts may differ in size, have the same; logits then take that much
  // less memory than max_logit_bytes. They are not called where the context's arena only counts
  // (Arena::plan).
  VocabularyPart vocabulary = {};
  std::function<void(const Tensor&)> maximum_over_parts = nullptr;
  std::function<void(const Tensor&)> sum_over_parts = nullptr;
};

// Loss alone. x [N, D], weight [V, D] compute; target [N] i32 in [0, V) or kIgnoreTarget;
// loss [N] accumulate, 0 where the target is left out. Of a part of the vocabulary, weight has its
// rows, V is its total, and losses are those of the whole vocabulary, the same on every place.
void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  const LinearCrossEntropyOptions& options = {});

// Loss and gradients in one pass, for L = scale * sum_n loss_n (scale is usually 1 / tokens of the
// global batch): dx [N, D] compute, overwritten; dweight [V, D] accumulate, accumulated
// (empty: a third of the work less). Of a part, dweight is that of its rows, and dx is this place's
// term: the gradient is the sum over all places.
void linear_cross_entropy_forward_backward(const Context& context, const Tensor& x,
                                           const Tensor& weight, const Tensor& target, double scale,
                                           const Tensor& loss, const Tensor& dx,
                                           const Tensor& dweight,
                                           const LinearCrossEntropyOptions& options = {});

}  // namespace gda
