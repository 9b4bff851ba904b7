#include "gda/report/status_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "gda/report/readable.h"

namespace gda {
namespace {

constexpr std::int64_t kLinesPerHeader = 20;
constexpr double kTeraFrom = 1e13;

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.1f}%", 100 * *share) : "-";
}

std::string rate(double per_second) {
  return std::isfinite(per_second) ? readable_count(std::llround(per_second)) : "-";
}

}  // namespace

double EvalReport::perplexity() const {
  return std::exp(loss);
}

void EvalMeanReport::add(const EvalReport& report) {
  step = report.step;
  if (report.tokens > 0) total_loss += report.loss * static_cast<double>(report.tokens);
  tokens += report.tokens;
  ++sets;
}

double EvalMeanReport::loss() const {
  return tokens > 0 ? total_loss / static_cast<double>(tokens)
                    : std::numeric_limits<double>::quiet_NaN();
}

double EvalMeanReport::perplexity() const {
  return std::exp(loss());
}

StatusLine::StatusLine(std::int64_t total_steps, const Peak& peak)
    : step_width_(std::max(8, 2 * static_cast<int>(fmt::formatted_size("{}", total_steps)) + 1)),
      tera_(peak.flops >= kTeraFrom),
      with_measured_(peak.source != Peak::Source::measured && peak.measured > 0) {}

std::string StatusLine::header() const {
  return fmt::format("{:>{}} {:>9} {:>10} {:>11} {:>11} {:>9} {:>9} {:>7}{} {:>11}", "step",
                     step_width_, "loss", "lr", "grad norm", "tokens/s",
                     tera_ ? "TFLOP/s" : "GFLOP/s", "MFU full", "causal",
                     with_measured_ ? " of measured" : "", "time left");
}

std::string StatusLine::line(const StepReport& report) const {
  const std::string step = fmt::format("{}/{}", report.step, report.total_steps);
  const std::string measured =
      with_measured_ ? fmt::format(" {:>11}", percent(report.share_of_measured())) : "";
  std::string text = fmt::format(
      "{:>{}} {:>9.4f} {:>10.2e} {:>11.4g} {:>11} {:>9.1f} {:>9} {:>7}{} {:>11}", step, step_width_,
      report.loss, report.lr, report.grad_norm, rate(report.tokens_per_second),
      report.flops_full / (tera_ ? 1e12 : 1e9), percent(report.mfu_full()),
      percent(report.mfu_causal()), measured, readable_duration(report.eta_seconds));
  if (report.stages > 0) text += fmt::format("  stage {}/{}", report.stage, report.stages);
  if (report.mask) text += fmt::format("  mask {:.4f}", *report.mask);
  if (report.stages > 0 || report.mask || report.trainable_parameters != report.parameters) {
    text += fmt::format("  {} parameters", readable_number(report.parameters));
    if (report.trainable_parameters != report.parameters) {
      text += fmt::format(", {} trainable", readable_number(report.trainable_parameters));
    }
    text += fmt::format("  {:.3g} FLOPs", report.total_flops);
  }
  if (report.skipped > 0) text += fmt::format("  skipped {}", report.skipped);
  return text;
}

std::vector<std::string> StatusLine::next(const StepReport& report) {
  const bool with_header = lines_++ % kLinesPerHeader == 0;
  if (with_header) return {header(), line(report)};
  return {line(report)};
}

}  // namespace gda
