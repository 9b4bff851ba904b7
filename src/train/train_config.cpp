#include "gda/train/train_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace gda {

void BatchRampPoint::fields(FieldVisitor& visit) {
  visit.field({.key = "step", .doc = "step from 0", .minimum = 0, .required = true}, step);
  visit.field({.key = "value",
               .doc = "sequences in a batch from that step on",
               .minimum = 1,
               .required = true},
              value);
}

void SkipConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "spike_sigmas",
               .doc = "skip an update whose loss or gradient norm is this many standard deviations "
                      "above the mean of the window; 0: only if it is not finite",
               .minimum = 0},
              spike_sigmas);
  visit.field({.key = "window", .doc = "accepted steps in the window", .minimum = 2}, window);
  visit.field({.key = "max_consecutive_skips",
               .doc = "stop the run after this many skipped updates in a row",
               .minimum = 1},
              max_consecutive_skips);
}

void TextSampleConfig::fields(FieldVisitor& visit) {
  visit.field(
      {.key = "every_steps", .doc = "steps between two samples of text; 0: none", .minimum = 0},
      every_steps);
  visit.field({.key = "prompts", .doc = "texts to continue"}, prompts);
  visit.field({.key = "max_tokens", .doc = "tokens generated per prompt", .minimum = 1},
              max_tokens);
  visit.field({.key = "temperature",
               .doc = "sampling temperature; 0: always the most likely token",
               .minimum = 0},
              temperature);
  visit.rule("prompts", every_steps == 0 || !prompts.empty(),
             "empty, but every_steps asks for samples; give at least one prompt");
}

std::int64_t TrainConfig::batch_size_at(std::int64_t step) const {
  const auto after = std::upper_bound(
      batch_ramp.begin(), batch_ramp.end(), step,
      [](std::int64_t wanted, const BatchRampPoint& point) { return wanted < point.step; });
  return after == batch_ramp.begin() ? global_batch_size : (after - 1)->value;
}

void TrainConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "steps", .doc = "optimizer steps in total", .minimum = 1, .required = true},
              steps);
  visit.field({.key = "global_batch_size",
               .doc = "sequences per step over all processes: a multiple of micro_batch_size times "
                      "the number of data-parallel processes",
               .minimum = 1},
              global_batch_size);
  visit.field({.key = "micro_batch_size",
               .doc = "sequences that a process passes through the model at a time",
               .minimum = 1},
              micro_batch_size);
  visit.list_of({.key = "batch_ramp",
                 .doc = "batch size by step, in stairs: the first at step 0, the last equal to "
                        "global_batch_size; empty: constant"},
                batch_ramp);
  visit.field({.key = "recompute",
               .doc = "what backward computes again instead of keeping it: nothing, what is cheap, "
                      "or complete layers"},
              recompute);
  visit.field({.key = "max_logit_mib",
               .doc = "memory for logits, MiB per process; tokens are processed in chunks that "
                      "fit; 0: 64 on a CPU, 1024 on a GPU",
               .minimum = 0},
              max_logit_mib);
  visit.field({.key = "seed", .doc = "seed of the initial parameters", .minimum = 0}, seed);
  visit.field({.key = "init_from",
               .doc = "model folder that a new run takes its parameters from: a checkpoint or a "
                      "Hugging Face folder; empty: random initial parameters",
               .is_path = true},
              init_from);
  visit.field(
      {.key = "trainable",
       .doc = "which parameters are trained, the others are frozen: all; new, what the last "
              "growth added as complete layers; or a list of names, in which * stands for any "
              "letters, such as [\"model.layers.4.*\", lm_head.weight]",
       .one_of = {"all", "new"}},
      trainable);
  visit.field({.key = "cuda_graphs",
               .doc = "on a GPU: launch the kernels of a micro-batch as one CUDA graph where ranks "
                      "exchange nothing in between. This saves about 10 us of host time per "
                      "kernel; forward and backward are then timed together"},
              cuda_graphs);
  visit.field({.key = "reproducible",
               .doc = "on a GPU: identical bits in every process, and therefore after resuming. "
                      "Matrix products then use the algorithm that cuBLASLt names first, not the "
                      "fastest of several. CPUs always give identical bits"},
              reproducible);
  visit.field({.key = "max_minutes",
               .doc = "wall time in minutes after which the run saves and stops; 0: no limit",
               .minimum = 0},
              max_minutes);
  visit.nested({.key = "skip", .doc = "which updates are skipped"}, skip);
  visit.nested({.key = "sample", .doc = "text generated during training"}, sample);

  if (batch_ramp.empty()) return;
  visit.rule("batch_ramp", batch_ramp.front().step == 0,
             fmt::format("the first step must be 0, got {}", batch_ramp.front().step));
  visit.rule("batch_ramp", batch_ramp.back().value == global_batch_size,
             fmt::format("the last value, {}, must equal global_batch_size, which is {}",
                         batch_ramp.back().value, global_batch_size));
  for (std::size_t i = 1; i < batch_ramp.size(); ++i) {
    visit.rule("batch_ramp", batch_ramp[i].step > batch_ramp[i - 1].step,
               fmt::format("steps must rise strictly, got {} after {}", batch_ramp[i].step,
                           batch_ramp[i - 1].step));
  }
}

