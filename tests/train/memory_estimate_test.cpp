#include "gda/train/memory_estimate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "gda/core/error.h"
#include "gda/core/memory.h"
#include "gda/model/decoder.h"
#include "gda/ops/elementwise.h"
#include "gda/optim/optimizer.h"
#include "gda/train/run_config.h"

namespace gda {
namespace {

constexpr std::int64_t kEstimatedRows = 2 * 32;  // of a micro-batch

RunConfig estimated_run(AttentionType type, Recompute recompute) {
  RunConfig config;
  config.run_dir = "x";
  config.model.hidden_size = 64;
  config.model.num_hidden_layers = 4;
  config.model.intermediate_size = 96;
  config.model.vocab_size = 32;
  const bool pairs =
      type == AttentionType::differential || type == AttentionType::grouped_differential;
  AttentionConfig& attention = config.model.attention;
  attention.type = type;
  attention.head_dim = 16;
  attention.num_key_value_heads = pairs ? 8 : 4;
  if (pairs) {
    attention.signal_heads = type == AttentionType::differential ? 4 : 12;
    attention.noise_heads = 4;
  } else {
    attention.num_attention_heads = 8;
  }
  config.data.sources.resize(1);
  config.data.sources[0].name = "en";
  config.data.sources[0].path = "x";
  config.data.sequence_length = 32;
  config.train.steps = 1;
  config.train.global_batch_size = 16;
  config.train.micro_batch_size = 2;
  config.train.recompute = recompute;
  config.precision.compute = ComputePrecision::fp64;
  config.eval.every_steps = 0;
  config.device = WantedDevice::cpu;
  config.validate();
  return config;
}

RankEstimate estimate_of_one_rank(const RunConfig& config) {
  return estimate_layout(config, config.model, 1).ranks.front();
}

// The most memory that a micro-batch takes.
double measured_bytes(const RunConfig& config) {
  const ParameterStore parameters(parameter_specs(config.model), DType::f64, 1, true);
  Decoder decoder(config.model, parameters, config.train.recompute);
  Arena arena;
  arena.reserve(std::size_t{64} << 20);
  const Context context{.stream = {}, .arena = arena};
  const std::int64_t rows = config.train.micro_batch_size * config.data.sequence_length;
  const OwnedTensor ids(DType::i32, {rows});
  const OwnedTensor loss(DType::f64, {rows});
  fill_zero(context, ids.tensor);
  const SequenceBatch batch{.batch = config.train.micro_batch_size,
                            .length = config.data.sequence_length,
                            .token = ids.tensor,
                            .position = ids.tensor,
                            .first_key = {}};
  decoder.forward_backward(context, batch, ids.tensor, 1, loss.tensor);
  return static_cast<double>(arena.peak());
}

// In fp64 operators are plain loops, which take nothing. What formulas leave out: the last norm's
// factor of each row, and each layer's lambda and the gradient of one, in 64 bytes each.
TEST(MemoryEstimate, IsWhatAMicroBatchTakes) {
  for (const AttentionType type :
       {AttentionType::softmax, AttentionType::differential, AttentionType::grouped_differential,
        AttentionType::differential_v2}) {
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      const RunConfig config = estimated_run(type, recompute);
      const RankMemory memory = estimate_of_one_rank(config).memory;
      const double estimate = memory.activations + memory.working;
      const double taken = measured_bytes(config);
      EXPECT_GE(taken, estimate) << word_of(type) << ' ' << word_of(recompute);
      EXPECT_LE(taken, estimate + 8 * kEstimatedRows + 64 * 5)
          << word_of(type) << ' ' << word_of(recompute);
    }
  }
}

TEST(MemoryEstimate, IsWhatParametersTake) {
  const RunConfig config = estimated_run(AttentionType::softmax, Recompute::none);
  const ParameterStore parameters(parameter_specs(config.model), DType::f64, 1, true);
  const RankEstimate estimate = estimate_of_one_rank(config);
  EXPECT_EQ(estimate.elements, parameters.count());
  EXPECT_EQ(estimate.memory.parameters, 8.0 * static_cast<double>(parameters.count()));
  EXPECT_EQ(estimate.memory.gradients, 8.0 * static_cast<double>(parameters.count()));
  EXPECT_EQ(estimate.memory.optimizer, 16.0 * static_cast<double>(parameters.count()));
}

TEST(MemoryEstimate, ZeroCutsWhatFourReplicasShare) {
  RunConfig config = estimated_run(AttentionType::softmax, Recompute::none);
  config.train.micro_batch_size = 1;
  const RankEstimate whole = estimate_layout(config, config.model, 4).ranks.front();
  EXPECT_EQ(whole.memory.optimizer, estimate_of_one_rank(config).memory.optimizer / 4);

  // Vocabulary, layers and vectors: 64 (32 + 32), 4 (64 (3 96 + 128 + 64 + 64 + 128)), 9 64.
  const double table = 64 * 32;
  const double layer = 64.0 * (3 * 96 + 128 + 64 + 64 + 128);
  const double vectors = 9 * 64;
  const double all = 2 * table + 4 * layer + vectors;
  ASSERT_EQ(static_cast<double>(whole.elements), all);
  config.parallel.zero_stage = 2;
  const RankMemory two = estimate_layout(config, config.model, 4).ranks.front().memory;
  EXPECT_EQ(two.gradients, 8 * (all / 4 + 2 * layer + table + vectors));
  EXPECT_EQ(two.parameters, whole.memory.parameters);
  config.parallel.zero_stage = 3;
  const LayoutEstimate layout = estimate_layout(config, config.model, 4);
  const RankEstimate& three = layout.ranks.front();
  EXPECT_EQ(three.memory.gradients, two.gradients);
  EXPECT_EQ(three.memory.parameters, 8 * ((all - vectors) / 4 + 2 * layer + table + vectors));
  // Of four layers two are still there at each turn, but for the first.
  const auto k = static_cast<double>(layout.micro_batches);
  EXPECT_EQ(three.traffic.replicas,
            8 * 0.75 * (k * all + 2 * k * 2 * layer + 2 * layer + k * 2 * table));

  config.model.tie_word_embeddings = true;
  const RankMemory tied = estimate_layout(config, config.model, 4).ranks.front().memory;
  EXPECT_EQ(tied.parameters, 8 * (4 * layer / 4 + 2 * layer + table + vectors));
}

TEST(MemoryEstimate, TensorRanksShareLayersAndTheStream) {
  RunConfig config = estimated_run(AttentionType::grouped_differential, Recompute::selective);
  const RankEstimate one = estimate_of_one_rank(config);
  config.parallel.tensor = 4;
  const LayoutEstimate layout = estimate_layout(config, config.model, 4);
  const RankEstimate& four = layout.ranks.front();
  EXPECT_EQ(four.memory.activations, one.memory.activations / 4);
  EXPECT_EQ(four.memory.communication, 2.0 * kEstimatedRows * 64 * 8);
  // Eight micro-batches through four layers, the embedding and the head.
  EXPECT_EQ(layout.micro_batches, 8);
  EXPECT_EQ(four.traffic.tensor, 8.0 * (4 * 10 + 4) * kEstimatedRows * 64 * 8 * 3 / 4);
  EXPECT_EQ(one.traffic.tensor, 0);
}

TEST(MemoryEstimate, StagesKeepWhatTheirScheduleHasOnTheWay) {
  RunConfig config = estimated_run(AttentionType::softmax, Recompute::full);
  config.parallel.pipeline = 4;
  const double stream = 8.0 * kEstimatedRows * 64;
  const LayoutEstimate plain = estimate_layout(config, config.model, 4);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    const RankEstimate& estimate = plain.ranks[rank];
    EXPECT_EQ(estimate.memory.activations, static_cast<double>(4 - rank) * 2 * stream);
    EXPECT_EQ(estimate.traffic.pipeline, 8 * stream * (rank == 0 || rank == 3 ? 1 : 2));
  }
  EXPECT_DOUBLE_EQ(plain.bubble, 3.0 / 8);
  config.parallel.schedule = PipelineSchedule::zero_bubble;
  const LayoutEstimate deferred = estimate_layout(config, config.model, 4);
  EXPECT_DOUBLE_EQ(deferred.bubble, 1.0 / 8);
  EXPECT_GT(deferred.ranks[3].memory.activations, plain.ranks[3].memory.activations);
}

TEST(MemoryEstimate, ShippedLayoutsFitDevicesOf80GB) {
  const auto most = [](const char* name, std::int64_t ranks) {
    const RunConfig config =
        load_run_config(std::filesystem::path(GDA_CONFIGS_DIR) / name, {}, ranks);
    double bytes = 0;
    for (const RankEstimate& rank : estimate_layout(config, config.model, ranks).ranks) {
      bytes = std::max(bytes, rank.memory.total());
    }
    return bytes;
  };
  constexpr double kLeft = 75e9;  // libraries and the driver take some
  EXPECT_LT(most("motif-2-12.7b.yaml", 64), kLeft);
  EXPECT_LT(most("llama-3-motif-102b.yaml", 512), kLeft);
}

}  // namespace
}  // namespace gda
