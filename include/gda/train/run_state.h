// State of a run that is no pure function of its configuration and step: the counters in
// trainer.json, and the record of the data that they count in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gda/train/data_record.h"
#include "gda/train/loss_guard.h"

namespace gda {

struct RunState {
  std::int64_t step = 0;         // steps done
  std::int64_t samples = 0;      // sequences taken from the data, by all ranks
  std::int64_t tokens = 0;       // tokens of those
  std::int64_t updates = 0;      // steps whose update was not skipped: Adam's step count
  std::int64_t stages_done = 0;  // stages of the run's growth section that are done
  double flops = 0;              // model FLOPs spent, full convention
  LossGuard::State guard;
  std::optional<DataRecord> data;  // of the steps done; nothing in older checkpoints

  std::string json() const;
};

// Throws FormatError naming `origin` and the key that is missing or not what it should be.
RunState parse_run_state(std::string_view json, std::string_view origin);

}  // namespace gda
