#include <gtest/gtest.h>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/train/rank_layout.h"
#include "gda/train/run_config.h"
#include "support/temporary_folder.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

// Six layers of four K/V groups.
const std::string kSixLayers = R"(model:
  hidden_size: 64
  num_hidden_layers: 6
  intermediate_size: 96
  vocab_size: 128
  attention: {signal_heads: 12, noise_heads: 4, num_key_value_heads: 8, head_dim: 16}
data:
  sources: [{name: en, path: data/en}]
  sequence_length: 32
train: {steps: 10, global_batch_size: 32, micro_batch_size: 2}
run_dir: runs/x
)";

std::string layout_error(const std::vector<std::string>& overrides, std::int64_t ranks = 0) {
  const fs::path path = test::process_folder() / "layout.yaml";
  write_text_file_atomically(path, kSixLayers);
  try {
    load_run_config(path, overrides, ranks);
  } catch (const ConfigError& error) {
    std::string message = error.what();
    const std::string origin = "command line: ";
    if (message.starts_with(origin)) return message.substr(origin.size());
    if (message.starts_with(path.string())) return message.substr(path.string().size() + 1);
    return message;
  }
  return "(no error)";
}

TEST(LayoutRules, WhatFitsIsTaken) {
  EXPECT_EQ(layout_error({"parallel.tensor=4", "parallel.context=2"}), "(no error)");
  EXPECT_EQ(layout_error({"parallel.tensor=2", "parallel.context=2", "parallel.pipeline=3",
                          "parallel.zero_stage=3"},
                         24),
            "(no error)");
  EXPECT_EQ(
      layout_error(
          {"parallel.pipeline=2", "parallel.virtual_stages=3", "parallel.schedule=interleaved"}, 4),
      "(no error)");
  EXPECT_EQ(layout_error({"parallel.pipeline=3", "parallel.schedule=zero-bubble",
                          "parallel.stage_layers=[3, 2, 1]"}),
            "(no error)");
}

TEST(LayoutRules, TensorRanksDivideGroupsUnitsAndTokens) {
  EXPECT_EQ(layout_error({"parallel.tensor=3", "data.sequence_length=30"}),
            "parallel.tensor: model.attention.num_key_value_heads: 4 K/V groups, of a signal and a "
            "noise head each, do not divide over 3 tensor-parallel ranks; the nearest numbers of "
            "ranks that suit this model: 2 and 4");
  EXPECT_EQ(layout_error({"parallel.tensor=4", "model.intermediate_size=98"}),
            "parallel.tensor: model.intermediate_size: 98 units do not divide over 4 "
            "tensor-parallel ranks; the nearest numbers of ranks that suit this model: 2");
  EXPECT_EQ(layout_error({"parallel.tensor=4", "data.sequence_length=30"}),
            "data.sequence_length: 30 tokens cannot be cut over 1 context rank times 4 "
            "tensor-parallel ranks: a multiple of 4 is needed, such as 28 or 32");
}

TEST(LayoutRules, ContextRanksDivideTokensAndForUlyssesGroups) {
  EXPECT_EQ(
      layout_error({"parallel.tensor=2", "parallel.context=4", "parallel.context_method=ulysses"}),
      "parallel.context: 4 K/V groups do not divide over 4 context ranks times 2 "
      "tensor-parallel ranks, as ulysses needs; the nearest that suit: 2; or give "
      "parallel.context_method: gather");
  EXPECT_EQ(layout_error({"parallel.context=8", "data.sequence_length=24"}),
            "data.sequence_length: 24 tokens cannot be cut over 8 context ranks times 1 "
            "tensor-parallel rank, in two pieces each (gather): a multiple of 16 is needed, such "
            "as 16 or 32");
  EXPECT_EQ(layout_error({"parallel.context=4", "data.sequence_length=20"}), "(no error)");
  EXPECT_EQ(layout_error({"parallel.context=4", "data.sequence_length=20",
                          "parallel.context_method=gather"}),
            "data.sequence_length: 20 tokens cannot be cut over 4 context ranks times 1 "
            "tensor-parallel rank, in two pieces each (gather): a multiple of 8 is needed, such as "
            "16 or 24");
}

TEST(LayoutRules, StagesHaveLayers) {
  EXPECT_EQ(layout_error({"parallel.pipeline=7"}),
            "parallel.pipeline: a model of 6 layers cannot be cut into 7 stages: give at most 6");
  EXPECT_EQ(layout_error({"parallel.pipeline=2", "parallel.stage_layers=[6]"}),
            "parallel.stage_layers: [6]: 1 number for 2 stages (pipeline 2 times virtual_stages "
            "1); give one for each");
  EXPECT_EQ(layout_error({"parallel.pipeline=2", "parallel.stage_layers=[6, 0]"}),
            "parallel.stage_layers: [6, 0]: every stage needs at least one layer");
  EXPECT_EQ(layout_error({"parallel.pipeline=2", "parallel.stage_layers=[3, 2]"}),
            "parallel.stage_layers: [3, 2] are 5 layers, and the model has 6; give others, or "
            "none, so that any model is cut evenly");
}

