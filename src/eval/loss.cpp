#include "gda/eval/loss.h"

#include <algorithm>

namespace gda {
namespace {

template <class T>
double sum_of(const Tensor& x) {
  double total = 0;
  for (std::int64_t i = 0; i < x.elements(); ++i) total += static_cast<double>(x.data<T>()[i]);
  return total;
}

}  // namespace

double sum_of_losses(const Tensor& loss) {
  return loss.dtype() == DType::f64 ? sum_of<double>(loss) : sum_of<float>(loss);
}

SequenceBatch sequences_of(const Batch& batch) {
  return {.batch = batch.batch_size,
          .length = batch.sequence_length,
          .token = batch.tokens.tensor,
          .position = batch.position.tensor,
          .first_key = batch.first_key.tensor};
}

EvaluationResult evaluate_loss(const Context& context, Decoder& decoder, const EvaluationSet& set,
                               Communicator& communicator, std::int64_t micro_batch,
                               std::int64_t max_samples,
                               const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const std::int64_t available = set.samples();
  const std::int64_t samples = max_samples > 0 ? std::min(max_samples, available) : available;
  Batch batch(micro_batch, set.sequence_length());
  const OwnedTensor sums(DType::f64, {2});  // losses, targets
  double* total = sums.tensor.data<double>();
  const std::int64_t stride = micro_batch * communicator.size();
  for (std::int64_t first = micro_batch * communicator.rank(); first < samples; first += stride) {
    const std::int64_t rows = std::min(micro_batch, samples - first);
    if (rows != batch.batch_size) batch = Batch(rows, set.sequence_length());
    set.fill_batch(first, batch);
    const ArenaScope scope(context.arena);
    const Tensor loss =
        context.arena.allocate(decoder.statistics_type(), batch.targets.tensor.shape());
    decoder.forward_loss(context, sequences_of(batch), batch.targets.tensor, loss);
    total[0] += sum_of_losses(loss);
    total[1] += static_cast<double>(batch.target_count());
    if (progress) progress(std::min(first + stride, samples), samples);
  }
  communicator.all_reduce(sums.tensor, Reduction::sum).wait();
  return {.loss = total[0] / std::max(1.0, total[1]),
          .targets = static_cast<std::int64_t>(total[1])};
}

}  // namespace gda
