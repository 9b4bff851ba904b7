// Decides whether a step's update is skipped: always when its loss or gradient norm is not finite,
// and, if asked, when one of them stands out from the recent past.
//
// Its inputs are sums over all ranks, so every rank decides the same.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace gda {

struct LossGuardOptions {
  double spike_sigmas = 0;            // k; 0: only non-finite values are skipped
  std::int64_t window = 128;          // n: accepted steps that are looked back on
  std::int64_t max_consecutive = 10;  // skips in a row that end the run
};

class LossGuard {
 public:
  explicit LossGuard(LossGuardOptions options) : options_(options) {}

  // Why the update must be skipped ("loss is nan", "gradient norm 8.1 is 6.2 standard deviations
  // above the mean of the last 128 steps, 1.3"), or empty to accept it.
  std::string check(double loss, double gradient_norm);

  // Counts a skipped update that says nothing of the model, such as one without data.
  void leave_out() { ++skipped_; }

  std::int64_t skipped() const { return skipped_; }
  // In a row, up to now.
  std::int64_t consecutive() const { return consecutive_; }
  // Whether max_consecutive were: the run must not go on.
  bool is_exhausted() const { return consecutive_ >= options_.max_consecutive; }

  // All that decides what comes next, for checkpoints.
  struct State {
    std::int64_t skipped = 0;
    std::int64_t consecutive = 0;
    std::vector<double> losses;
    std::vector<double> gradient_norms;
  };
  State state() const;
  void restore(const State& state);

 private:
  std::string reason(double loss, double gradient_norm) const;
  std::string spike(const char* what, double value, const std::deque<double>& past) const;
  void accept(double loss, double gradient_norm);

  LossGuardOptions options_;
  std::int64_t skipped_ = 0;
  std::int64_t consecutive_ = 0;
  std::deque<double> losses_;
  std::deque<double> gradient_norms_;
};

}  // namespace gda
