#include "gda/train/loss_guard.h"

#include <fmt/format.h>

#include <cmath>

#include "gda/core/text.h"

namespace gda {

std::string LossGuard::check(double loss, double gradient_norm) {
  std::string why = reason(loss, gradient_norm);
  if (why.empty()) {
    accept(loss, gradient_norm);
    return why;
  }
  ++skipped_;
  ++consecutive_;
  return why;
}

std::string LossGuard::reason(double loss, double gradient_norm) const {
  if (!std::isfinite(loss)) return fmt::format("the loss is {}", loss);
  if (!std::isfinite(gradient_norm)) return fmt::format("the gradient norm is {}", gradient_norm);
  if (options_.spike_sigmas <= 0) return {};
  std::string why = spike("loss", loss, losses_);
  return why.empty() ? spike("gradient norm", gradient_norm, gradient_norms_) : why;
}

std::string LossGuard::spike(const char* what, double value, const std::deque<double>& past) const {
  // A half-filled window has no standard deviation worth the name.
  if (static_cast<std::int64_t>(past.size()) < options_.window) return {};
  double mean = 0;
  for (const double x : past) mean += x;
  mean /= static_cast<double>(past.size());
  double variance = 0;
  for (const double x : past) variance += (x - mean) * (x - mean);
  const double deviation = std::sqrt(variance / static_cast<double>(past.size()));
  if (value <= mean + options_.spike_sigmas * deviation) return {};
  return fmt::format(
      "the {} {:.4g} is {:.1f} standard deviations above the mean of the last {}, {:.4g}", what,
      value, (value - mean) / deviation, counted(past.size(), "step"), mean);
}

void LossGuard::accept(double loss, double gradient_norm) {
  consecutive_ = 0;
  if (options_.spike_sigmas <= 0) return;
  losses_.push_back(loss);
  gradient_norms_.push_back(gradient_norm);
  if (static_cast<std::int64_t>(losses_.size()) > options_.window) {
    losses_.pop_front();
    gradient_norms_.pop_front();
  }
}

LossGuard::State LossGuard::state() const {
  return {.skipped = skipped_,
          .consecutive = consecutive_,
          .losses = {losses_.begin(), losses_.end()},
          .gradient_norms = {gradient_norms_.begin(), gradient_norms_.end()}};
}

void LossGuard::restore(const State& state) {
  skipped_ = state.skipped;
  consecutive_ = state.consecutive;
  losses_.assign(state.losses.begin(), state.losses.end());
  gradient_norms_.assign(state.gradient_norms.begin(), state.gradient_norms.end());
}

}  // namespace gda
