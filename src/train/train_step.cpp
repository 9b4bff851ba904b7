#include "gda/train/train_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "gda/core/log.h"
#include "gda/eval/loss.h"

namespace gda {
TrainStep::TrainStep(Decoder& decoder, GradientBuckets& buckets, Optimizer& optimizer,
                     Communicator& communicator, std::size_t sources, LogitWatch* watch)
    : decoder_(decoder),
      buckets_(buckets),
      optimizer_(optimizer),
      watch_(watch),
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
  hooks.before_use = [this, &timer](std::size_t bucket, std::optional<std::size_t> /*next*/) {
    const auto waiting = timer.scope(Phase::communication);
    buckets_.wait(bucket);
  };
  hooks.backward_begins = [&timer, &phase] {
    phase.reset();
    phase.emplace(timer, Phase::backward);
  };
  // Gradients are whole only once the last micro-batch has added to them.
  if (last) hooks.gradient_ready = [this](std::size_t bucket) { buckets_.reduce(bucket); };
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
  allocate_losses(context, batch, micro_batches);
  PlacedBatch placed = to_device(context, batch);
  if (watch_ != nullptr) placed.input.max_logit = watch_->logits();
  const Tensor loss = context.arena.allocate(decoder_.statistics_type(), placed.target.shape());
  decoder_.forward_backward(context, placed.input, placed.target, 1, loss);
  return plan.peak();
}

void TrainStep::pass(const Context& context, const PlacedBatch& batch, double scale,
                     const Tensor& loss, bool last, PhaseTimer& timer) {
  std::optional<PhaseTimer::Scope> phase;
  phase.emplace(timer, Phase::forward);
  decoder_.set_hooks(hooks(last, timer, phase));
  decoder_.forward_backward(context, batch.input, batch.target, scale, loss);
  decoder_.set_hooks({});
  is_warm_ = true;
}

bool TrainStep::replay(const Context& context, const PlacedBatch& batch, double scale,
                       const Tensor& loss, PhaseTimer& timer) {
  const auto phase = timer.scope(Phase::backward);
  try {
    if (graph_.empty() || recorded_input_ != batch.input.token.raw() || recorded_scale_ != scale) {
      graph_.record(context.stream, [&] {
        decoder_.forward_backward(context, batch.input, batch.target, scale, loss);
      });
      recorded_input_ = batch.input.token.raw();
      recorded_scale_ = scale;
    }
    graph_.launch(context.stream);
    return true;
  } catch (const Error& error) {
    log::warning("a micro-batch cannot be a graph ({}); the run continues without graphs, slower",
                 error.what());
    graph_ = {};
    graphs_work_ = false;
    return false;
  }
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
  const std::int64_t tokens = micro_batches.front().targets.tensor.elements();
  if (targets == 0) {
    guard.leave_out();
    return without_targets(tokens * static_cast<std::int64_t>(micro_batches.size()) *
                           communicator_.size());
  }
  // Gradients are summed as if every token were a target, and corrected at the end: the same scale
  // in every step.
  const auto all_tokens = static_cast<double>(
      tokens * static_cast<std::int64_t>(micro_batches.size()) * communicator_.size());
  const double correction = all_tokens / static_cast<double>(targets);
  const Tensor losses = allocate_losses(context, micro_batches.front(), micro_batches.size());
  const bool watches = watch_ != nullptr && watch_->is_due(options.update);
  if (watches) watch_->begin(context.stream);
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    const ProfileRange range("micro-batch");
    const ArenaScope pass_scope(context.arena);
    PlacedBatch placed = to_device(context, micro_batches[i]);
    if (watches) placed.input.max_logit = watch_->logits();
    const Tensor loss = context.arena.allocate(decoder_.statistics_type(), {tokens});
    const bool last = i + 1 == micro_batches.size();
    const bool alone = communicator_.size() == 1 || (i > 0 && !last);
    const bool as_graph = options.graphs && graphs_work_ && is_warm_ && alone && !watches;
    if (!as_graph || !replay(context, placed, 1 / all_tokens, loss, timer)) {
      pass(context, placed, 1 / all_tokens, loss, last, timer);
    }
    copy(context.stream, loss, losses.rows(static_cast<std::int64_t>(i) * tokens, tokens));
  }
  {
    const auto waiting = timer.scope(Phase::communication);
    result.gradient_norm = correction * buckets_.gradient_norm(context);
    add_losses(micro_batches, HostCopy(context.stream, losses));
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
