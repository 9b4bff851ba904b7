#include "gda/train/memory_estimate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gda/core/error.h"
#include "gda/core/memory.h"
#include "gda/model/decoder.h"
#include "gda/ops/elementwise.h"
#include "gda/optim/optimizer.h"
#include "gda/train/run_config.h"

namespace gda {
namespace {

RunConfig small_run(AttentionType type, Recompute recompute) {
  RunConfig config;
  config.run_dir = "x";
  config.model = {
      .hidden_size = 64, .num_hidden_layers = 4, .intermediate_size = 96, .vocab_size = 32};
  const bool pairs =
      type == AttentionType::differential || type == AttentionType::grouped_differential;
  config.model.attention = {.type = type,
                            .head_dim = 16,
                            .num_attention_heads = pairs ? 0 : 8,
                            .signal_heads = !pairs                                ? 0
                                            : type == AttentionType::differential ? 4
                                                                                  : 12,
                            .noise_heads = pairs ? 4 : 0,
                            .num_key_value_heads = pairs ? 8 : 4};
  config.data.sources = {{.name = "en", .path = "x"}};
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

RankEstimate one_rank(const RunConfig& config) {
  return estimate_layout(config, config.model, 1).ranks.front();
}

// The most memory that a micro-batch takes.
double measured(const RunConfig& config) {
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

// In fp64 operators are plain loops, which take next to nothing. What formulas leave out: rows'
// statistics of the loss, and up to 255 bytes of padding for each of some 20 tensors a layer.
TEST(MemoryEstimate, IsWhatAMicroBatchTakes) {
  for (const AttentionType type :
       {AttentionType::softmax, AttentionType::differential, AttentionType::grouped_differential,
        AttentionType::differential_v2}) {
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      const RunConfig config = small_run(type, recompute);
      const RankMemory memory = one_rank(config).memory;
      const double estimate = memory.activations + memory.working;
      const double taken = measured(config);
      std::printf("%s %s: %.0f %.0f\n", std::string(word_of(type)).c_str(),
                  std::string(word_of(recompute)).c_str(), estimate, taken);
      EXPECT_GE(taken, estimate) << type << recompute;
      EXPECT_LE(taken, estimate * 1.02 + 256 * 20 * 5) << type << recompute;
    }
  }
}

}  // namespace
}  // namespace gda
