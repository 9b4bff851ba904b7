#include "train/run_page.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>

#include "gda/core/text.h"
#include "gda/report/readable.h"
#include "gda/report/start_page.h"

namespace gda {
namespace {

std::string describe_attention(const AttentionConfig& a) {
  if (!a.is_differential()) {
    return fmt::format("{}, {}, {}, head_dim {}", a.type,
                       counted(a.num_attention_heads, "query head"),
                       counted(a.num_key_value_heads, "key-value head"), a.head_dim);
  }
  return fmt::format("{}, {} signal and {} ({}:1), {}, head_dim {}", a.type, a.signal_heads,
                     counted(a.noise_heads, "noise head"), a.ratio(),
                     counted(a.num_key_value_heads, "key-value head"), a.head_dim);
}

// "cuda:0, NVIDIA H200 (132 multiprocessors, compute capability 9.0, 139.8 GiB)".
std::string describe_device(Device device) {
  if (device.type == DeviceType::cpu) return device.str();
  const DeviceFacts facts = facts_of(device);
  return fmt::format("{}, {} ({} multiprocessors, compute capability {}.{}, {})", device.str(),
                     facts.name, facts.multiprocessors, facts.major, facts.minor,
                     readable_bytes(static_cast<std::int64_t>(facts.memory_bytes)));
}

// "12,345", or "12,345 (1,234 trainable)" where some are frozen.
std::string describe_parameters(const ParameterCounts& counts) {
  if (counts.trainable == counts.all) return readable_count(counts.all);
  return fmt::format("{} ({} trainable)", readable_count(counts.all),
                     readable_count(counts.trainable));
}

void add_model(const RunPage& page, StartPage& out) {
  const ModelConfig& model = page.timeline.model(page.stages_done);
  out.section("model");
  out.row("parameters", describe_parameters(page.counts));
  out.row("shape", fmt::format("{}, hidden {}, feed-forward {} ({}), vocabulary {}{}",
                               counted(model.num_hidden_layers, "layer"), model.hidden_size,
                               model.intermediate_size, model.hidden_act, model.vocab_size,
                               model.tie_word_embeddings ? ", tied" : ""));
  out.row("attention", describe_attention(model.attention));
  out.row("FLOPs a token", fmt::format("{:.3g} full, {:.3g} causal (forward and backward)",
                                       page.flops.full, page.flops.causal));
}

void add_memory(const RunPage& page, StartPage& out) {
  const HeldMemory& held = page.held;
  out.section("memory of each rank");
  out.row("parameters", readable_bytes(held.parameters));
  out.row("gradients", readable_bytes(held.gradients));
  out.row("optimizer", readable_bytes(held.optimizer));
  double estimated = 0;
  double communication = 0;
  for (const RankEstimate& rank : page.layout.ranks) {
    estimated = std::max(estimated, rank.memory.activations + rank.memory.working);
    communication = std::max(communication, rank.memory.communication);
  }
  const std::string activations =
      held.activations > 0
          ? readable_bytes(held.activations)
          : "about " + readable_bytes(static_cast<std::int64_t>(estimated)) + ", as needed";
  out.row("activations",
          fmt::format("{} (recompute: {})", activations, page.config.train.recompute));
  if (communication > 0) {
    out.row("communication", "about " + readable_bytes(static_cast<std::int64_t>(communication)));
  }
}

// "pipeline 2 x data 2 x context 1 x tensor 2, ZeRO stage 1": axes of one place only where there
// are several others.
std::string describe_mesh(const RunPage& page) {
  const MeshShape& mesh = page.layout.mesh;
  const std::int64_t zero = page.config.parallel.zero_stage;
  if (mesh.data == mesh.ranks()) return fmt::format("data parallel, ZeRO stage {}", zero);
  return fmt::format("pipeline {} x data {} x context {} x tensor {}, ZeRO stage {}", mesh.pipeline,
                     mesh.data, mesh.context, mesh.tensor, zero);
}

void add_layout(const RunPage& page, StartPage& out) {
  const LayoutEstimate& layout = page.layout;
  const ParallelConfig& parallel = page.config.parallel;
  out.row("ranks", fmt::format("{} ({}), {} each", layout.mesh.ranks(), describe_mesh(page),
                               counted(omp_get_max_threads(), "thread")));
  if (layout.mesh.context > 1) out.row("context", std::string(word_of(layout.method)));
  if (layout.mesh.pipeline > 1) {
    std::string layers;
    for (const Stage& stage : layout.stages) layers += fmt::format(" {}", stage.layers.size());
    out.row("pipeline", fmt::format("{}, bubble {:.1f}%; stages of{} layers", parallel.schedule,
                                    100 * layout.bubble, layers));
  }
  if (layout.mesh.ranks() == 1) return;
  RankTraffic most;
  for (const RankEstimate& rank : layout.ranks) {
    most.replicas = std::max(most.replicas, rank.traffic.replicas);
    most.pipeline = std::max(most.pipeline, rank.traffic.pipeline);
    most.context = std::max(most.context, rank.traffic.context);
    most.tensor = std::max(most.tensor, rank.traffic.tensor);
  }
  std::string sent;
  const auto add = [&](const char* name, double bytes) {
    if (bytes == 0) return;
    sent += fmt::format("{}{} {}", sent.empty() ? "" : ", ", name,
                        readable_bytes(static_cast<std::int64_t>(bytes)));
  };
  add("replicas", most.replicas);
  add("pipeline", most.pipeline);
  add("context", most.context);
  add("tensor", most.tensor);
  if (!sent.empty()) out.row("sent in a step", "about " + sent + ", by a rank");
}

void add_data(const RunPage& page, StartPage& out) {
  out.section("data");
  for (int source = 0; source < page.data.sources(); ++source) {
    out.row(page.data.source_name(source),
            fmt::format("{} tokens to train on, {:.1f}% of the first batches, {:.3g} passes by "
                        "the last step",
                        readable_count(page.data.train_tokens(source)),
                        100 * page.data.mixture().share(source, 0),
                        page.data.epochs_at(source, page.last_sample)));
  }
  for (const EvaluationSet& set : page.data.validation()) {
    out.row(set.name() + " validation",
            readable_count(set.tokens()) + " tokens" +
                (set.begins_inside_document() ? ", the end of a document that is trained on" : ""));
  }
}

// "wsd: 0.002 at step 11, 0.0002 at step 100". Growth stages may change it on the way.
std::string describe_schedule(const RunPage& page) {
  const ScheduleConfig& schedule = page.config.schedule;
  const std::int64_t steps = page.config.train.steps;
  const std::int64_t length = schedule.length(steps);
  const std::int64_t highest = std::clamp<std::int64_t>(schedule.warmup_steps, 1, steps);
  std::string text = fmt::format("{}: {:.3g} at step {}, {:.3g} at step {}", schedule.name,
                                 page.timeline.learning_rate(highest - 1), highest,
                                 page.timeline.learning_rate(steps - 1), steps);
  if (length != steps) text += "; laid out over " + counted(length, "step");
  return text;
}

void add_run(const RunPage& page, StartPage& out) {
  const TrainConfig& train = page.config.train;
  out.section("run");
  add_layout(page, out);
  out.row("device", describe_device(page.device));
  std::string compute(name_of(page.compute));
  if (page.compute != page.config.precision.compute_type()) {
    compute += fmt::format(" (the processor has no {} arithmetic)", page.config.precision.compute);
  }
  out.row("compute", compute);
  out.row(page.layout.mesh.ranks() == 1 ? "peak" : "peak of all ranks", page.peak.str());
  out.row("batch",
          fmt::format("{} of {}, {} a rank at a time", counted(train.global_batch_size, "sequence"),
                      counted(page.config.data.sequence_length, "token"), train.micro_batch_size));
  out.row("steps", readable_count(train.steps));
  out.row("learning rate", describe_schedule(page));
  out.row("folder", page.config.run_dir);
}

// What is being faded in, and the stages that are to come.
void add_growth(const RunPage& page, StartPage& out) {
  out.section("growth");
  if (page.ramp) {
    out.row("faded in", fmt::format("from step {} to step {}", page.ramp->first_step,
                                    page.ramp->first_step + page.ramp->steps));
  }
  for (std::int64_t i = page.stages_done; i < page.timeline.stages(); ++i) {
    const std::int64_t before = parameter_count(page.timeline.model(i));
    const std::int64_t after = parameter_count(page.timeline.model(i + 1));
    out.row(fmt::format("stage {}", i + 1),
            fmt::format("at step {}: {} -> {} parameters", page.timeline.stage_step(i),
                        readable_number(before), readable_number(after)));
  }
}

}  // namespace

HeldMemory held_memory(const Run& run, const TrainedModel& model) {
  const GradientBuckets::Held held = model.buckets.held();
  const auto most = [&](std::size_t bytes) {
    return run.world().all_reduce(static_cast<std::int64_t>(bytes), Reduction::max);
  };
  return {.parameters = most(held.values),
          .gradients = most(held.gradients),
          .optimizer = most(model.optimizer.bytes()),
          .activations = run.device().type == DeviceType::cpu
                             ? 0
                             : most(run.arena().capacity() + model.step.held_bytes())};
}

std::string run_page(const RunPage& page) {
  StartPage out;
  add_model(page, out);
  add_memory(page, out);
  add_data(page, out);
  add_run(page, out);
  add_growth(page, out);
  return out.str();
}

}  // namespace gda
