#include "gda/train/run.h"

#include <fmt/format.h>

#include <chrono>

#include "gda/core/environment.h"
#include "gda/core/shell.h"
#include "gda/dist/device_communicator.h"
#include "gda/ops/matmul.h"
#include "gda/train/longer_run.h"
#include "gda/train/rank_layout.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

DeviceRequest device_request(const RunConfig& config) {
  // NCCL takes two ranks on one GPU for two hosts if it is told so: for tests.
  const bool may_share =
      config.parallel.backend == DeviceBackend::mpi || environment("NCCL_HOSTID") != nullptr;
  return {.wanted = config.device,
          .setting = fmt::format("device: {}", config.device),
          .may_share = may_share};
}

// Without faults.
IdentifiedRunData usable_data(const RunConfig& config, Communicator& world) {
  IdentifiedRunData data = identify_run_data(config, world);
  if (data.faults.empty()) return data;
  std::vector<std::string> lines = data.faults;
  lines.insert(lines.end(), data.tokenizer_faults.begin(), data.tokenizer_faults.end());
  require_none(lines, "the data does not fit the run");
  return data;
}

// One for the models of all growth stages: samples are cut before a stage grows the model.
ContextCut cut_of(const ParallelConfig& parallel, const Mesh& mesh, const RunTimeline& timeline) {
  ContextCut cut;
  for (std::int64_t stage = 0; stage <= timeline.stages(); ++stage) {
    cut =
        context_cut(timeline.model(stage), parallel.context_method, mesh.coordinate(Axis::context),
                    mesh.size(Axis::context), mesh.size(Axis::tensor));
    if (cut.method == ContextMethod::gather) break;
  }
  return cut;
}

}  // namespace

DType supported_compute_type(const PrecisionConfig& precision, Device device) {
  const DType wanted = precision.compute_type();
  return wanted == DType::bf16 && !bf16_matmul_is_native(device) ? DType::f32 : wanted;
}

Run::Run(const RunConfig& config, Communicator& world)
    : config_(config),
      world_(world),
      device_(choose_device(device_request(config), world)),
      stream_(device_),
      device_world_(make_device_communicator(
          world, stream_.get(),
          {.backend = config.parallel.backend,
           .timeout = std::chrono::seconds(config.parallel.timeout_seconds)})),
      mesh_(*device_world_, config.parallel.mesh(world.size())),
      compute_(supported_compute_type(config.precision, device_)),
      timeline_(std::make_unique<RunTimeline>(config)),
      context_cut_(cut_of(config.parallel, mesh_, *timeline_)),
      data_facts_(usable_data(config, world)),
      data_(timeline_->data(), config.model.vocab_size,
            [this](std::int64_t step) { return timeline_->first_sample(step); }),
      arena_(device_) {
  config_.validate_for_world(world.size());
  data_.check_targets();
}

Run::~Run() = default;

std::vector<Placement> Run::placements(const ModelConfig& model) const {
  return rank_layout(model, config_.parallel, mesh_.coordinate(Axis::pipeline),
                     mesh_.coordinate(Axis::tensor));
}

std::string Run::resume_command() const {
  return "gda resume " + shell_word(config_.run_dir);
}

std::string Run::keep_schedule_of(const RunConfig& before, std::int64_t step,
                                  const std::string& command) {
  std::string kept = keep_schedule(before, config_, step, command);
  if (!kept.empty()) timeline_ = std::make_unique<RunTimeline>(config_);
  return kept;
}

}  // namespace gda
