#include "gda/train/train_step.h"

#include <algorithm>

#include "gda/eval/loss.h"

namespace gda {
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

void TrainStep::add_losses(std::span<const Batch> micro_batches, const HostCopy& losses) {
  auto* sums = sums_.tensor.data<double>();
  const std::int64_t sources = sums_.tensor.dim(0) / 2;
  std::fill_n(sums, sums_.tensor.elements(), 0.0);
  std::int64_t next = 0;
  for (const Batch& batch : micro_batches) {
    const auto* target = batch.targets.tensor.data<std::int32_t>();
    for (std::int64_t row = 0; row < batch.targets.tensor.elements(); ++row, ++next) {
      if (target[row] == kIgnoreTarget) continue;
      const auto source = batch.source[static_cast<std::size_t>(row / batch.sequence_length)];
      sums[source] += losses[next];
      sums[sources + source] += 1;
    }
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

Tensor TrainStep::allocate_losses(const Context& context, const Batch& batch,
                                  std::size_t micro_batches) const {
  const std::int64_t tokens = batch.targets.tensor.elements();
  return context.arena.allocate(decoder_.statistics_type(),
                                {tokens * static_cast<std::int64_t>(micro_batches)});
}

std::size_t TrainStep::scratch_bytes(Device device, const Batch& batch, std::size_t micro_batches) {
  Arena plan = Arena::plan(device);
  const Context context{{.device = device}, plan};
  const Tensor losses = allocate_losses(context, batch, micro_batches);
  const PlacedBatch placed = place(context, batch);
  decoder_.forward_backward(context, placed.input, placed.target, 1,
                            losses.rows(0, placed.target.elements()));
  return plan.peak();
}

StepResult TrainStep::run(const Context& context, std::span<const Batch> micro_batches,
                          const UpdateOptions& options, LossGuard& guard, PhaseTimer& timer) {
  StepResult result;
  const ArenaScope scope(context.arena);
  const std::int64_t targets = std::max<std::int64_t>(1, count_targets(micro_batches));
  const Tensor losses = allocate_losses(context, micro_batches.front(), micro_batches.size());
  std::int64_t next = 0;
  for (const Batch& batch : micro_batches) {
    const ProfileRange range("micro-batch");
    const ArenaScope pass(context.arena);
    const PlacedBatch placed = place(context, batch);
    const bool last = &batch == &micro_batches.back();
    std::optional<PhaseTimer::Scope> phase;
    phase.emplace(timer, Phase::forward);
    decoder_.forward_backward(
        context, placed.input, placed.target, 1.0 / static_cast<double>(targets),
        losses.rows(next, placed.target.elements()), hooks(last, timer, phase));
    next += placed.target.elements();
  }
  {
    const auto waiting = timer.scope(Phase::communication);
    result.gradient_norm = optimizer_.gradient_norm(context);
    add_losses(micro_batches, HostCopy(context.stream, losses));
    reduce_losses(result, targets);
  }
  const auto updating = timer.scope(Phase::optimizer);
  result.skipped = guard.check(result.loss, result.gradient_norm);
  if (!result.skipped.empty()) {
    optimizer_.skip(context);
    return result;
  }
  AdamWStep step = options.adamw;
  const bool clip = options.gradient_clip > 0 && result.gradient_norm > options.gradient_clip;
  step.gradient_scale = clip ? options.gradient_clip / result.gradient_norm : 1.0;
  optimizer_.update(context, step);
  return result;
}

}  // namespace gda
