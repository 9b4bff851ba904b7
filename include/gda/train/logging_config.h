// The `logging` section of a run's configuration.
#pragma once

#include <cstdint>
#include <optional>

#include "gda/config/fields.h"

namespace gda {

struct LoggingConfig {
  std::int64_t every_steps = 10;
  bool tensorboard = true;
  std::optional<double> peak_tflops;

  bool operator==(const LoggingConfig&) const = default;

  void fields(FieldVisitor& visit) {
    visit.field({.key = "every_steps",
                 .doc = "steps between two reports: status line, metrics.jsonl, TensorBoard",
                 .minimum = 1},
                every_steps);
    visit.field({.key = "tensorboard", .doc = "also write TensorBoard event files"}, tensorboard);
    visit.field({.key = "peak_tflops",
                 .doc = "peak of one process, TFLOP/s, that MFU is a share of; null: its device's "
                        "data sheet, or measured at the start where that is not known",
                 .minimum = 1e-6},
                peak_tflops);
  }
};

}  // namespace gda
