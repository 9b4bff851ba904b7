#include "gda/train/train_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace gda {
namespace {

void single_only(FieldVisitor& visit, std::string_view key, std::int64_t value,
                 std::string_view what) {
  visit.rule(key, value == 1,
             fmt::format("{} is not supported; this build has {} 1 only", value, what));
}

}  // namespace

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
               .doc = "skip an update whose loss or gradient norm is so many standard deviations "
                      "above the mean of the window; 0: only when it is not finite",
               .minimum = 0},
              spike_sigmas);
  visit.field({.key = "window", .doc = "accepted steps that are looked back on", .minimum = 2},
              window);
  visit.field({.key = "max_consecutive_skips",
               .doc = "skipped updates in a row that stop the run",
               .minimum = 1},
              max_consecutive_skips);
}

void TextSampleConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "every_steps",
               .doc = "steps between two samples of generated text; 0: none",
               .minimum = 0},
              every_steps);
  visit.field({.key = "prompts", .doc = "beginnings of the texts"}, prompts);
  visit.field({.key = "max_tokens", .doc = "tokens generated for a prompt", .minimum = 1},
              max_tokens);
  visit.field({.key = "temperature",
               .doc = "logits are divided by it; 0: always the likeliest token",
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
  visit.field({.key = "steps", .doc = "optimizer steps in all", .minimum = 1, .required = true},
              steps);
  visit.field({.key = "global_batch_size",
               .doc = "sequences a step, over all processes; a multiple of micro_batch_size times "
                      "their number",
               .minimum = 1},
              global_batch_size);
  visit.field({.key = "micro_batch_size",
               .doc = "sequences that a process passes through the model at once",
               .minimum = 1},
              micro_batch_size);
  visit.list_of({.key = "batch_ramp",
                 .doc = "batch sizes by step, as stairs; the first at step 0, the last equal to "
                        "global_batch_size; empty: no ramp"},
                batch_ramp);
  visit.field({.key = "recompute",
               .doc = "what backward computes again instead of keeping it: nothing, what is cheap, "
                      "or complete layers",
               .one_of = {"none", "selective", "full"}},
              recompute);
  visit.field({.key = "max_logit_mib",
               .doc = "memory for logits, whose tokens are taken in chunks; 0: 64 on a CPU, 1024 "
                      "on a GPU",
               .minimum = 0},
              max_logit_mib);
  visit.field({.key = "seed", .doc = "of the initial parameters", .minimum = 0}, seed);
  visit.field({.key = "init_from",
               .doc = "model folder whose parameters a new run begins with: a checkpoint, or "
                      "Hugging Face's; empty: parameters begin by their initialisers",
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
               .doc = "on a GPU: launch the kernels of a micro-batch as one graph where ranks "
                      "exchange nothing meanwhile, which spares the host some 10 us a kernel; "
                      "forward and backward are then timed as one"},
              cuda_graphs);
  visit.field({.key = "reproducible",
               .doc = "on a GPU: the same bits in every process, so also after resuming; matrix "
                      "products then run the algorithm that cuBLASLt names first instead of the "
                      "fastest of several. CPUs always give the same bits"},
              reproducible);
  visit.field({.key = "max_minutes",
               .doc = "wall time after which the run saves and stops; 0: no limit",
               .minimum = 0},
              max_minutes);
  visit.nested({.key = "skip", .doc = "updates that are left out"}, skip);
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
  visit.field({.key = "tensor", .doc = "processes that share each matrix", .minimum = 1}, tensor);
  visit.field({.key = "pipeline", .doc = "processes that share the layers", .minimum = 1},
              pipeline);
  visit.field({.key = "context", .doc = "processes that share each sequence", .minimum = 1},
              context);
  visit.field({.key = "zero_stage",
               .doc = "1: optimizer state is sharded over the data-parallel processes",
               .minimum = 0,
               .maximum = 3},
              zero_stage);
  visit.field({.key = "timeout_seconds",
               .doc = "how long an operation between processes may take before the run ends with "
                      "the names of those that did not answer",
               .minimum = 1},
              timeout_seconds);
  visit.field(
      {.key = "backend",
       .doc = "how processes exchange what is on their GPUs: by NCCL, or by MPI through the "
              "host's memory, which is slow; auto: NCCL where the build has it",
       .one_of = {"auto", "nccl", "mpi"}},
      backend);
  single_only(visit, "tensor", tensor, "tensor parallelism of");
  single_only(visit, "pipeline", pipeline, "pipeline parallelism of");
  single_only(visit, "context", context, "context parallelism of");
  single_only(visit, "zero_stage", zero_stage, "ZeRO stage");
}

DType PrecisionConfig::compute_type() const {
  if (compute == "fp64") return DType::f64;
  return compute == "fp32" ? DType::f32 : DType::bf16;
}

void PrecisionConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "compute",
               .doc = "type of matrices and activations; masters, moments, norms and the loss are "
                      "kept in fp32; fp64 is for verification",
               .one_of = {"bf16", "fp32", "fp64"}},
              compute);
  visit.field({.key = "rounding",
               .doc = "how bf16 matrices are rounded from their fp32 masters after an update: to "
                      "the nearest, or up and down at random so that the mean is the master",
               .one_of = {"nearest", "stochastic"}},
              rounding);
  visit.rule("rounding", rounding == "nearest" || compute == "bf16",
             fmt::format("stochastic rounding is for compute: bf16; {} matrices are not rounded",
                         compute));
}

void EvalConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "every_steps", .doc = "steps between two evaluations; 0: none", .minimum = 0},
              every_steps);
  visit.field({.key = "steps", .doc = "batches that are evaluated of each source", .minimum = 1},
              steps);
  visit.field({.key = "sources",
               .doc = "names of the data sources whose validation part is evaluated; empty: all"},
              sources);
}

}  // namespace gda
