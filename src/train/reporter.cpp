#include "gda/train/reporter.h"

#include <fmt/format.h>

#include <utility>

#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/report/process_memory.h"
#include "gda/report/readable.h"
#include "train/changed_settings.h"
#include "train/run_evaluation.h"
#include "train/run_page.h"
#include "train/run_peak.h"
#include "train/run_timeline.h"

namespace gda {

Reporter::Reporter(Run& run) : run_(run), timer_(run.stream()) {
  const RunConfig& config = run.config();
  if (config.train.sample.every_steps > 0 && run.is_root()) {
    tokenizer_ = open_tokenizer(config.data.tokenizer);
  }
}

void Reporter::find_peak() {
  peak_ = gda::find_peak(run_);
}

void Reporter::open(std::optional<std::int64_t> resumed_step) {
  const RunFolder folder = run_.folder();
  const RunConfig& config = run_.config();
  make_directories(folder.path());
  log::open_file(folder.log());
  if (!run_.is_root()) return;
  write_text_file_atomically(folder.config(), config.yaml());
  RunLogOptions options;
  options.metrics = folder.metrics();
  if (config.logging.tensorboard) options.events = folder.path();
  options.total_steps = config.train.steps;
  options.peak = peak_;
  options.config = config.yaml();
  options.settings = flat_settings(options.config);
  options.resumed_step = resumed_step;
  log_ = std::make_unique<RunLog>(options);
}

void Reporter::begin(const RunProgress& progress) {
  log_page(progress);
  tell_repetition(progress);
  reported_step_ = progress.state.step;
  reported_tokens_ = progress.state.tokens;
  unreported_flops_ = {};
  timer_.take();
}

void Reporter::log_page(const RunProgress& progress) const {
  const RunConfig& config = run_.config();
  const HeldMemory held = held_memory(run_, *progress.model);
  const LayoutEstimate layout = estimate_layout(
      config, run_.timeline().model(progress.state.stages_done), run_.world().size());
  log::info("{}", run_page({.config = config,
                            .timeline = run_.timeline(),
                            .stages_done = progress.state.stages_done,
                            .data = run_.data(),
                            .counts = progress.parameters,
                            .held = held,
                            .layout = layout,
                            .compute = run_.compute(),
                            .device = run_.device(),
                            .peak = peak_,
                            .flops = progress.flops,
                            .ramp = progress.growth.ramp,
                            .last_sample = last_sample(progress)}));
}

// The samples of all steps, those left out included.
std::int64_t Reporter::last_sample(const RunProgress& progress) const {
  return progress.state.samples + run_.timeline().first_sample(run_.config().train.steps) -
         run_.timeline().first_sample(progress.state.step);
}

// Up to four passes over the same text teach nearly as much as new text, many do not (Muennighoff
// et al., Scaling Data-Constrained Language Models, 2023).
void Reporter::tell_repetition(const RunProgress& progress) const {
  constexpr double kManyPasses = 4;
  const DataLoader& data = run_.data();
  for (int source = 0; source < data.sources(); ++source) {
    const double passes = data.epochs_at(source, last_sample(progress));
    if (passes <= kManyPasses) continue;
    log::warning(
        "source {} is gone through {:.1f} times by step {}, which its {} tokens are few for: give "
        "it more text or less weight",
        data.source_name(source), passes, run_.config().train.steps,
        readable_count(data.train_tokens(source)));
  }
}

std::optional<UnreadableData> Reporter::after_step(const RunProgress& progress) {
  unreported_flops_.full += progress.last.flops.full;
  unreported_flops_.causal += progress.last.flops.causal;
  const RunConfig& config = run_.config();
  const std::int64_t step = progress.state.step;
  const auto due = [&](std::int64_t every) { return every > 0 && step % every == 0; };
  const bool last = step == config.train.steps;
  if (due(config.logging.every_steps) || last) report(progress);
  if (due(config.eval.every_steps) || (last && config.eval.every_steps > 0)) {
    if (auto bad = evaluate(run_, progress, log_.get())) return bad;
  }
  if (due(config.train.sample.every_steps)) sample_text(run_, progress, tokenizer_.get());
  return {};
}

void Reporter::report(const GrowthReport& growth, const RunProgress& progress) {
  if (log_ != nullptr) log_->report(growth);
  log_page(progress);
}

void Reporter::report(const RunProgress& progress) {
  const RunState& state = progress.state;
  const std::int64_t total_steps = run_.config().train.steps;
  const PhaseSeconds seconds = timer_.take();
  double elapsed = 0;
  for (const double part : seconds) elapsed += part;
  const std::int64_t steps = state.step - reported_step_;
  const double rate = static_cast<double>(state.tokens - reported_tokens_) / elapsed;
  reported_step_ = state.step;
  reported_tokens_ = state.tokens;
  const double full = std::exchange(unreported_flops_.full, 0) / elapsed;
  const double causal = std::exchange(unreported_flops_.causal, 0) / elapsed;
  judge_speed(run_, state.step, full, causal, timer_, peak_);
  TrainedModel& model = *progress.model;
  const SeenLogits seen = model.watch != nullptr ? model.watch->take_seen() : SeenLogits{};
  model.buckets.wait_all();  // lambda's vectors may still be on their way
  std::vector<double> lambdas = model.model.lambdas(run_.context());
  const ProcessMemory memory = process_memory();
  const std::int64_t peak_resident_bytes =
      run_.world().all_reduce(memory.peak_resident_bytes, Reduction::max);
  if (log_ == nullptr) return;
  const StepResult& result = progress.last.result;
  StepReport report;
  report.step = state.step;
  report.total_steps = total_steps;
  report.tokens = state.tokens;
  report.loss = result.loss;
  report.targets = result.targets;
  report.lr = progress.last.lr;
  report.grad_norm = result.gradient_norm;
  report.tokens_per_second = rate;
  report.flops_full = full;
  report.flops_causal = causal;
  report.peak = peak_;
  report.eta_seconds =
      elapsed / static_cast<double>(steps) * static_cast<double>(total_steps - state.step);
  report.skipped = progress.guard.skipped();
  report.total_flops = state.flops;
  report.parameters = progress.parameters.all;
  report.trainable_parameters = progress.parameters.trainable;
  report.stages = run_.timeline().stages();
  report.stage = state.stages_done;
  report.mask = progress.last.mask;
  add_sources(progress, report);
  report.lambdas = std::move(lambdas);
  report.max_logits = seen.largest;
  report.clipped_heads = seen.clipped_heads;
  report.seconds = seconds;
  add_traffic(report);
  report.resident_bytes = memory.resident_bytes;
  report.peak_resident_bytes = peak_resident_bytes;
  log_->report(report);
}

void Reporter::add_traffic(StepReport& report) {
  const Mesh& mesh = run_.mesh();
  std::vector<Traffic> now;
  const auto add = [&](const std::string& name, int ranks, const Traffic& total) {
    const std::size_t i = now.size();
    const Traffic before = i < reported_traffic_.size() ? reported_traffic_[i] : Traffic{};
    now.push_back(total);
    if (ranks == 1) return;
    report.sent_bytes.emplace_back(name, total.bytes_sent - before.bytes_sent);
    report.waited_seconds.emplace_back(name, total.seconds_waited - before.seconds_waited);
  };
  add("replicas", mesh.replicas().size(), mesh.replica_traffic());
  for (const Axis axis : {Axis::pipeline, Axis::context, Axis::tensor}) {
    add(name_of(axis), mesh.size(axis), mesh.traffic(axis));
  }
  reported_traffic_ = std::move(now);
}

void Reporter::add_sources(const RunProgress& progress, StepReport& report) const {
  const DataLoader& data = run_.data();
  const std::int64_t samples = progress.state.samples;
  const StepResult& result = progress.last.result;
  for (int source = 0; source < data.sources(); ++source) {
    const auto i = static_cast<std::size_t>(source);
    const std::string& name = data.source_name(source);
    report.source_shares.emplace_back(name, data.mixture().share(source, samples));
    report.source_passes.emplace_back(name, data.epochs_at(source, samples));
    if (result.source_targets[i] == 0) continue;
    report.source_losses.emplace_back(name, result.source_loss[i]);
  }
}

}  // namespace gda