TEST(LayoutRules, ModelsThatGrowthMakesAreCutToo) {
  const std::string deeper =
      "growth.stages=[{step: 5, plan: {steps: [{operator: depth, every: 3}]}}]";
  EXPECT_EQ(layout_error({deeper, "parallel.pipeline=2"}), "(no error)");
  EXPECT_EQ(layout_error({deeper, "parallel.pipeline=2", "parallel.stage_layers=[3, 3]"}),
            "parallel.stage_layers: after growth stage 1: [3, 3] are 6 layers, and the model has "
            "8; give others, or none, so that any model is cut evenly");
}

TEST(LayoutRules, SchedulesAreOfPipelines) {
  EXPECT_EQ(layout_error({"parallel.schedule=zero-bubble"}),
            "parallel.schedule: zero-bubble orders the work of a pipeline, and parallel.pipeline "
            "is 1; give 1f1b, or a pipeline of 2 or more");
  EXPECT_EQ(layout_error({"parallel.pipeline=2", "parallel.virtual_stages=2"}),
            "parallel.virtual_stages: 2, but schedule is 1f1b, which has one stage of each "
            "process; give 1, or schedule: interleaved");
  EXPECT_EQ(layout_error({"parallel.pipeline=2", "parallel.schedule=interleaved"}),
            "parallel.virtual_stages: 1, but schedule is interleaved, which has several stages of "
            "each process; give 2 or more, or schedule: 1f1b");
}

TEST(LayoutRules, ProcessesAreWholeModels) {
  EXPECT_EQ(layout_error({"parallel.tensor=2", "parallel.pipeline=3"}, 8),
            "parallel: 8 processes cannot be cut into models of 6 ranks, tensor 2 times pipeline 3 "
            "times context 1; the nearest numbers of processes: 6 or 12");
  EXPECT_EQ(layout_error({"parallel.tensor=4"}, 2),
            "parallel: 2 processes cannot be cut into models of 4 ranks, tensor 4 times pipeline 1 "
            "times context 1; the nearest numbers of processes: 4");
}

TEST(LayoutRules, BatchesAreOfDataParallelRanksAlone) {
  // 32 sequences over 16 models of four processes.
  EXPECT_EQ(layout_error({"parallel.tensor=4"}, 64), "(no error)");
  EXPECT_EQ(
      layout_error({"parallel.tensor=4"}, 12),
      "10: train.global_batch_size: 32 sequences cannot be split over 3 data-parallel ranks in "
      "micro-batches of 2: a multiple of 6 is needed, such as 30 or 36");
  const std::vector<std::string> interleaved = {"parallel.pipeline=3", "parallel.virtual_stages=2",
                                                "parallel.schedule=interleaved"};
  EXPECT_EQ(
      layout_error(interleaved, 3),
      "10: train.global_batch_size: 32 sequences cannot be split over 1 data-parallel rank in "
      "micro-batches of 2 in rounds of 3 (parallel.pipeline): a multiple of 6 is needed, such "
      "as 30 or 36");
  EXPECT_EQ(
      layout_error({"parallel.pipeline=2", "parallel.virtual_stages=2",
                    "parallel.schedule=interleaved",
                    "train.batch_ramp=[{step: 0, value: 6}, {step: 5, value: 32}]"}),
      "train.batch_ramp: 6 sequences cannot be split over 1 data-parallel rank in "
      "micro-batches of 2 in rounds of 2 (parallel.pipeline): a multiple of 4 is needed, such "
      "as 4 or 8");
}

TEST(LayoutRules, GraphsAreOfComputationAlone) {
  EXPECT_EQ(layout_error({"train.cuda_graphs=true", "parallel.tensor=2"}),
            "train.cuda_graphs: parallel.tensor is 2: ranks exchange data within every "
            "micro-batch, and a graph holds computation alone; give false");
  EXPECT_EQ(layout_error({"train.cuda_graphs=true", "parallel.pipeline=2"}),
            "train.cuda_graphs: parallel.pipeline is 2: micro-batches alternate forward and "
            "backward, and a graph holds computation alone; give false");
  EXPECT_EQ(layout_error({"train.cuda_graphs=true"}), "(no error)");
}

TEST(RankLayout, ChunkCOfRankPIsStageCTimesRanksPlusP) {
  ModelConfig model;
  model.num_hidden_layers = 7;
  ParallelConfig parallel;
  parallel.tensor = 2;
  parallel.pipeline = 2;
  parallel.virtual_stages = 2;
  parallel.stage_layers = {1, 2, 3, 1};
  EXPECT_EQ(
      rank_layout(model, parallel, 1, 1),
      (std::vector<Placement>{{.stage = {{1, 3}, false, false}, .tensor = 1, .tensor_size = 2},
                              {.stage = {{6, 7}, false, true}, .tensor = 1, .tensor_size = 2}}));
  EXPECT_EQ(rank_layout(model, parallel, 0, 0).front().stage, (Stage{{0, 1}, true, false}));
  parallel.stage_layers.clear();
  EXPECT_EQ(pipeline_stages(model, parallel), cut_into_stages(model, 4));
}

}  // namespace
}  // namespace gda
