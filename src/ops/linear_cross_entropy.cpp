#include "gda/ops/linear_cross_entropy.h"

#include <omp.h>

#include <algorithm>
#include <optional>

#include "gda/ops/elementwise.h"
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

// The part of the vocabulary that weight has; options say how to meet the others.
VocabularyPart check_part(std::string_view op, const Tensor& weight,
                          const LinearCrossEntropyOptions& options) {
  const VocabularyPart part = ops::checked_part(op, options.vocabulary, "weight", weight.dim(0));
  const bool meets = options.maximum_over_parts && options.sum_over_parts;
  const bool alone = !options.maximum_over_parts && !options.sum_over_parts;
  require<OpError>(meets || (alone && part.total == weight.dim(0)),
                   "[{}] weight has {} of {} entries: expected a maximum and a sum over the parts",
                   op, weight.dim(0), part.total);
  return part;
}

// What places that share the vocabulary tell each other about the rows of a chunk, in scratch
// memory. Where they don't, there is none.
class Meeting {
 public:
  Meeting(const Context& context, const LinearCrossEntropyOptions& options, VocabularyPart part,
          std::int64_t vocabulary_rows, std::int64_t step, DType wide)
      : options_(options), part_(part), vocabulary_rows_(vocabulary_rows) {
    if (!options.sum_over_parts) return;
    local_target_ = context.arena.allocate(DType::i32, {step});
    local_maximum_ = context.arena.allocate(wide, {step});
    message_ = context.arena.allocate(DType::f64, {2 * step});
  }

  explicit operator bool() const { return static_cast<bool>(message_); }

  Tensor local_targets(const Context& context, const Tensor& target) const {
    if (!message_) return target;
    Tensor local = local_target_.rows(0, target.dim(0));
    ops::backend(context.device())
        .local_targets(context,
                       {.target = target, .part = part_, .rows = vocabulary_rows_, .local = local});
    return local;
  }

  // From statistics of the logits that are here to those of all.
  ops::RowStatistics whole(const Context& context, const Tensor& target,
                           ops::RowStatistics rows) const {
    if (!message_) return rows;
    const std::int64_t count = target.dim(0);
    const Tensor message = message_.rows(0, 2 * count);
    rows.local_maximum = local_maximum_.rows(0, count);
    convert(context, rows.maximum, rows.local_maximum);
    meet(context, options_.maximum_over_parts, rows.maximum);
    ops::backend(context.device())
        .statistics_message(
            context, {.target = target, .rows = rows, .message = message.reshape({2, count})});
    meet(context, options_.sum_over_parts, message.reshape({2, count}));
    rows.sum = message.rows(0, count);
    convert(context, message.rows(count, count), rows.chosen);
    return rows;
  }

 private:
  // Where memory is only counted, there is nothing to say.
  static void meet(const Context& context, const std::function<void(const Tensor&)>& over_parts,
                   const Tensor& tensor) {
    if (!context.arena.is_plan()) over_parts(tensor);
  }

  const LinearCrossEntropyOptions& options_;
  VocabularyPart part_;
  std::int64_t vocabulary_rows_;
  Tensor local_target_, local_maximum_, message_;
};

// As many rows of logits as fit into the memory for a chunk, the chunks as even as can be.
std::int64_t rows_of_chunk(std::int64_t rows, std::size_t row_bytes, std::size_t max_bytes,
                           bool gpu) {
  if (max_bytes == 0) max_bytes = std::size_t{gpu ? 1024U : 64U} << 20;
  const auto fitting = std::max<std::int64_t>(1, static_cast<std::int64_t>(max_bytes / row_bytes));
  const std::int64_t chunks = (rows + fitting - 1) / fitting;
  return (rows + chunks - 1) / chunks;
}

