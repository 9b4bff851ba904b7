#include "gda/eval/loss.h"

#include <algorithm>
#include <exception>
#include <limits>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/dist/agreement.h"

namespace gda {
PlacedBatch to_device(const Context& context, const Batch& batch) {
  const auto there = [&](const OwnedTensor& host) {
    if (context.device() == host.tensor.device()) return host.tensor;
    const Tensor tensor = context.arena.allocate(host.tensor.dtype(), host.tensor.shape());
    if (!context.arena.is_plan()) copy(context.stream, host.tensor, tensor);
    return tensor;
  };
  return {.input = {.batch = batch.batch_size,
                    .length = batch.sequence_length,
                    .token = there(batch.tokens),
                    .position = there(batch.position),
                    .first_key = there(batch.first_key)},
          .target = there(batch.targets)};
}

double sum_of_losses(const Stream& stream, const Tensor& loss) {
  const HostCopy host(stream, loss);
  double total = 0;
  for (std::int64_t i = 0; i < loss.elements(); ++i) total += host[i];
  return total;
}

EvaluationResult evaluate_loss(const EvaluationSet& set, const EvaluationRanks& ranks,
                               std::int64_t micro_batch, std::int64_t max_samples,
                               const LossOfBatch& loss_of, const EvaluationProgress& progress) {
  const std::int64_t available = set.samples();
  const std::int64_t samples = max_samples > 0 ? std::min(max_samples, available) : available;
  Batch batch(micro_batch, set.sequence_length());
  const OwnedTensor sums(DType::f64, {2});  // losses, targets
  double* total = sums.tensor.data<double>();
  const std::int64_t stride = micro_batch * ranks.shares;
  std::exception_ptr fault;
  // Ranks that make a pass together stop together.
  const bool agree = ranks.in_step || ranks.world.size() > ranks.shares;
  for (std::int64_t round = 0; round < samples; round += stride) {
    const std::int64_t first = round + micro_batch * ranks.share;
    const std::int64_t rows = std::min(micro_batch, samples - first);
    if (rows > 0) {
      if (rows != batch.batch_size) batch = Batch(rows, set.sequence_length());
      try {
        set.fill_batch(first, batch);
      } catch (const Error&) {
        fault = std::current_exception();
      }
    }
    if (agree ? ranks.world.any(fault != nullptr) : fault != nullptr) break;
    if (rows <= 0 && !ranks.in_step) continue;
    const LossShare share = loss_of(batch);
    if (rows <= 0) continue;
    total[0] += share.loss;
    total[1] += static_cast<double>(share.targets);
    if (progress) progress(std::min(first + stride, samples), samples);
  }
  // What one rank cannot read ends the evaluation on all of them.
  together(ranks.world, "", [&] {
    if (fault) std::rethrow_exception(fault);
  });
  ranks.world.all_reduce(sums.tensor, Reduction::sum).wait();
  return {.loss = total[1] > 0 ? total[0] / total[1] : std::numeric_limits<double>::quiet_NaN(),
          .targets = static_cast<std::int64_t>(total[1])};
}

EvaluationResult evaluate_loss(const Context& context, Decoder& decoder, const EvaluationSet& set,
                               Communicator& communicator, std::int64_t micro_batch,
                               std::int64_t max_samples, const EvaluationProgress& progress) {
  const auto loss_of = [&](const Batch& batch) -> LossShare {
    const ArenaScope scope(context.arena);
    const Tensor loss =
        context.arena.allocate(decoder.statistics_type(), batch.targets.tensor.shape());
    const PlacedBatch placed = to_device(context, batch);
    decoder.forward_loss(context, placed.input, placed.target, loss);
    return {.loss = sum_of_losses(context.stream, loss), .targets = batch.target_count()};
  };
  const EvaluationRanks ranks{
      .world = communicator, .share = communicator.rank(), .shares = communicator.size()};
  return evaluate_loss(set, ranks, micro_batch, max_samples, loss_of, progress);
}

}  // namespace gda
