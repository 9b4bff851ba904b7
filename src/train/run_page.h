// The page that a run begins with.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "gda/data/data_loader.h"
#include "gda/model/model_config.h"
#include "gda/model/parameters.h"
#include "gda/report/peak_flops.h"
#include "gda/train/memory_estimate.h"
#include "gda/train/run_config.h"
#include "gda/train/run_progress.h"
#include "train/run_timeline.h"

namespace gda {

// Bytes, of each kind the most that a rank has.
struct HeldMemory {
  std::int64_t parameters = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  std::int64_t activations = 0;  // 0: they are taken as they are needed
};

// Collective.
HeldMemory held_memory(const Run& run, const TrainedModel& model);

struct RunPage {
  const RunConfig& config;
  const RunTimeline& timeline;
  std::int64_t stages_done = 0;  // stages that are done
  const DataLoader& data;
  ParameterCounts counts;
  HeldMemory held;
  const LayoutEstimate& layout;
  DType compute = DType::f32;
  Device device;
  const Peak& peak;
  FlopsPerToken flops;
  const std::optional<GrowthRamp>& ramp;
  std::int64_t last_sample = 0;  // of all steps
};

std::string run_page(const RunPage& page);

}  // namespace gda
