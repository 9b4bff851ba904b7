#include "gda/train/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <utility>

#include "gda/core/environment.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/core/shell.h"
#include "gda/dist/device_communicator.h"
#include "gda/ops/matmul.h"
#include "gda/train/readable.h"
#include "gda/train/trainable.h"
#include "train/changed_settings.h"
#include "train/run_page.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

Recompute recompute_of(const std::string& name) {
  if (name == "selective") return Recompute::selective;
  return name == "full" ? Recompute::full : Recompute::none;
}

LinearCrossEntropyOptions loss_options(const TrainConfig& train) {
  return {.max_logit_bytes = static_cast<std::size_t>(train.max_logit_mib) << 20};
}

LossGuardOptions guard_options(const SkipConfig& skip) {
  return {.spike_sigmas = skip.spike_sigmas,
          .window = skip.window,
          .max_consecutive = skip.max_consecutive_skips};
}

DeviceRequest device_request(const RunConfig& config) {
  // NCCL takes two ranks on one GPU for two hosts if it is told so: for tests.
  const bool may_share = config.parallel.backend == "mpi" || environment("NCCL_HOSTID") != nullptr;
  return {.wanted = config.device, .setting = "device: " + config.device, .may_share = may_share};
}

std::filesystem::path checkpoint_folder(const RunConfig& config) {
  return std::filesystem::path(config.run_dir) / "checkpoints";
}

// What growth has added to a model that a run begins with; nothing if it is no checkpoint. One that
// is still growing would begin as another model: its mask is not in the parameters.
std::vector<std::string> added_to(const std::string& folder) {
  const std::filesystem::path path = folder;
  if (folder.empty() || !std::filesystem::exists(path / "manifest.json")) return {};
  const CheckpointReader reader(path, Verification::on_first_use);
  reader.check_fully_grown("train.init_from");
  return reader.growth().added;
}

// Without faults.
IdentifiedRunData usable_data(const RunConfig& config, Communicator& world) {
  IdentifiedRunData data = identify_run_data(config, world);
  if (data.faults.empty()) return data;
  std::vector<std::string> lines = data.faults;
  lines.insert(lines.end(), data.tokenizer_faults.begin(), data.tokenizer_faults.end());
  require_none(lines, "the data does not fit the run");
  return data;
}

}  // namespace

DType supported_compute_type(const PrecisionConfig& precision, Device device) {
  const DType wanted = precision.compute_type();
  return wanted == DType::bf16 && !bf16_matmul_is_native(device) ? DType::f32 : wanted;
}

Trainer::Trainer(const RunConfig& config, Communicator& world)
    : config_(config),
      world_(world),
      device_(choose_device(device_request(config), world)),
      stream_(device_),
      device_world_(make_device_communicator(
          world, stream_.get(),
          {.backend = config.parallel.backend,
           .timeout = std::chrono::seconds(config.parallel.timeout_seconds)})),
      mesh_(*device_world_, config.parallel.mesh(world.size())),
      compute_(supported_compute_type(config.precision, device_)),
      timeline_(std::make_unique<RunTimeline>(config)),
      data_facts_(usable_data(config, world)),
      data_(timeline_->data(), config.model.vocab_size,
            [this](std::int64_t step) { return timeline_->first_sample(step); }),
      arena_(device_),
      guard_(guard_options(config.train.skip)) {
  config_.validate_for_world(mesh_.size(Axis::data));
  data_.check_targets();
  if (config_.train.sample.every_steps > 0 && world_.rank() == 0) {
    tokenizer_ = open_tokenizer(config_.data.tokenizer);
  }
}

Trainer::~Trainer() = default;

const ModelConfig& Trainer::model_config() const {
  return timeline_->model(state_.growths);
}

void Trainer::allocate_model(const std::vector<std::string>& added, std::string_view origin) {
  std::vector<ParameterSpec> specs = parameter_specs(model_config());
  choose_trainable(timeline_->trainable(state_.growths), added, origin, specs);
  flops_ = training_flops_per_token(model_config(), config_.data.sequence_length, specs);
  model_ = std::make_unique<TrainedModel>(
      TrainedModelOptions{.config = model_config(),
                          .specs = std::move(specs),
                          .compute = compute_,
                          .recompute = recompute_of(config_.train.recompute),
                          .loss = loss_options(config_.train),
                          .optimizer = config_.optimizer,
                          .sources = static_cast<std::size_t>(data_.sources()),
                          .checkpoints = checkpoint_folder(config_),
                          .checkpoint = config_.checkpoint,
                          .device = device_},
      mesh_.group(Axis::data));
  if (config_.precision.rounding == "stochastic") {
    model_->optimizer.round_stochastically(static_cast<std::uint64_t>(config_.train.seed),
                                           state_.updates);
  }
  if (device_.type == DeviceType::cpu) return;
  const Batch batch(config_.train.micro_batch_size, config_.data.sequence_length);
  arena_ = Arena(device_);
  arena_.reserve(model_->step.scratch_bytes(device_, batch, most_micro_batches()));
}

