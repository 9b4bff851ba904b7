// Between a run in memory and its checkpoints on disk.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gda/checkpoint/checkpoint_config.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/model/decoder.h"
#include "gda/optim/optimizer.h"
#include "gda/train/run_state.h"

namespace gda {

// What a checkpoint holds besides parameters and optimizer state.
struct RunSnapshot {
  const ModelConfig& model;
  const RunState& state;
  const GrowthState& growth;
  std::string run_config;      // YAML
  std::string unhealthy = {};  // why the run should not go on from here; empty: it may
};

// A run as a checkpoint left it.
struct RestoredRun {
  RunState state;
  GrowthState growth;
};

class RunCheckpoints {
 public:
  // `directory` holds the step folders. `specs`: of the whole model, the same on every rank of
  // `world`, whichever parts of them a rank has. All references must outlive it.
  RunCheckpoints(std::filesystem::path directory, const CheckpointConfig& config,
                 Communicator& world, std::vector<ParameterSpec> specs, GradientBuckets& buckets,
                 Optimizer& optimizer);

  // Parameters, optimizer states and counters from a checkpoint. Parameters that were frozen when
  // it was written have no states there, and those that another rule updated have not the ones that
  // are needed: they begin with states of zero and an UpdateOrigin of their own, and a line of the
  // log says so. (AdamW's exp_avg is no momentum of Muon's: it decays at another rate and has
  // another scale. From zero, Muon's first update is as large as any.) Throws FormatError if it is
  // of another model. Collective.
  RestoredRun restore(const Context& context, const CheckpointReader& reader);
  // Parameters alone, from any model folder; the optimizer starts afresh.
  void initialise_from(const Context& context, const ModelFolder& folder);

  // Saves; with `wait`, or when checkpoint.async is off, returns when it is on the disk, else when
  // the state has been copied. Collective. Throws IoError when it could not be written.
  void save(const Context& context, const RunSnapshot& run, bool wait);
  // The checkpoint that was being written, if it is whole now (with `wait`: when it is). Comes
  // before the next save, which would drop the answer.
  std::optional<SavedCheckpoint> finish(bool wait);

 private:
  void begin_afresh(const CheckpointReader& reader, RestoredRun& run) const;
  void add_boxes(const Context& context, const Parameter& parameter, ParameterSource& source) const;
  // A parameter, and what this rank gives of it.
  ParameterSource source_of(const Context& context, const ParameterSpec& spec) const;
  CheckpointContents contents(const Context& context, const RunSnapshot& run) const;

  SaveOptions options_;
  bool async_;
  Communicator& world_;
  std::vector<ParameterSpec> specs_;
  const ParameterStore& parameters_;
  GradientBuckets& buckets_;
  Optimizer& optimizer_;
  AsyncCheckpointWriter writer_;
  std::optional<SavedCheckpoint> written_;
};

}  // namespace gda
