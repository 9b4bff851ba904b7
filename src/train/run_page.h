// The page that a run begins with.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "gda/data/data_loader.h"
#include "gda/model/model_config.h"
#include "gda/model/parameters.h"
#include "gda/report/peak_flops.h"
#include "gda/train/run_config.h"
#include "gda/train/run_progress.h"
#include "train/run_timeline.h"

namespace gda {

struct RunPage {
  const RunConfig& config;
  const RunTimeline& timeline;
  std::int64_t stages_done = 0;  // stages that are done
  const DataLoader& data;
  ParameterCounts counts;
  const ParameterStore& parameters;
  std::size_t optimizer_bytes = 0;  // of this rank
  DType compute = DType::f32;
  Device device;
  std::size_t activation_bytes = 0;  // reserved; 0: taken as they are needed
  int world_size = 1;
  const Peak& peak;
  FlopsPerToken flops;
  const std::optional<GrowthRamp>& ramp;
  std::int64_t last_sample = 0;  // of all steps
};

std::string run_page(const RunPage& page);

}  // namespace gda