// Logits of a chunk of rows, and their statistics, in scratch memory.
class Chunks {
 public:
  Chunks(std::string_view op, const Context& context, std::int64_t rows, const Tensor& weight,
         VocabularyPart part, bool with_gradient, const LinearCrossEntropyOptions& options)
      : backend_(ops::backend(context.device())), scope_(context.arena), compute_(weight.dtype()) {
    if (backend_.softmax_statistics.function == nullptr) ops::fail_missing(op);
    const bool gpu = context.device().type == DeviceType::cuda;
    const DType wide = accumulate_type(compute_);
    const DType dtype = gpu && with_gradient ? compute_ : wide;
    // A GPU reads rows in packs of 16 bytes.
    const auto width = gpu ? static_cast<std::int64_t>(16 / size_of(dtype)) : 1;
    const auto stride = [&](std::int64_t entries) { return (entries + width - 1) / width * width; };
    step_ = rows_of_chunk(rows, static_cast<std::size_t>(stride(part.total)) * size_of(dtype),
                          options.max_logit_bytes, gpu);
    logits_ =
        context.arena.allocate(dtype, {step_, stride(weight.dim(0))}).columns(0, weight.dim(0));
    statistics_ = {.maximum = context.arena.allocate(wide, {step_}),
                   .sum = context.arena.allocate(DType::f64, {step_}),
                   .chosen = context.arena.allocate(wide, {step_})};
    meeting_.emplace(context, options, part, weight.dim(0), step_, wide);
    // A CPU's threads find the rows that they have just read in their caches; a GPU, which would be
    // asked too often, takes all of them, and so do places that have to meet.
    constexpr std::int64_t kRowsOfAThread = 4;
    block_ = gpu || *meeting_ ? step_ : kRowsOfAThread * omp_get_max_threads();
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
      const Statistics statistics =
          losses_of(context, logits.rows(begin, n), targets, loss.rows(begin, n), true);
      backend_.cross_entropy_gradient(context, {.logits = logits.rows(begin, n),
                                                .target = statistics.target,
                                                .scale = scale,
                                                .rows = statistics.rows,
                                                .gradient = gradient.rows(begin, n)});
    }
    return gradient;
  }

 private:
  struct Statistics {
    Tensor target;  // among the logits that are here
    ops::RowStatistics rows;
  };

  // Statistics of the rows stay for their gradient.
  Statistics losses_of(const Context& context, const Tensor& logits, const Tensor& target,
                       const Tensor& loss, bool for_gradient) const {
    const std::int64_t count = logits.dim(0);
    const Tensor local = meeting_->local_targets(context, target);
    ops::RowStatistics rows{.maximum = statistics_.maximum.rows(0, count),
                            .sum = statistics_.sum.rows(0, count),
                            .chosen = statistics_.chosen.rows(0, count)};
    backend_.softmax_statistics(
        context, {.logits = logits, .target = local, .for_gradient = for_gradient, .rows = rows});
    rows = meeting_->whole(context, local, rows);
    backend_.cross_entropy_loss(context, {.target = local, .rows = rows, .loss = loss});
    return {local, rows};
  }

  const ops::Backend& backend_;
  ArenaScope scope_;
  DType compute_;
  std::int64_t step_ = 0;
  std::int64_t block_ = 0;  // rows whose gradient follows their statistics at once
  Tensor logits_;
  ops::RowStatistics statistics_;
  std::optional<Meeting> meeting_;
};

}  // namespace

void linear_cross_entropy_forward(const Context& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& target, const Tensor& loss,
                                  const LinearCrossEntropyOptions& options) {
  constexpr const char* kOp = "linear_cross_entropy_forward";
  check(kOp, context, x, weight, target, loss);
  const VocabularyPart part = check_part(kOp, weight, options);
  if (x.elements() == 0) return;
  check_targets(kOp, target, part.total);
  const Chunks chunks(kOp, context, x.dim(0), weight, part, false, options);
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
                                           const LinearCrossEntropyOptions& options) {
  constexpr const char* kOp = "linear_cross_entropy_forward_backward";
  check(kOp, context, x, weight, target, loss);
  ops::check_tensor(kOp, "dx", dx, x.dtype(), x.shape(), context);
  if (dweight) {
    ops::check_tensor(kOp, "dweight", dweight, accumulate_type(x.dtype()), weight.shape(), context);
  }
  const VocabularyPart part = check_part(kOp, weight, options);
  if (x.elements() == 0) return;
  check_targets(kOp, target, part.total);
  const Chunks chunks(kOp, context, x.dim(0), weight, part, true, options);
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
