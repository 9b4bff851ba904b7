// The `train`, `parallel`, `precision` and `eval` sections of a run's configuration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/config/fields.h"
#include "gda/core/dtype.h"
#include "gda/dist/device_communicator.h"
#include "gda/dist/mesh.h"
#include "gda/model/context_cut.h"
#include "gda/model/decoder.h"
#include "gda/train/pipeline_schedule.h"

namespace gda {

// One point of a batch-size ramp: from `step` on a batch has `value` sequences.
struct BatchRampPoint {
  std::int64_t step = 0;
  std::int64_t value = 1;

  bool operator==(const BatchRampPoint&) const = default;
  void fields(FieldVisitor& visit);
};

// When an update is skipped because the loss or the gradient stands out. One that is not finite is
// always skipped.
struct SkipConfig {
  double spike_sigmas = 0;  // standard deviations above the mean of the window; 0: off
  std::int64_t window = 128;
  std::int64_t max_consecutive_skips = 10;  // then the run stops

  bool operator==(const SkipConfig&) const = default;
  void fields(FieldVisitor& visit);
};

// Text generated during training, to be looked at.
struct TextSampleConfig {
  std::int64_t every_steps = 0;  // 0: off
  std::vector<std::string> prompts;
  std::int64_t max_tokens = 64;
  double temperature = 0.8;  // 0: the likeliest token

  bool operator==(const TextSampleConfig&) const = default;
  void fields(FieldVisitor& visit);
};

struct TrainConfig {
  std::int64_t steps = 0;
  std::int64_t global_batch_size = 32;  // sequences a step, over all ranks
  std::int64_t micro_batch_size = 4;    // sequences a forward pass of one rank
  // Steps rise from 0, and the last value is global_batch_size. Empty: no ramp.
  std::vector<BatchRampPoint> batch_ramp;
  Recompute recompute = Recompute::none;
  std::int64_t max_logit_mib = 0;  // 0: as the operator has it (linear_cross_entropy.h)
  std::int64_t seed = 1;           // of the initial parameters
  // Model folder whose parameters a new run begins with: a checkpoint, or Hugging Face's. Empty:
  // parameters begin by their initialisers.
  std::string init_from;
  // Which parameters are trained: all, new (trainable.h), or names and patterns of names.
  WordOrList trainable{.word = "all", .list = {}};
  bool cuda_graphs = false;   // on a GPU, launch a micro-batch as one graph (train_step.h)
  bool reproducible = false;  // the same bits in every process, also on GPUs (context.h)
  double max_minutes = 0;     // wall time of this process, then save and stop; 0: no limit
  SkipConfig skip;
  TextSampleConfig sample;

  // Sequences in the batch of a step: the value of the last ramp point at or before it.
  std::int64_t batch_size_at(std::int64_t step) const;

  bool operator==(const TrainConfig&) const = default;
  void fields(FieldVisitor& visit);
};

// How a model is cut over processes; data parallelism takes what the others leave.
struct ParallelConfig {
  std::int64_t tensor = 1;
  std::int64_t pipeline = 1;
  std::int64_t context = 1;
  ContextMethod context_method = ContextMethod::automatic;
  std::int64_t zero_stage = 1;
  PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
  std::int64_t virtual_stages = 1;         // of each pipeline rank
  std::vector<std::int64_t> stage_layers;  // of each stage, in forward order; empty: evenly
  std::int64_t timeout_seconds = 600;
  DeviceBackend backend = DeviceBackend::automatic;

  ZeroStage zero() const { return static_cast<ZeroStage>(zero_stage); }
  std::int64_t stages() const { return pipeline * virtual_stages; }
  // Ranks that one model takes: those of all axes but data.
  std::int64_t model_ranks() const { return tensor * pipeline * context; }
  // Of so many processes.
  MeshShape mesh(int ranks) const;

  bool operator==(const ParallelConfig&) const = default;
  void fields(FieldVisitor& visit);
};

enum class ComputePrecision : std::uint8_t { bf16, fp32, fp64 };
template <>
inline constexpr auto kWordsOf<ComputePrecision> = words("bf16", "fp32", "fp64");

// Of bf16 matrices from their masters.
enum class MasterRounding : std::uint8_t { nearest, stochastic };
template <>
inline constexpr auto kWordsOf<MasterRounding> = words("nearest", "stochastic");

struct PrecisionConfig {
  ComputePrecision compute = ComputePrecision::bf16;
  MasterRounding rounding = MasterRounding::nearest;

  DType compute_type() const;

  bool operator==(const PrecisionConfig&) const = default;
  void fields(FieldVisitor& visit);
};

// Loss on validation documents during training.
struct EvalConfig {
  std::int64_t every_steps = 500;    // 0: off
  std::int64_t steps = 20;           // batches of each source
  std::vector<std::string> sources;  // names of data sources; empty: all

  bool operator==(const EvalConfig&) const = default;
  void fields(FieldVisitor& visit);
};

}  // namespace gda
