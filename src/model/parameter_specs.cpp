#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gda/model/parameters.h"

namespace gda {
namespace {

class SpecBuilder {
 public:
  explicit SpecBuilder(const ModelConfig& config)
      : config_(config),
        stddev_(config.initializer_range),
        // The two matrices that write to the residual stream start smaller, so that its variance
        // does not grow with depth (GPT-2).
        residual_stddev_(config.initializer_range /
                         std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers))) {}

  std::vector<ParameterSpec> build() {
    const std::int64_t hidden = config_.hidden_size;
    matrix(kEmbeddingName, config_.vocab_size, hidden, stddev_, 0);
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) add_layer(layer);
    layer_ = -1;
    prefix_.clear();
    vector(kFinalNormName, hidden, {.value = 1});
    if (!config_.tie_word_embeddings) {
      matrix(kHeadName, config_.vocab_size, hidden, stddev_, 0);
    }
    return std::move(specs_);
  }

 private:
  void add_layer(std::int64_t layer) {
    layer_ = layer;
    prefix_ = fmt::format("model.layers.{}.", layer);
    vector("input_layernorm.weight", config_.hidden_size, {.value = 1});
    add_attention();
    vector("post_attention_layernorm.weight", config_.hidden_size, {.value = 1});
    add_feed_forward();
  }

  void add_attention() {
    const AttentionConfig& attention = config_.attention;
    const std::int64_t hidden = config_.hidden_size;
    matrix("self_attn.q_proj.weight", attention.q_size(), hidden, stddev_, 0);
    matrix("self_attn.k_proj.weight", attention.k_size(), hidden, stddev_, 0);
    matrix("self_attn.v_proj.weight", attention.v_size(), hidden, stddev_, 0);
    if (attention.type == AttentionType::differential_v2) {
      matrix("self_attn.lambda_proj.weight", attention.num_attention_heads, hidden, stddev_, 0);
    }
    matrix("self_attn.o_proj.weight", hidden, attention.out_size(), residual_stddev_, 1);
    if (attention.is_differential()) {
      constexpr double kLambdaStddev = 0.1;  // arXiv 2410.05258, section 2.1
      for (const char* name : {"lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"}) {
        vector(fmt::format("self_attn.{}", name), attention.head_dim, {.stddev = kLambdaStddev});
      }
      vector("self_attn.subln.weight", attention.value_dim(), {.value = 1});
    }
  }

  void add_feed_forward() {
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t inner = config_.intermediate_size;
    matrix("mlp.gate_proj.weight", inner, hidden, stddev_, 0);
    matrix("mlp.up_proj.weight", inner, hidden, stddev_, 0);
    matrix("mlp.down_proj.weight", hidden, inner, residual_stddev_, 1);
    if (config_.hidden_act == Activation::poly_norm) {
      vector("mlp.act_fn.weight", 3, {.value = 1.0 / 3.0});
      vector("mlp.act_fn.bias", 1, {.value = 0});
    }
  }

  void matrix(std::string_view name, std::int64_t rows, std::int64_t columns, double stddev,
              int partition_axis) {
    specs_.push_back({.name = fmt::format("{}{}", prefix_, name),
                      .shape = {rows, columns},
                      .init = {.stddev = stddev},
                      .decay = true,
                      .partition_axis = partition_axis,
                      .layer = layer_});
  }

  void vector(std::string_view name, std::int64_t size, Initializer init) {
    specs_.push_back({.name = fmt::format("{}{}", prefix_, name),
                      .shape = {size},
                      .init = init,
                      .layer = layer_});
  }

  const ModelConfig& config_;
  double stddev_;
  double residual_stddev_;
  std::int64_t layer_ = -1;
  std::string prefix_;
  std::vector<ParameterSpec> specs_;
};

}  // namespace

std::vector<ParameterSpec> parameter_specs(const ModelConfig& config) {
  return SpecBuilder(config).build();
}

std::int64_t parameter_count(const ModelConfig& config) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) total += spec.shape.elements();
  return total;
}

std::int64_t lowest_trained_layer(const ModelConfig& config,
                                  const std::vector<ParameterSpec>& specs) {
  std::int64_t lowest = config.num_hidden_layers;
  for (const ParameterSpec& spec : specs) {
    if (!spec.trainable) continue;
    if (spec.name == kEmbeddingName) return 0;
    if (spec.layer >= 0) lowest = std::min(lowest, spec.layer);
  }
  return lowest;
}

FlopsPerToken training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length,
                                       const std::vector<ParameterSpec>& specs) {
  const std::int64_t lowest = lowest_trained_layer(config, specs);
  double numbers = 0;  // whose product for a gradient is spared, weights' and inputs' counted apart
  for (const ParameterSpec& spec : specs) {
    const auto count = static_cast<double>(spec.shape.elements());
    const bool multiplied = spec.name != kEmbeddingName || config.tie_word_embeddings;
    if (multiplied && !spec.trainable) numbers += count;
    if (spec.layer >= 0 && spec.layer < lowest) numbers += count;
  }
  const AttentionConfig& a = config.attention;
  const double core = static_cast<double>(lowest * a.query_heads() * sequence_length) *
                      static_cast<double>(2 * a.head_dim + 2 * a.value_dim());
  const FlopsPerToken whole = training_flops_per_token(config, sequence_length);
  return {.full = whole.full - 2 * numbers - 2 * core, .causal = whole.causal - 2 * numbers - core};
}

}  // namespace gda
