#include "gda/ops/linear_cross_entropy.h"

#include <omp.h>

#include <algorithm>

#include "gda/ops/matmul.h"
#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

void check(std::string_view op, const Context& context, const Tensor& x, const Tensor& weight,
           const Tensor& target, const Tensor& loss) {
  ops::check_compute_type(op, x);
  require<OpError>(x.rank() == 2 && weight.rank() == 2 && x.dim(1) == weight.dim(1),
                   "[{}] expected x [N, D] and weight [V, D], got {} and {}", op, x.str(),
                   weight.str());
  require<OpError>(weight.elements() > 0, "[{}] weight: expected V and D above 0, got {}", op,
                   weight.str());
  const Shape rows{x.dim(0)};
  ops::check_tensor(op, "x", x, x.dtype(), x.shape(), context);
  ops::check_tensor(op, "weight", weight, x.dtype(), weight.shape(), context);
  ops::check_tensor(op, "target", target, DType::i32, rows, context);
  ops::check_tensor(op, "loss", loss, accumulate_type(x.dtype()), rows, context);
}

// A GPU is not waited for; its losses show a target that is none.
void check_targets(std::string_view op, const Tensor& target, std::int64_t vocabulary) {
  if (target.device().type != DeviceType::cpu) return;
  const auto* id = target.data<std::int32_t>();
  for (std::int64_t n = 0; n < target.dim(0); ++n) {
    require<OpError>((id[n] >= 0 && id[n] < vocabulary) || id[n] == kIgnoreTarget,
                     "[{}] target {} has id {}, expected 0 to {}, or {} to leave it out", op, n,
                     id[n], vocabulary - 1, kIgnoreTarget);
  }
}

// Logits of a chunk of rows, and their statistics, in scratch memory.
class Chunks {
 public:
  Chunks(std::string_view op, const Context& context, std::int64_t rows, std::int64_t vocabulary,
         DType compute, bool with_gradient, LinearCrossEntropyOptions options)
      : backend_(ops::backend(context.device())), scope_(context.arena), compute_(compute) {
    if (backend_.softmax_statistics.function == nullptr) ops::fail_missing(op);
    const bool gpu = context.device().type == DeviceType::cuda;
    const DType wide = accumulate_type(compute);
    const DType dtype = gpu && with_gradient ? compute : wide;
    // A GPU reads rows in packs of 16 bytes.
    const auto width = gpu ? static_cast<std::int64_t>(16 / size_of(dtype)) : 1;
    const std::int64_t stride = (vocabulary + width - 1) / width * width;
    if (options.max_logit_bytes == 0) {
      options.max_logit_bytes = std::size_t{gpu ? 1024U : 64U} << 20;
    }
    // As many rows as fit into that memory, the chunks as even as can be.
    const auto row_bytes = static_cast<std::size_t>(stride) * size_of(dtype);
    const auto fitting =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(options.max_logit_bytes / row_bytes));
    const std::int64_t chunks = (rows + fitting - 1) / fitting;
    step_ = (rows + chunks - 1) / chunks;
    // A CPU's threads find the rows that they have just read in their caches; a GPU, which would be
    // asked too often, takes all of them.
    constexpr std::int64_t kRowsOfAThread = 4;
    block_ = gpu ? step_ : kRowsOfAThread * omp_get_max_threads();
    logits_ = context.arena.allocate(dtype, {step_, stride}).columns(0, vocabulary);
    statistics_ = {.maximum = context.arena.allocate(wide, {step_}),
                   .sum = context.arena.allocate(DType::f64, {step_}),
                   .chosen = context.arena.allocate(wide, {step_})};
  }

  std::int64_t step() const { return step_; }

  // Losses of the rows x [n, D], n <= step.
  void losses(const Context& context, const Tensor& x, const Tensor& weight, const Tensor& target,
              const Tensor& loss) const {
    const Tensor logits = logits_.rows(0, x.dim(0));
    matmul(context, x, weight, logits, {.transpose_b = true});
    losses_of(context, logits, target, loss, false);
  }

  // And the gradient of scale * sum of losses with respect to the logits, in their memory.
  Tensor losses_and_gradient(const Context& context, const Tensor& x, const Tensor& weight,
                             const Tensor& target, double scale, const Tensor& loss) const {
    const std::int64_t count = x.dim(0);
    const Tensor logits = logits_.rows(0, count);
    const auto narrower = static_cast<std::int64_t>(size_of(logits.dtype()) / size_of(compute_));
    const Tensor gradient(logits.raw(), compute_, logits.shape(), logits.row_stride() * narrower,
                          logits.device());
    matmul(context, x, weight, logits, {.transpose_b = true});
    for (std::int64_t begin = 0; begin < count; begin += block_) {
      const std::int64_t n = std::min(block_, count - begin);
      const Tensor targets = target.rows(begin, n);
      losses_of(context, logits.rows(begin, n), targets, loss.rows(begin, n), true);
      backend_.cross_entropy_gradient(context, {.logits = logits.rows(begin, n),
                                                .target = targets,
                                                .scale = scale,
                                                .rows = statistics(n),
                                                .gradient = gradient.rows(begin, n)});
    }
    return gradient;
  }

 private:
  // Statistics of the rows stay for their gradient.
  void losses_of(const Context& context, const Tensor& logits, const Tensor& target,
                 const Tensor& loss, bool for_gradient) const {
    const ops::RowStatistics rows = statistics(logits.dim(0));
    backend_.softmax_statistics(
        context, {.logits = logits, .target = target, .for_gradient = for_gradient, .rows = rows});
    backend_.cross_entropy_loss(context, {.target = target, .rows = rows, .loss = loss});
  }

  ops::RowStatistics statistics(std::int64_t count) const {
    return {.maximum = statistics_.maximum.rows(0, count),
            .sum = statistics_.sum.rows(0, count),
            .chosen = statistics_.chosen.rows(0, count)};
  }

  const ops::Backend& backend_;
  ArenaScope scope_;
  DType compute_;
  std::int64_t step_ = 0;
  std::int64_t block_ = 0;  // rows whose gradient follows their statistics at once
  Tensor logits_;
  ops::RowStatistics statistics_;
};

}  // namespace

