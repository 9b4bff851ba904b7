// The `checkpoint` section of a run's configuration.
#pragma once

#include <cstdint>

#include "gda/config/fields.h"

namespace gda {

struct CheckpointConfig {
  std::int64_t every_steps = 1000;
  std::int64_t keep_last = 3;
  std::int64_t keep_every = 0;
  bool async = true;

  bool operator==(const CheckpointConfig&) const = default;

  void fields(FieldVisitor& visit) {
    visit.field({.key = "every_steps",
                 .doc = "steps between two checkpoints; 0: only when the run ends or is stopped",
                 .minimum = 0},
                every_steps);
    visit.field(
        {.key = "keep_last", .doc = "number of newest healthy checkpoints to keep", .minimum = 1},
        keep_last);
    visit.field({.key = "keep_every",
                 .doc = "checkpoints whose step is a multiple of this are never removed; 0: none",
                 .minimum = 0},
                keep_every);
    visit.field({.key = "async",
                 .doc = "write in the background while training continues, from a copy in memory "
                        "of this rank's share of the checkpoint"},
                async);
  }
};

}  // namespace gda
