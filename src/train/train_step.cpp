#include "gda/train/train_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace gda {
namespace {

std::unique_ptr<StepPasses> make_passes(StagedModel& model, GradientBuckets& buckets,
                                        const StepRanks& ranks) {
  if (model.pipeline() == nullptr) return make_sequential_passes(model, buckets);
  return make_pipeline_passes(model, buckets, ranks.pipeline);
}

}  // namespace

TrainStep::TrainStep(StagedModel& model, GradientBuckets& buckets, Optimizer& optimizer,
                     const StepRanks& ranks, std::size_t sources, LogitWatch* watch)
    : model_(model),
      buckets_(buckets),
      optimizer_(optimizer),
      watch_(watch),
      ranks_(ranks),
      passes_(make_passes(model, buckets, ranks)),
      sums_(DType::f64, {2 * static_cast<std::int64_t>(sources)}) {}

std::int64_t TrainStep::count_targets(std::span<const Batch> micro_batches) const {
  std::int64_t count = 0;
  if (ranks_.counts_tokens) {
    for (const Batch& batch : micro_batches) count += batch.target_count();
  }
  return ranks_.world.all_reduce(count, Reduction::sum);
}

void TrainStep::add_losses(std::span<const Batch> micro_batches, const HostCopy& losses) {
  auto* sums = sums_.tensor.data<double>();
  const std::int64_t sources = sums_.tensor.dim(0) / 2;
  std::int64_t next = 0;
  for (const Batch& batch : micro_batches) {
    const auto* target = batch.targets.tensor.data<std::int32_t>();
    for (std::int64_t row = 0; row < batch.targets.tensor.elements(); ++row, ++next) {
      if (target[row] == kIgnoreTarget) continue;
      const int source = batch.source_of(row);
      sums[source] += losses[next];
      sums[sources + source] += 1;
    }
  }
}

void TrainStep::reduce_losses(StepResult& result, std::int64_t targets) {
  ranks_.world.all_reduce(sums_.tensor, Reduction::sum).wait();
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

Tensor TrainStep::allocate_losses(const Context& context, const Batch& batch,
                                  std::size_t micro_batches) const {
  if (!model_.has_head()) return {};
  const std::int64_t rows = batch.targets.tensor.elements();
  return context.arena.allocate(model_.statistics_type(),
                                {rows * static_cast<std::int64_t>(micro_batches)});
}

std::size_t TrainStep::scratch_bytes(Device device, const Batch& batch, std::size_t micro_batches) {
  Arena plan = Arena::plan(device);
  const Context context{{.device = device}, plan};
  allocate_losses(context, batch, micro_batches);
  return passes_->reserve(context, batch, micro_batches, watch_);
}

StepResult TrainStep::without_targets(std::int64_t tokens) const {
  StepResult result;
  result.loss = result.gradient_norm = std::numeric_limits<double>::quiet_NaN();
  const auto sources = static_cast<std::size_t>(sums_.tensor.dim(0) / 2);
  result.source_loss.assign(sources, 0);
  result.source_targets.assign(sources, 0);
  result.skipped = fmt::format(
      "none of its {} tokens is to be predicted; each is the last of its document", tokens);
  return result;
}

StepResult TrainStep::run(const Context& context, std::span<const Batch> micro_batches,
                          const UpdateOptions& options, LossGuard& guard, PhaseTimer& timer) {
  StepResult result;
  const ArenaScope scope(context.arena);
  const std::int64_t targets = count_targets(micro_batches);
  const std::int64_t all_tokens = micro_batches.front().targets.tensor.elements() *
                                  static_cast<std::int64_t>(micro_batches.size()) * ranks_.parts;
  if (targets == 0) {
    guard.leave_out();
    return without_targets(all_tokens);
  }
  // Gradients are summed as if every token were a target, and corrected at the end: the same scale
  // in every step.
  const auto scale = static_cast<double>(all_tokens);
  const double correction = scale / static_cast<double>(targets);
  const Tensor losses = allocate_losses(context, micro_batches.front(), micro_batches.size());
  const bool watches = watch_ != nullptr && watch_->is_due(options.update);
  if (watches) watch_->begin(context.stream);
  passes_->run(context, micro_batches,
               {.scale = 1 / scale, .watch = watches ? watch_ : nullptr, .graphs = options.graphs},
               losses, timer);
  {
    const auto waiting = timer.scope(Phase::communication);
    result.gradient_norm = correction * buckets_.gradient_norm(context);
    std::fill_n(sums_.tensor.data<double>(), sums_.tensor.elements(), 0.0);
    if (model_.speaks_for_losses()) add_losses(micro_batches, HostCopy(context.stream, losses));
    reduce_losses(result, targets);
  }
  const auto updating = timer.scope(Phase::optimizer);
  result.skipped = guard.check(result.loss, result.gradient_norm);
  if (!result.skipped.empty()) {
    buckets_.zero(context);
    return result;
  }
  const bool clip = options.gradient_clip > 0 && result.gradient_norm > options.gradient_clip;
  const double clipping = clip ? options.gradient_clip / result.gradient_norm : 1.0;
  optimizer_.update(
      context,
      {.lr = options.lr, .gradient_scale = correction * clipping, .update = options.update},
      watches ? watch_->end(context.stream) : std::vector<HeadFactors>{});
  return result;
}

}  // namespace gda
