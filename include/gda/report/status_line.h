// One aligned line per logging interval, for a terminal and for a log file.
//
//     step       loss         lr   grad norm    tokens/s   GFLOP/s  MFU full  causal   time left
//   120/400    5.4321   4.00e-04       0.812       3,412     158.2     41.2%   38.0%      3m 05s
//
// Where the peak is not what was measured, the share of that follows MFU ("of measured", causal).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/report/step_report.h"

namespace gda {

class StatusLine {
 public:
  // total_steps sets the width of the first column; FLOP/s (full convention) are shown in TFLOP/s
  // when the peak is at least 10^13, else in GFLOP/s.
  StatusLine(std::int64_t total_steps, const Peak& peak);

  std::string header() const;
  // Without the header. Where the model grows, or a part of it is frozen, the end of the line tells
  // the stage, the mask while one rises, the parameters and the FLOPs so far; then skipped updates
  // once there are any.
  std::string line(const StepReport& report) const;
  // What to print: the line, and before every twentieth one, from the first on, a header.
  std::vector<std::string> next(const StepReport& report);

 private:
  int step_width_;
  bool tera_;
  bool with_measured_;
  std::int64_t lines_ = 0;
};

}  // namespace gda