std::size_t Trainer::most_micro_batches() const {
  return static_cast<std::size_t>(config_.train.global_batch_size /
                                  (config_.train.micro_batch_size * mesh_.size(Axis::data)));
}

void Trainer::lock_folder() {
  if (world_.rank() == 0) {
    const std::filesystem::path folder = config_.run_dir;
    lock_ =
        std::make_unique<OutputLock>(folder / kRunLockFile, "the run folder " + folder.string());
  }
  world_.barrier();
}

void Trainer::require_new_folder() const {
  const auto existing = list_step_folders(checkpoint_folder(config_));
  require<ConfigError>(
      existing.empty(),
      "{} already holds the checkpoints of a run: resume it with `gda resume {}`, or "
      "choose another run_dir",
      config_.run_dir, shell_word(config_.run_dir));
}

void Trainer::begin(const RunStart& start) {
  require_new_folder();
  check_tokenizers(start);
  state_.data = data_facts_.record;
  world_.barrier();  // nobody makes the folder before everybody has looked
  lock_folder();
  require_new_folder();  // the one who had it until now may have made some
  growth_.added = added_to(config_.train.init_from);
  find_peak();
  allocate_model(growth_.added, config_.train.init_from.empty()
                                    ? "a model that begins by its initialisers"
                                    : config_.train.init_from);
  open_folder(false);
  if (config_.train.init_from.empty()) {
    model_->parameters.initialize(static_cast<std::uint64_t>(config_.train.seed), stream_.get());
    model_->optimizer.copy_masters_from_values(context());
  } else {
    model_->checkpoints.initialise_from(context(), ModelFolder(config_.train.init_from));
  }
}

void Trainer::open_folder(bool resumed) {
  const std::filesystem::path directory = config_.run_dir;
  make_directories(directory);
  log::open_file(directory / "log");
  if (world_.rank() != 0) return;
  write_text_file_atomically(directory / "config.yaml", config_.yaml());
  RunLogOptions options;
  options.directory = directory;
  options.tensorboard = config_.logging.tensorboard;
  options.total_steps = config_.train.steps;
  options.peak = peak_;
  options.config = config_.yaml();
  if (resumed) options.resumed_step = state_.step;
  log_ = std::make_unique<RunLog>(options);
}

void Trainer::log_page() const {
  log::info("{}", run_page({.config = config_,
                            .timeline = *timeline_,
                            .growths = state_.growths,
                            .data = data_,
                            .parameters = model_->parameters,
                            .optimizer_bytes = model_->optimizer.bytes(),
                            .compute = compute_,
                            .device = device_,
                            .activation_bytes = arena_.capacity(),
                            .world_size = world_.size(),
                            .peak = peak_,
                            .flops = flops_,
                            .ramp = growth_.ramp,
                            .last_sample = last_sample()}));
}

// The samples of all steps, those left out included.
std::int64_t Trainer::last_sample() const {
  return state_.samples + timeline_->first_sample(config_.train.steps) -
         timeline_->first_sample(state_.step);
}

// Up to four passes over the same text teach nearly as much as new text, many do not (Muennighoff
// et al., Scaling Data-Constrained Language Models, 2023).
void Trainer::tell_repetition() const {
  constexpr double kManyPasses = 4;
  for (int source = 0; source < data_.sources(); ++source) {
    const double passes = data_.epochs_at(source, last_sample());
    if (passes <= kManyPasses) continue;
    log::warning(
        "source {} is gone through {:.1f} times by step {}, which its {} tokens are few for: give "
        "it more text or less weight",
        data_.source_name(source), passes, config_.train.steps,
        readable_count(data_.train_tokens(source)));
  }
}

RunOutcome Trainer::run(const StopRequest& stop) {
  log_page();
  tell_repetition();
  reported_step_ = state_.step;
  reported_tokens_ = state_.tokens;
  unreported_flops_ = {};
  timer_.take();
  RunOutcome outcome;
  outcome.first_step = first_step_ = state_.step;
  while (state_.step < config_.train.steps) {
    outcome.stopped_by = stop.anywhere(world_);
    if (outcome.stopped_by != StopReason::none) break;
    device_world_->set_step(state_.step);
    const std::string fault = read_samples();
    if (!fault.empty()) {
      const std::string resume = "gda resume " + shell_word(config_.run_dir);
      end_for_bad_data(
          fmt::format("the samples of step {}", state_.step + 1), fault,
          fmt::format("if the data was changed since the run began, put it back as it "
                      "was, and: {0}; if it is damaged there, leave the samples of one "
                      "step out: {0} --skip-steps 1",
                      resume));
    }
    grow_if_due();
    train_one_step();
    after_step();
  }
  if (saved_step_ != state_.step) save(true);
  finish_save(true, true);
  outcome.step = state_.step;
  return outcome;
}