void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  LinearCrossEntropyOptions options) {
  constexpr const char* kOp = "linear_cross_entropy_forward";
  check(kOp, context, x, weight, target, loss);
  if (x.elements() == 0) return;
  check_targets(kOp, target, weight.dim(0));
  const Chunks chunks(kOp, context, x.dim(0), weight.dim(0), x.dtype(), false, options);
  for (std::int64_t begin = 0; begin < x.dim(0); begin += chunks.step()) {
    const std::int64_t count = std::min(chunks.step(), x.dim(0) - begin);
    chunks.losses(context, x.rows(begin, count), weight, target.rows(begin, count),
                  loss.rows(begin, count));
  }
}

void linear_cross_entropy_forward_backward(const Context& context, const Tensor& x,
                                           const Tensor& weight, const Tensor& target, double scale,
                                           const Tensor& loss, const Tensor& dx,
                                           const Tensor& dweight,
                                           LinearCrossEntropyOptions options) {
  constexpr const char* kOp = "linear_cross_entropy_forward_backward";
  check(kOp, context, x, weight, target, loss);
  ops::check_tensor(kOp, "dx", dx, x.dtype(), x.shape(), context);
  if (dweight) {
    ops::check_tensor(kOp, "dweight", dweight, accumulate_type(x.dtype()), weight.shape(), context);
  }
  if (x.elements() == 0) return;
  check_targets(kOp, target, weight.dim(0));
  const Chunks chunks(kOp, context, x.dim(0), weight.dim(0), x.dtype(), true, options);
  for (std::int64_t begin = 0; begin < x.dim(0); begin += chunks.step()) {
    const std::int64_t count = std::min(chunks.step(), x.dim(0) - begin);
    const Tensor rows = x.rows(begin, count);
    const Tensor targets = target.rows(begin, count);
    const Tensor dlogits =
        chunks.losses_and_gradient(context, rows, weight, targets, scale, loss.rows(begin, count));
    matmul(context, dlogits, weight, dx.rows(begin, count));
    if (!dweight) continue;
    matmul(context, dlogits, rows, dweight, {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace gda
