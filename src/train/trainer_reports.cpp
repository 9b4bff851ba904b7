// What a run tells on its way: reports, evaluations, samples of text.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/shell.h"
#include "gda/core/stream.h"
#include "gda/eval/generate.h"
#include "gda/eval/loss.h"
#include "gda/train/process_memory.h"
#include "gda/train/trainer.h"
#include "train/run_timeline.h"

namespace gda {

void Trainer::report() {
  const PhaseSeconds seconds = timer_.take();
  double elapsed = 0;
  for (const double part : seconds) elapsed += part;
  const std::int64_t steps = state_.step - reported_step_;
  const double rate = static_cast<double>(state_.tokens - reported_tokens_) / elapsed;
  reported_step_ = state_.step;
  reported_tokens_ = state_.tokens;
  const double full = std::exchange(unreported_flops_.full, 0) / elapsed;
  const double causal = std::exchange(unreported_flops_.causal, 0) / elapsed;
  judge_speed(full, causal);
  if (log_ == nullptr) return;
  const ProcessMemory memory = process_memory();
  StepReport report;
  report.step = state_.step;
  report.total_steps = config_.train.steps;
  report.tokens = state_.tokens;
  report.loss = last_.loss;
  report.targets = last_.targets;
  report.lr = last_lr_;
  report.grad_norm = last_.gradient_norm;
  report.tokens_per_second = rate;
  report.flops_full = full;
  report.flops_causal = causal;
  report.peak = peak_;
  report.eta_seconds =
      elapsed / static_cast<double>(steps) * static_cast<double>(config_.train.steps - state_.step);
  report.skipped = guard_.skipped();
  report.total_flops = state_.flops;
  report.parameters = model_->parameters.count();
  report.trainable_parameters = model_->parameters.trainable_count();
  report.stages = timeline_->stages();
  report.stage = state_.growths;
  report.mask = last_mask_;
  for (int source = 0; source < data_.sources(); ++source) {
    const auto i = static_cast<std::size_t>(source);
    const std::string& name = data_.source_name(source);
    report.source_shares.emplace_back(name, data_.mixture().share(source, state_.samples));
    report.source_passes.emplace_back(name, data_.epochs_at(source, state_.samples));
    if (last_.source_targets[i] == 0) continue;
    report.source_losses.emplace_back(name, last_.source_loss[i]);
  }
  model_->buckets.wait_all();  // lambda's vectors may still be on their way
  report.lambdas = model_->decoder.lambdas(context());
  report.seconds = seconds;
  report.resident_bytes = memory.resident_bytes;
  report.peak_resident_bytes = memory.peak_resident_bytes;
  log_->report(report);
}

void Trainer::evaluate() {
  const ProfileRange range("evaluation");
  model_->buckets.wait_all();
  const std::vector<std::string>& wanted = config_.eval.sources;
  EvalMeanReport mean;
  for (const EvaluationSet& set : data_.validation()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), set.name()) == wanted.end()) {
      continue;
    }
    const std::int64_t samples = config_.eval.steps * config_.train.global_batch_size;
    const std::optional<EvalReport> report = evaluate(set, samples);
    if (!report) continue;
    mean.add(*report);
    log_->report(*report);
  }
  if (mean.sets > 0) log_->report(mean);
}

// On the rank that reports, what it says.
std::optional<EvalReport> Trainer::evaluate(const EvaluationSet& set, std::int64_t samples) {
  EvaluationResult result;
  std::string fault;
  try {
    result = evaluate_loss(context(), model_->decoder, set, world_, config_.train.micro_batch_size,
                           samples);
  } catch (const FormatError& error) {
    fault = error.what();
  } catch (const IoError& error) {
    fault = error.what();
  }
  if (!fault.empty()) {
    const std::string resume = "gda resume " + shell_word(config_.run_dir);
    end_for_bad_data(
        "validation set " + set.name(), fault,
        fmt::format("if the data was changed since the run began, put it back as it "
                    "was, and: {0}; if it is damaged there, do not evaluate on it: {0} "
                    "eval.every_steps=0",
                    resume));
  }
  if (log_ == nullptr) return {};
  return EvalReport{
      .step = state_.step, .name = set.name(), .loss = result.loss, .tokens = result.targets};
}

void Trainer::sample_text() {
  model_->buckets.wait_all();
  if (tokenizer_ == nullptr) return;
  const TextSampleConfig& sample = config_.train.sample;
  GenerateOptions options;
  options.sampling.temperature = sample.temperature;
  options.sampling.seed = static_cast<std::uint64_t>(state_.step);
  options.max_tokens = sample.max_tokens;
  if (tokenizer_->eod_id() >= 0) options.stop_token = tokenizer_->eod_id();
  for (const std::string& prompt : sample.prompts) {
    const auto tokens = generate(context(), model_->decoder, tokenizer_->encode(prompt), options);
    log::info("sample at step {}: {}{}", state_.step, prompt, tokenizer_->decode(tokens));
  }
}

}  // namespace gda
