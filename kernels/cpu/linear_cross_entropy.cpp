#include <algorithm>
#include <cmath>

#include "isa.h"
#include "isa/linear_cross_entropy.h"
#include "ops/backend.h"
#include "ops/dispatch.h"
#include "ops/linear_cross_entropy_kernels.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

void check_targets(std::string_view op, const Tensor& target, std::int64_t vocabulary) {
  const auto* id = target.data<std::int32_t>();
  for (std::int64_t n = 0; n < target.dim(0); ++n) {
    require<OpError>((id[n] >= 0 && id[n] < vocabulary) || id[n] == kIgnoreTarget,
                     "[{}] target {} has id {}, expected 0 to {}, or {} to leave it out", op, n,
                     id[n], vocabulary - 1, kIgnoreTarget);
  }
}

// log sum exp(logits) - logits[target]; the plain version for f64.
double reference_loss(const double* logits, std::int64_t n, std::int64_t target) {
  const double largest = *std::max_element(logits, logits + n);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += std::exp(logits[i] - largest) + (std::isfinite(logits[i]) ? 0.0 : NAN);
  }
  return std::log(sum) + largest - logits[target];
}

void reference_gradient(double* logits, std::int64_t n, std::int64_t target, double loss,
                        double scale) {
  const double log_sum = loss + logits[target];
  for (std::int64_t i = 0; i < n; ++i) {
    logits[i] = scale * (std::exp(logits[i] - log_sum) - (i == target ? 1 : 0));
  }
}

const CrossEntropyTable& table() {
  static const CrossEntropyTable& chosen =
      choose(baseline::kCrossEntropy, avx2::kCrossEntropy, avx512::kCrossEntropy);
  return chosen;
}

// loss_n = row_loss(n, target_n), or 0 for rows that are left out.
template <class Acc, class RowLoss>
void for_each_row(const Tensor& target, const Tensor& loss, const RowLoss& row_loss) {
  parallel_pieces(target.dim(0), 1, [&](std::int64_t n, std::int64_t) {
    const std::int64_t id = target.data<std::int32_t>()[n];
    loss.data<Acc>()[n] = id == kIgnoreTarget ? Acc{0} : static_cast<Acc>(row_loss(n, id));
  });
}

// Losses of a chunk from its logits.
void losses(const Tensor& logits, const Tensor& target, const Tensor& loss) {
  const std::int64_t vocabulary = logits.dim(1);
  if (logits.dtype() == DType::f64) {
    for_each_row<double>(target, loss, [&](std::int64_t n, std::int64_t id) {
      return reference_loss(logits.data<double>() + n * vocabulary, vocabulary, id);
    });
  } else {
    for_each_row<float>(target, loss, [&](std::int64_t n, std::int64_t id) {
      return table().loss(logits.data<float>() + n * vocabulary, vocabulary, id);
    });
  }
}

// Losses of a chunk; its logits become the gradient of L with respect to them. Returns that
// gradient as a tensor of type `compute`: for bf16 it lies in the first half of each row's memory.
Tensor losses_and_gradients(const Context& context, const Tensor& logits, DType compute,
                            const Tensor& target, double scale, const Tensor& loss) {
  const std::int64_t vocabulary = logits.dim(1);
  for (std::int64_t n = 0; n < logits.dim(0); ++n) {
    if (target.data<std::int32_t>()[n] == kIgnoreTarget) cpu::fill_zero(context, logits.rows(n, 1));
  }
  if (compute == DType::f64) {
    for_each_row<double>(target, loss, [&](std::int64_t n, std::int64_t id) {
      double* row = logits.data<double>() + n * vocabulary;
      const double value = reference_loss(row, vocabulary, id);
      reference_gradient(row, vocabulary, id, value, scale);
      return value;
    });
    return logits;
  }
  const auto& row_function =
      compute == DType::bf16 ? table().loss_and_bf16_gradient : table().loss_and_gradient;
  for_each_row<float>(target, loss, [&](std::int64_t n, std::int64_t id) {
    return row_function(logits.data<float>() + n * vocabulary, vocabulary, id, scale);
  });
  if (compute == DType::f32) return logits;
  return {logits.raw(), DType::bf16, logits.shape(), 2 * vocabulary, logits.device()};
}

// Calls f(begin, count, logits) for chunks of rows of x.
template <class F>
void for_each_chunk(const Context& context, const Tensor& x, const Tensor& weight,
                    LinearCrossEntropyOptions options, const F& f) {
  const DType dtype = accumulate_type(x.dtype());
  const std::int64_t vocabulary = weight.dim(0);
  const std::int64_t rows = x.dim(0);
  const std::int64_t step = ops::chunk_rows(rows, vocabulary, dtype, options);
  const ArenaScope scope(context.arena);
  const Tensor memory = context.arena.allocate(dtype, {step, vocabulary});
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    const std::int64_t count = std::min(step, rows - begin);
    const Tensor logits = memory.rows(0, count);
    cpu::matmul(context, x.rows(begin, count), weight, logits, {.transpose_b = true});
    f(begin, count, logits);
  }
}

}  // namespace

void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options) {
  check_targets("linear_cross_entropy_forward", target, weight.dim(0));
  for_each_chunk(context, x, weight, options,
                 [&](std::int64_t begin, std::int64_t count, const Tensor& logits) {
                   losses(logits, target.rows(begin, count), loss.rows(begin, count));
                 });
}

void linear_cross_entropy_forward_backward(const Context& context,
                                           const ops::LinearCrossEntropyForwardBackward& a) {
  check_targets("linear_cross_entropy_forward_backward", a.target, a.weight.dim(0));
  for_each_chunk(context, a.x, a.weight, a.options,
                 [&](std::int64_t begin, std::int64_t count, const Tensor& logits) {
                   const Tensor dlogits = losses_and_gradients(context, logits, a.x.dtype(),
                                                               a.target.rows(begin, count), a.scale,
                                                               a.loss.rows(begin, count));
                   cpu::matmul(context, dlogits, a.weight, a.dx.rows(begin, count), {});
                   if (!a.dweight) return;
                   cpu::matmul(context, dlogits, a.x.rows(begin, count), a.dweight,
                               {.transpose_a = true, .accumulate = true});
                 });
}

}  // namespace gda::cpu
