#include "gda/train/run_progress.h"

#include <utility>

#include "gda/core/log.h"
#include "gda/train/trainable.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

LinearCrossEntropyOptions loss_options(const TrainConfig& train) {
  return {.max_logit_bytes = static_cast<std::size_t>(train.max_logit_mib) << 20};
}

LossGuardOptions guard_options(const SkipConfig& skip) {
  return {.spike_sigmas = skip.spike_sigmas,
          .window = skip.window,
          .max_consecutive = skip.max_consecutive_skips};
}

std::size_t most_micro_batches(const Run& run) {
  const TrainConfig& train = run.config().train;
  return static_cast<std::size_t>(train.global_batch_size /
                                  (train.micro_batch_size * run.mesh().size(Axis::data)));
}

}  // namespace

RunProgress no_progress(const RunConfig& config) {
  return {.state = {},
          .growth = {},
          .guard = LossGuard(guard_options(config.train.skip)),
          .flops = {},
          .parameters = {},
          .last = {}};
}

void allocate_model(Run& run, const std::vector<std::string>& added, std::string_view origin,
                    RunProgress& progress) {
  const RunConfig& config = run.config();
  const std::int64_t stages_done = progress.state.stages_done;
  const ModelConfig& model = run.timeline().model(stages_done);
  std::vector<ParameterSpec> specs = parameter_specs(model);
  choose_trainable(run.timeline().trainable(stages_done), added, origin, specs);
  progress.parameters = {};
  for (const ParameterSpec& spec : specs) {
    progress.parameters.all += spec.shape.elements();
    if (spec.trainable) progress.parameters.trainable += spec.shape.elements();
  }
  progress.flops = training_flops_per_token(model, config.data.sequence_length, specs);
  progress.model = std::make_unique<TrainedModel>(
      TrainedModelOptions{.config = model,
                          .specs = std::move(specs),
                          .compute = run.compute(),
                          .recompute = config.train.recompute,
                          .loss = loss_options(config.train),
                          .optimizer = config.optimizer,
                          .sources = static_cast<std::size_t>(run.data().sources()),
                          .checkpoints = run.folder().checkpoints(),
                          .checkpoint = config.checkpoint,
                          .device = run.device(),
                          .placements = run.placements(model),
                          .context_method = run.context_cut().method,
                          .zero_stage = config.parallel.zero(),
                          .pipeline = {.schedule = config.parallel.schedule,
                                       .chunks = static_cast<int>(config.parallel.virtual_stages)}},
      run.world(), run.mesh());
  if (config.precision.rounding == MasterRounding::stochastic) {
    progress.model->optimizer.round_stochastically(static_cast<std::uint64_t>(config.train.seed),
                                                   progress.state.updates);
  }
  if (run.device().type == DeviceType::cpu) return;
  const Batch whole(config.train.micro_batch_size, config.data.sequence_length);
  Batch batch;
  batch.take_part(whole, run.context_cut());
  run.arena() = Arena(run.device());
  run.arena().reserve(
      progress.model->step.scratch_bytes(run.device(), batch, most_micro_batches(run)));
}

void follow_ramp(RunProgress& progress) {
  GrowthState& growth = progress.growth;
  const std::int64_t step = progress.state.step;
  progress.model->model.set_growth_at(growth, step);
  if (!growth.ramp || growth.mask_at(step) < 1) return;
  growth.ramp.reset();
  log::info("step {}: the growth mask has reached 1", step);
}

LossShare loss_share(Run& run, TrainedModel& model, const Batch& part) {
  const Context context = run.context();
  const ArenaScope scope(context.arena);
  const PlacedBatch placed = to_device(context, part);
  Tensor loss;
  if (model.model.has_head()) {
    loss = context.arena.allocate(model.model.statistics_type(), part.targets.tensor.shape());
  }
  model.model.forward_loss(context, placed.input, placed.target, loss);
  if (!model.model.speaks_for_losses()) return {};
  return {.loss = sum_of_losses(run.stream(), loss), .targets = part.target_count()};
}

std::optional<double> loss_of(Run& run, TrainedModel& model, const Batch& batch) {
  const LossShare share = loss_share(run, model, batch);
  const double total = run.world().all_reduce(share.loss, Reduction::sum);
  const std::int64_t targets = run.world().all_reduce(share.targets, Reduction::sum);
  if (targets == 0) return {};
  return total / static_cast<double>(targets);
}

}  // namespace gda