MeshShape ParallelConfig::mesh(int ranks) const {
  MeshShape shape{.pipeline = static_cast<int>(pipeline),
                  .context = static_cast<int>(context),
                  .tensor = static_cast<int>(tensor)};
  shape.data = std::max(1, ranks / shape.ranks());
  return shape;
}

void ParallelConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "tensor",
               .doc = "processes that share each matrix, and the tokens between matrices; a "
                      "divisor of the K/V groups and of intermediate_size",
               .minimum = 1},
              tensor);
  visit.field({.key = "pipeline", .doc = "processes that share the layers", .minimum = 1},
              pipeline);
  visit.field({.key = "context", .doc = "processes that share each sequence", .minimum = 1},
              context);
  visit.field({.key = "context_method",
               .doc = "how processes that share a sequence attend to all of it: ulysses, each "
                      "computes some of the heads over all tokens; gather, each gathers keys and "
                      "values; auto: ulysses if the K/V groups divide by tensor times context"},
              context_method);
  visit.field({.key = "zero_stage",
               .doc = "what is cut over processes that hold the same parameters: 1, optimizer "
                      "state; 2, also gradients; 3, also parameters",
               .minimum = 1,
               .maximum = 3},
              zero_stage);
  visit.field({.key = "schedule",
               .doc = "order of work in a pipeline; interleaved: of several stages a process; "
                      "zero-bubble: gradients of weights are computed in its pauses"},
              schedule);
  visit.field({.key = "virtual_stages",
               .doc = "stages of each pipeline process; more than 1 with schedule: interleaved",
               .minimum = 1},
              virtual_stages);
  visit.field({.key = "stage_layers",
               .doc = "number of layers of each stage, first to last; empty: evenly"},
              stage_layers);
  visit.field({.key = "timeout_seconds",
               .doc = "how long an operation between processes may take before the run ends and "
                      "names those that did not answer",
               .minimum = 1},
              timeout_seconds);
  visit.field({.key = "backend",
               .doc = "how processes exchange data of GPUs: by NCCL, or by MPI through host "
                      "memory, which is slow; auto: NCCL if the build has it"},
              backend);

  const bool is_interleaved = schedule == PipelineSchedule::interleaved;
  visit.rule("schedule", pipeline > 1 || schedule == PipelineSchedule::one_forward_one_backward,
             fmt::format("{} orders the work of a pipeline, and parallel.pipeline is {}; give "
                         "1f1b, or a pipeline of 2 or more",
                         schedule, pipeline));
  visit.rule(
      "virtual_stages", is_interleaved == (virtual_stages > 1),
      fmt::format("{}, but schedule is {}, which has {} of each process; give {}", virtual_stages,
                  schedule, is_interleaved ? "several stages" : "one stage",
                  is_interleaved ? "2 or more, or schedule: 1f1b" : "1, or schedule: interleaved"));
}

DType PrecisionConfig::compute_type() const {
  if (compute == ComputePrecision::fp64) return DType::f64;
  return compute == ComputePrecision::fp32 ? DType::f32 : DType::bf16;
}

void PrecisionConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "compute",
               .doc = "type of matrices and activations; master weights, moments, norms and the "
                      "loss are fp32; fp64 computes everything in fp64, for verification"},
              compute);
  visit.field(
      {.key = "rounding",
       .doc =
           "how bf16 matrices are rounded from their fp32 master weights after an update: to the "
           "nearest value, or stochastically, so that the expected value is the master weight"},
      rounding);
  visit.rule("rounding", rounding == MasterRounding::nearest || compute == ComputePrecision::bf16,
             fmt::format("stochastic rounding is for compute: bf16; {} matrices are not rounded",
                         compute));
}

void EvalConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "every_steps", .doc = "steps between two evaluations; 0: none", .minimum = 0},
              every_steps);
  visit.field({.key = "steps", .doc = "batches per source in an evaluation", .minimum = 1}, steps);
  visit.field({.key = "sources", .doc = "names of the data sources to evaluate; empty: all"},
              sources);
}

}  // namespace gda