void Trainer::fill_micro_batches(std::int64_t batch_size) {
  const auto timing = timer_.scope(Phase::data);
  const std::int64_t rows = config_.train.micro_batch_size;
  const int replicas = mesh_.size(Axis::data);
  const auto count = static_cast<std::size_t>(batch_size / (rows * replicas));
  while (micro_batches_.size() < count) {
    micro_batches_.emplace_back(rows, config_.data.sequence_length);
  }
  micro_batches_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto block = static_cast<std::int64_t>(i) * replicas + mesh_.coordinate(Axis::data);
    data_.fill_batch(state_.samples + block * rows, micro_batches_[i]);
  }
}

void Trainer::train_one_step() {
  const ProfileRange range("step");
  last_mask_.reset();
  if (growth_.ramp) last_mask_ = growth_.mask_at(state_.step);
  const std::int64_t batch_size = timeline_->batch_size(state_.step);
  last_lr_ = timeline_->learning_rate(state_.step);
  UpdateOptions options;
  options.lr = last_lr_;
  options.update = state_.updates + 1;
  options.gradient_clip = config_.optimizer.grad_clip;
  // The mask's value is an argument of kernels.
  options.graphs =
      config_.train.cuda_graphs && device_.type == DeviceType::cuda && !growth_.ramp.has_value();
  last_ = model_->step.run(context(), micro_batches_, options, guard_, timer_);

  const std::int64_t tokens = batch_size * config_.data.sequence_length;
  ++state_.step;
  state_.samples += batch_size;
  state_.tokens += tokens;
  if (last_.targets > 0) {
    const double full = static_cast<double>(tokens) * flops_.full;
    state_.flops += full;
    unreported_flops_.full += full;
    unreported_flops_.causal += static_cast<double>(tokens) * flops_.causal;
  }
  steps_without_targets_ = last_.targets > 0 ? 0 : steps_without_targets_ + 1;
  if (last_.skipped.empty()) {
    ++state_.updates;
  } else {
    log::warning("step {}: update skipped: {}", state_.step, last_.skipped);
  }
}

// A source that cannot teach anything may be drawn from now and then, but not for long.
void Trainer::end_if_nothing_is_learned() {
  if (steps_without_targets_ < config_.train.skip.max_consecutive_skips) return;
  std::vector<std::string> sources;
  for (int source = 0; source < data_.sources(); ++source) {
    const auto drawn = [&](std::int64_t sample) { return data_.mixture().count(source, sample); };
    const std::int64_t samples = timeline_->first_sample(state_.step) -
                                 timeline_->first_sample(state_.step - steps_without_targets_);
    if (drawn(state_.samples) > drawn(state_.samples - samples)) {
      sources.push_back(data_.source_name(source));
    }
  }
  if (saved_step_ != state_.step) save(true);
  finish_save(true, true);
  fail<FormatError>(
      "{} steps in a row had nothing to predict (train.skip.max_consecutive_skips): every token of "
      "their samples, of {}, is the last of its document. Step {} is saved; take the source out of "
      "data.sources, or join its documents with data.document_mask=false: gda resume {} "
      "data.document_mask=false",
      steps_without_targets_, fmt::join(sources, ", "), state_.step, shell_word(config_.run_dir));
}

// The mask of the coming step, and of evaluations before it. A ramp at its end leaves an ordinary
// model.
void Trainer::follow_ramp() {
  model_->decoder.set_growth_at(growth_, state_.step);
  if (!growth_.ramp || growth_.mask_at(state_.step) < 1) return;
  growth_.ramp.reset();
  log::info("step {}: the growth mask has reached 1", state_.step);
}

void Trainer::after_step() {
  follow_ramp();
  const auto due = [&](std::int64_t every) { return every > 0 && state_.step % every == 0; };
  const bool last = state_.step == config_.train.steps;
  if (due(config_.logging.every_steps) || last) report();
  if (due(config_.eval.every_steps) || (last && config_.eval.every_steps > 0)) evaluate();
  if (due(config_.train.sample.every_steps)) sample_text();
  finish_save(false, false);
  save_is_due_ = save_is_due_ || due(config_.checkpoint.every_steps);
  save_if_due();
  end_if_nothing_is_learned();
  end_if_diverged();
}

}  // namespace gda
