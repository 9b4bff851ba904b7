#include "gda/train/status_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gda/train/readable.h"

namespace gda {
namespace {

constexpr std::int64_t kLinesPerHeader = 20;
constexpr double kTeraFrom = 1e13;

std::string percent(double share) {
  return share > 0 ? fmt::format("{:.1f}%", 100 * share) : "-";
}

std::string rate(double per_second) {
  return std::isfinite(per_second) ? readable_count(std::llround(per_second)) : "-";
}

}  // namespace

double EvalReport::perplexity() const {
  return std::exp(loss);
}

StatusLine::StatusLine(std::int64_t total_steps, double peak_flops)
    : step_width_(std::max(8, 2 * static_cast<int>(fmt::formatted_size("{}", total_steps)) + 1)),
      tera_(peak_flops >= kTeraFrom) {}

std::string StatusLine::header() const {
  return fmt::format("{:>{}} {:>9} {:>10} {:>11} {:>11} {:>9} {:>9} {:>7} {:>11}", "step",
                     step_width_, "loss", "lr", "grad norm", "tokens/s",
                     tera_ ? "TFLOP/s" : "GFLOP/s", "MFU full", "causal", "time left");
}

std::string StatusLine::line(const StepReport& report) const {
  const std::string step = fmt::format("{}/{}", report.step, report.total_steps);
  std::string text = fmt::format(
      "{:>{}} {:>9.4f} {:>10.2e} {:>11.4g} {:>11} {:>9.1f} {:>9} {:>7} {:>11}", step, step_width_,
      report.loss, report.lr, report.grad_norm, rate(report.tokens_per_second),
      report.flops_full / (tera_ ? 1e12 : 1e9), percent(report.mfu_full()),
      percent(report.mfu_causal()), readable_duration(report.eta_seconds));
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
