#include "gda/train/train_step.h"

#include <algorithm>

#include "gda/eval/loss.h"

namespace gda {
namespace {

double loss_at(const Tensor& loss, std::int64_t row) {
  return loss.dtype() == DType::f64 ? loss.data<double>()[row] : loss.data<float>()[row];
}

}  // namespace

TrainStep::TrainStep(Decoder& decoder, ShardedAdamW& optimizer, Communicator& communicator,
                     std::size_t sources)
    : decoder_(decoder),
      optimizer_(optimizer),
      communicator_(communicator),
      sums_(DType::f64, {2 * static_cast<std::int64_t>(sources)}) {}

std::int64_t TrainStep::count_targets(std::span<const Batch> micro_batches) const {
  std::int64_t count = 0;
  for (const Batch& batch : micro_batches) count += batch.target_count();
  return communicator_.all_reduce(count, Reduction::sum);
}

void TrainStep::add_losses(const Batch& batch, const Tensor& loss) {
  auto* sums = sums_.tensor.data<double>();
  const std::int64_t sources = sums_.tensor.dim(0) / 2;
  const auto* target = batch.targets.tensor.data<std::int32_t>();
  for (std::int64_t row = 0; row < loss.elements(); ++row) {
    if (target[row] == kIgnoreTarget) continue;
    const auto source = batch.source[static_cast<std::size_t>(row / batch.sequence_length)];
    sums[source] += loss_at(loss, row);
    sums[sources + source] += 1;
  }
}

void TrainStep::reduce_losses(StepResult& result, std::int64_t targets) {
  communicator_.all_reduce(sums_.tensor, Reduction::sum).wait();
  const auto* sums = sums_.tensor.data<double>();
  const std::int64_t sources = sums_.tensor.dim(0) / 2;
  double total = 0;
  for (std::int64_t source = 0; source < sources; ++source) {
    total += sums[source];
    result.source_targets.push_back(sums[sources + source]);
    result.source_loss.push_back(sums[source] / std::max(1.0, sums[sources + source]));
  }
  result.loss = total / static_cast<double>(targets);
  result.targets = targets;
}

BucketHooks TrainStep::hooks(bool last, PhaseTimer& timer,
                             std::optional<PhaseTimer::Scope>& phase) {
  BucketHooks hooks;
  hooks.before_use = [this, &timer](std::size_t bucket) {
    const auto waiting = timer.scope(Phase::communication);
    optimizer_.wait(bucket);
  };
  hooks.backward_begins = [&timer, &phase] {
    phase.reset();
    phase.emplace(timer, Phase::backward);
  };
  // Gradients are whole only once the last micro-batch has added to them.
  if (last) hooks.gradient_ready = [this](std::size_t bucket) { optimizer_.reduce(bucket); };
  return hooks;
}

void TrainStep::accumulate(const Context& context, const Batch& batch, double scale, bool last,
                           PhaseTimer& timer) {
  const ArenaScope scope(context.arena);
  const Tensor& target = batch.targets.tensor;
  const Tensor loss = context.arena.allocate(decoder_.statistics_type(), target.shape());
  std::optional<PhaseTimer::Scope> phase;
  phase.emplace(timer, Phase::forward);
  decoder_.forward_backward(context, sequences_of(batch), target, scale, loss,
                            hooks(last, timer, phase));
  add_losses(batch, loss);
}

StepResult TrainStep::run(const Context& context, std::span<const Batch> micro_batches,
                          const UpdateOptions& options, LossGuard& guard, PhaseTimer& timer) {
  StepResult result;
  const std::int64_t targets = std::max<std::int64_t>(1, count_targets(micro_batches));
  std::fill_n(sums_.tensor.data<double>(), sums_.tensor.elements(), 0.0);
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    accumulate(context, micro_batches[i], 1.0 / static_cast<double>(targets),
               i + 1 == micro_batches.size(), timer);
  }
  {
    const auto waiting = timer.scope(Phase::communication);
    reduce_losses(result, targets);
    result.gradient_norm = optimizer_.gradient_norm(context);
  }
  const auto updating = timer.scope(Phase::optimizer);
  result.skipped = guard.check(result.loss, result.gradient_norm);
  if (!result.skipped.empty()) {
    optimizer_.skip();
    return result;
  }
  AdamWStep step = options.adamw;
  const bool clip = options.gradient_clip > 0 && result.gradient_norm > options.gradient_clip;
  step.gradient_scale = clip ? options.gradient_clip / result.gradient_norm : 1.0;
  optimizer_.update(context, step);
  return result;
}

}  // namespace gda
