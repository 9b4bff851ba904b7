#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "gda/core/text.h"
#include "gda/report/readable.h"
#include "gda/train/memory_estimate.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

std::string bytes(double count) {
  return readable_bytes(static_cast<std::int64_t>(count));
}

std::string line(std::string_view name, const std::string& text) {
  return fmt::format("{:<22}{}\n", name, text);
}

std::string layers_of(const LayoutEstimate& estimate) {
  std::string text;
  for (const Stage& stage : estimate.stages) {
    text += fmt::format("{}{}", text.empty() ? "" : " ", stage.layers.size());
  }
  return text;
}

std::string mesh_lines(const RunConfig& config, const LayoutEstimate& estimate) {
  const MeshShape& mesh = estimate.mesh;
  std::string text = line("model", readable_number(estimate.parameters) + " parameters");
  text += line("processes",
               fmt::format("{} = pipeline {} x data {} x context {} x tensor {}", mesh.ranks(),
                           mesh.pipeline, mesh.data, mesh.context, mesh.tensor));
  text += line("batch", fmt::format("{} = {} of {} on each of {}",
                                    counted(config.train.global_batch_size, "sequence"),
                                    counted(estimate.micro_batches, "micro-batch"),
                                    config.train.micro_batch_size,
                                    counted(mesh.data, "data-parallel rank")));
  if (mesh.context > 1) text += line("context", std::string(word_of(estimate.method)));
  text += line("ZeRO stage", fmt::format("{} over {}", config.parallel.zero_stage,
                                         counted(mesh.data * mesh.context, "rank")));
  if (mesh.pipeline == 1) return text;
  text += line("schedule",
               fmt::format("{}, bubble {:.1f} %", config.parallel.schedule, 100 * estimate.bubble));
  text += line("layers of each stage", layers_of(estimate));
  std::string kept;
  for (const PipelineKept& of_rank : estimate.kept) {
    kept += fmt::format("{}{}", kept.empty() ? "" : " ", of_rank.with_deferred);
  }
  return text + line("micro-batches kept", kept);
}

std::string memory_lines(const LayoutEstimate& estimate) {
  const auto fullest = std::max_element(estimate.ranks.begin(), estimate.ranks.end(),
                                        [](const RankEstimate& a, const RankEstimate& b) {
                                          return a.memory.total() < b.memory.total();
                                        });
  const RankMemory& memory = fullest->memory;
  std::string text = fmt::format(
      "\nThe fullest process holds {} parameters{}:\n", readable_number(fullest->elements),
      estimate.ranks.size() > 1
          ? fmt::format(" (pipeline rank {})", fullest - estimate.ranks.begin())
          : "");
  text += line("  parameters", bytes(memory.parameters));
  text += line("  gradients", bytes(memory.gradients));
  text += line("  optimizer", bytes(memory.optimizer));
  text += line("  activations", bytes(memory.activations));
  text += line("  working memory", bytes(memory.working));
  text += line("  communication", bytes(memory.communication));
  return text + line("  together", bytes(memory.total()));
}

std::string traffic_lines(const LayoutEstimate& estimate) {
  const auto most = [&](double RankTraffic::*axis) {
    double bytes = 0;
    for (const RankEstimate& rank : estimate.ranks) bytes = std::max(bytes, rank.traffic.*axis);
    return bytes;
  };
  std::string text = "\nThe most that a process sends in a step:\n";
  const auto add = [&](std::string_view name, double RankTraffic::*axis, int ranks) {
    if (ranks > 1) text += line(name, bytes(most(axis)));
  };
  const MeshShape& mesh = estimate.mesh;
  add("  tensor", &RankTraffic::tensor, mesh.tensor);
  add("  context", &RankTraffic::context, mesh.context);
  add("  data", &RankTraffic::replicas, mesh.data * mesh.context);
  add("  pipeline", &RankTraffic::pipeline, mesh.pipeline);
  return mesh.ranks() > 1 ? text : "";
}

std::string schedule_lines(const RunConfig& config, const LayoutEstimate& estimate) {
  const int ranks = estimate.mesh.pipeline;
  const int drawn = static_cast<int>(std::min<std::int64_t>(estimate.micro_batches, 2 * ranks));
  const PipelineTable table = make_pipeline_table(
      config.parallel.schedule, ranks, static_cast<int>(config.parallel.virtual_stages), drawn);
  return fmt::format("\n{} of {}, forward and both halves of backward of equal length:\n{}",
                     counted(drawn, "micro-batch"), estimate.micro_batches, draw(table));
}

std::string page_of(const RunConfig& config, const ModelConfig& model, std::int64_t ranks,
                    bool with_schedule) {
  const LayoutEstimate estimate = estimate_layout(config, model, ranks);
  std::string text =
      mesh_lines(config, estimate) + memory_lines(estimate) + traffic_lines(estimate);
  if (with_schedule) text += schedule_lines(config, estimate);
  return text;
}

}  // namespace

std::string layout_page(const RunConfig& config, std::int64_t ranks, bool with_schedule) {
  std::string text = page_of(config, config.model, ranks, with_schedule);
  const RunTimeline timeline(config);
  if (timeline.stages() == 0) return text;
  return text + fmt::format("\nAfter growth stage {}:\n", timeline.stages()) +
         page_of(config, timeline.model(timeline.stages()), ranks, false);
}

}  // namespace gda
