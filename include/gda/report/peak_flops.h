// The ceiling that MFU is a share of.
//
// It is the data sheet's where the device is known (data_sheet.h), or what the user says it is
// (logging.peak_tflops). Beside it products are measured: what can be had of it ("speed of light").
// On a CPU and on an unknown GPU what was measured is the ceiling. Whatever it is, no share above 1
// is ever told: a step that did more than was measured has shown that more can be done.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "gda/ops/context.h"

namespace gda {

// FLOP/s of products of `compute` type, as this process runs them. Takes about a third of a second.
// On a GPU of the best of several. On the CPU of all its threads at once, each with products of its
// own, by the time that they have had a processor: neighbours that take it away count for nothing.
// `processes`: on this host; they, too, share its processors.
double measure_peak_flops(const Context& context, DType compute, int processes = 1);

struct Peak {
  enum class Source : std::uint8_t { measured, data_sheet, given };

  double flops = 0;     // FLOP/s of all ranks, that MFU is a share of; 0: not known
  double measured = 0;  // FLOP/s of all ranks, of products; 0: not measured
  Source source = Source::measured;
  std::string device;  // of a data sheet

  // Takes note of a step's FLOP/s of all ranks by both conventions (step_report.h). A step that did
  // more than was measured is measured against anew, with `again` if there is one, and counts
  // itself. Returns what is to be told, once for each kind; empty: nothing.
  std::string learn(double full, double causal, const std::function<double()>& again = {});

  // "989.4 TFLOP/s (data sheet, H200); products measured at 801.3".
  std::string str() const;
  // "data sheet, H200", "measured", "logging.peak_tflops".
  std::string origin() const;

 private:
  bool told_beaten_ = false;
  bool told_convention_ = false;
};

}  // namespace gda
