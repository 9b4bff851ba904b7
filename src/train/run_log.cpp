#include "gda/train/run_log.h"

#include <fmt/format.h>

#include "gda/core/log.h"
#include "gda/core/text.h"
#include "gda/train/readable.h"

namespace gda {
namespace {

void add_values(EventFile& events, const StepReport& report) {
  events.add("train/loss", report.loss);
  events.add("train/lr", report.lr);
  events.add("train/grad_norm", report.grad_norm);
  events.add("train/tokens", static_cast<double>(report.tokens));
  events.add("train/skipped", static_cast<double>(report.skipped));
  events.add("train/flops", report.total_flops);
  events.add("growth/stage", static_cast<double>(report.stage));
  if (report.mask) events.add("growth/mask", *report.mask);
  events.add("model/parameters", static_cast<double>(report.parameters));
  events.add("model/trainable_parameters", static_cast<double>(report.trainable_parameters));
  events.add("throughput/tokens_per_second", report.tokens_per_second);
  events.add("throughput/flops_full", report.flops_full);
  events.add("throughput/flops_causal", report.flops_causal);
  if (report.peak_flops > 0) {
    events.add("throughput/mfu_full", report.mfu_full());
    events.add("throughput/mfu_causal", report.mfu_causal());
  }
  for (std::size_t i = 0; i < kPhases; ++i) {
    events.add(fmt::format("seconds/{}", name_of(static_cast<Phase>(i))), report.seconds[i]);
  }
  events.add("memory/resident_bytes", static_cast<double>(report.resident_bytes));
  events.add("memory/peak_resident_bytes", static_cast<double>(report.peak_resident_bytes));
  for (const auto& [name, loss] : report.source_losses) events.add("loss_by_source/" + name, loss);
  for (const auto& [name, passes] : report.source_passes) {
    events.add("passes_by_source/" + name, passes);
  }
  for (std::size_t layer = 0; layer < report.lambdas.size(); ++layer) {
    events.add(fmt::format("lambda/layer_{:02}", layer), report.lambdas[layer]);
  }
}

}  // namespace

RunLog::RunLog(const RunLogOptions& options)
    : status_(options.total_steps, options.peak_flops),
      metrics_(options.directory / "metrics.jsonl", options.resumed_step.value_or(0)) {
  if (metrics_.dropped_lines() > 0) {
    log::info("metrics.jsonl: dropped {} that the run wrote after step {}",
              counted(metrics_.dropped_lines(), "line"), options.resumed_step.value_or(0));
  }
  if (options.tensorboard) events_.emplace(options.directory, options.resumed_step);
}

void RunLog::report(const StepReport& report) {
  for (const std::string& line : status_.next(report)) log::write(log::Level::info, line);
  metrics_.write(report);
  if (!events_) return;
  add_values(*events_, report);
  events_->write(report.step);
}

void RunLog::report(const EvalReport& report) {
  log::info("evaluation of {} at step {}: loss {:.4f}, perplexity {:.2f} ({} {})", report.name,
            report.step, report.loss, report.perplexity(), readable_count(report.tokens),
            plural(static_cast<std::uint64_t>(report.tokens), "token"));
  metrics_.write(report);
  if (!events_) return;
  events_->add(fmt::format("eval/{}/loss", report.name), report.loss);
  events_->add(fmt::format("eval/{}/perplexity", report.name), report.perplexity());
  events_->write(report.step);
}

void RunLog::report(const GrowthReport& report) {
  log::info(
      "growth stage {} at step {}: {} -> {} parameters; loss on the next samples {:.6f} -> "
      "{:.6f}{}",
      report.stage, report.step, readable_count(report.parameters_before),
      readable_count(report.parameters), report.loss_before, report.loss,
      report.preserving ? "" : " (this growth does not keep the function)");
  metrics_.write(report);
  if (!events_) return;
  events_->add("growth/loss_before", report.loss_before);
  events_->add("growth/loss_after", report.loss);
  events_->write(report.step);
}

}  // namespace gda
