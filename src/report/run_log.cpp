#include "gda/report/run_log.h"

#include <fmt/format.h>

#include "gda/core/log.h"
#include "gda/core/text.h"
#include "gda/report/readable.h"
#include "report/metrics_fields.h"

namespace gda {
RunLog::RunLog(const RunLogOptions& options)
    : status_(options.total_steps, options.peak),
      metrics_(options.metrics, options.resumed_step.value_or(0)) {
  if (metrics_.dropped_lines() > 0) {
    log::info("{}: dropped {} that the run wrote after step {}",
              options.metrics.filename().string(), counted(metrics_.dropped_lines(), "line"),
              options.resumed_step.value_or(0));
  }
  if (!options.events) return;
  events_.emplace(*options.events, options.resumed_step);
  if (options.config.empty()) return;
  events_->write_text("config", "```yaml\n" + options.config + "```\n");
  events_->write_hyper_parameters(options.settings);
}

void RunLog::report(const StepReport& report) {
  for (const std::string& line : status_.next(report)) log::write(log::Level::info, line);
  metrics_.write(report);
  if (!events_) return;
  add_events("", report, *events_);
  events_->write(report.step);
}

void RunLog::report(const EvalReport& report) {
  if (report.tokens == 0) {
    log::warning("evaluation of {} at step {}: nothing to predict, each document has one token",
                 report.name, report.step);
  } else {
    log::info("evaluation of {} at step {}: loss {:.4f}, perplexity {:.2f} ({} {})", report.name,
              report.step, report.loss, report.perplexity(), readable_count(report.tokens),
              plural(static_cast<std::uint64_t>(report.tokens), "token"));
  }
  metrics_.write(report);
  if (!events_) return;
  add_events("eval/" + report.name + "/", report, *events_);
  events_->write(report.step);
}

void RunLog::report(const EvalMeanReport& report) {
  if (report.sets > 1 && report.tokens > 0) {
    log::info("evaluation of all {} sets at step {}: loss {:.4f}, perplexity {:.2f} ({} tokens)",
              report.sets, report.step, report.loss(), report.perplexity(),
              readable_count(report.tokens));
  }
  metrics_.write(report);
  if (!events_) return;
  add_events("eval_mean/", report, *events_);
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
  add_events("growth/", report, *events_);
  events_->write(report.step);
}

}  // namespace gda
