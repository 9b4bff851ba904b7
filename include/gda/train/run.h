// Parts of a run that stay the same while it goes on: its configuration, the ranks, the device and
// the stream of this one, and the data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gda/checkpoint/run_folder.h"
#include "gda/core/memory.h"
#include "gda/core/stream.h"
#include "gda/data/data_loader.h"
#include "gda/dist/communicator.h"
#include "gda/dist/mesh.h"
#include "gda/model/context_cut.h"
#include "gda/ops/context.h"
#include "gda/train/data_agreement.h"
#include "gda/train/run_config.h"

namespace gda {

class RunTimeline;

// The compute type of a run on this device: the configured one, or f32 where that is bf16 and the
// processor has no bf16 arithmetic.
DType supported_compute_type(const PrecisionConfig& precision, Device device);

class Run {
 public:
  // `config` must have passed its checks; `world` must outlive the run. Chooses the device, finds
  // out what the data is (identify_run_data) and opens it. ConfigError that lists all faults if the
  // data is none for this model. Collective.
  Run(const RunConfig& config, Communicator& world);
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  const RunConfig& config() const { return config_; }
  const RunTimeline& timeline() const { return *timeline_; }
  RunFolder folder() const { return RunFolder(config_.run_dir); }
  // "gda resume FOLDER", for a shell.
  std::string resume_command() const;
  // keep_schedule (longer_run.h) for this configuration, from which the timeline is made anew.
  std::string keep_schedule_of(const RunConfig& before, std::int64_t step,
                               const std::string& command);

  // All ranks: who decides, speaks and writes files. For tensors of the host.
  Communicator& world() const { return world_; }
  // Whether this rank writes the files that there is one of.
  bool is_root() const { return world_.is_root(); }
  const Mesh& mesh() const { return mesh_; }
  // The ranks that hold the same part of the model, and other tokens. For tensors of the device,
  // too.
  Communicator& replicas() const { return mesh_.replicas(); }
  // What this rank has of a model.
  std::vector<Placement> placements(const ModelConfig& model) const;
  // The tokens of each sample that this rank has.
  const ContextCut& context_cut() const { return context_cut_; }
  // For messages about operations that do not finish.
  void set_step(std::int64_t step) { device_world_->set_step(step); }

  Device device() const { return device_; }
  DType compute() const { return compute_; }
  const Stream& stream() const { return stream_.get(); }
  Arena& arena() { return arena_; }
  const Arena& arena() const { return arena_; }
  Context context() {
    return {.stream = stream(), .arena = arena_, .reproducible = config_.train.reproducible};
  }

  const DataLoader& data() const { return data_; }
  const IdentifiedRunData& data_facts() const { return data_facts_; }

 private:
  RunConfig config_;
  Communicator& world_;
  Device device_;
  OwnedStream stream_;
  std::unique_ptr<Communicator> device_world_;  // world_ for tensors of the device, too
  Mesh mesh_;
  DType compute_;
  std::unique_ptr<const RunTimeline> timeline_;
  ContextCut context_cut_;
  IdentifiedRunData data_facts_;
  DataLoader data_;
  Arena arena_;
};

}  // namespace gda
