#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gda/model/parameter_spec.h"

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
    matrix(kEmbeddingName, Role::embedding, config_.vocab_size, hidden);
    if (config_.tie_word_embeddings) specs_.back().completion = Completion::tied;
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) add_layer(layer);
    layer_ = -1;
    prefix_.clear();
    vector(kFinalNormName, Role::final_norm, hidden, {.value = 1});
    if (!config_.tie_word_embeddings) {
      matrix(kHeadName, Role::head, config_.vocab_size, hidden);
    }
    return std::move(specs_);
  }

 private:
  void add_layer(std::int64_t layer) {
    layer_ = layer;
    prefix_ = fmt::format("model.layers.{}.", layer);
    vector("input_layernorm.weight", Role::norm, config_.hidden_size, {.value = 1});
    add_attention();
    vector("post_attention_layernorm.weight", Role::norm, config_.hidden_size, {.value = 1});
    add_feed_forward();
  }

  void add_attention() {
    const AttentionConfig& attention = config_.attention;
    const std::int64_t hidden = config_.hidden_size;
    matrix("self_attn.q_proj.weight", Role::query, attention.q_size(), hidden);
    matrix("self_attn.k_proj.weight", Role::key, attention.k_size(), hidden);
    matrix("self_attn.v_proj.weight", Role::value, attention.v_size(), hidden);
    if (attention.type == AttentionType::differential_v2) {
      matrix("self_attn.lambda_proj.weight", Role::lambda_projection, attention.num_attention_heads,
             hidden);
    }
    matrix("self_attn.o_proj.weight", Role::output, hidden, attention.out_size());
    if (attention.is_differential()) {
      constexpr double kLambdaStddev = 0.1;  // arXiv 2410.05258, section 2.1
      for (const char* name : {"lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"}) {
        vector(fmt::format("self_attn.{}", name), Role::head_vector, attention.head_dim,
               {.stddev = kLambdaStddev});
      }
      vector("self_attn.subln.weight", Role::head_vector, attention.value_dim(), {.value = 1});
    }
  }

  void add_feed_forward() {
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t inner = config_.intermediate_size;
    matrix("mlp.gate_proj.weight", Role::gate, inner, hidden);
    matrix("mlp.up_proj.weight", Role::up, inner, hidden);
    matrix("mlp.down_proj.weight", Role::down, hidden, inner);
    if (config_.hidden_act == Activation::poly_norm) {
      vector("mlp.act_fn.weight", Role::activation_weight, 3, {.value = 1.0 / 3.0});
      vector("mlp.act_fn.bias", Role::activation_bias, 1, {.value = 0});
    }
  }

  void matrix(std::string_view name, Role role, std::int64_t rows, std::int64_t columns) {
    specs_.push_back({.name = fmt::format("{}{}", prefix_, name),
                      .role = role,
                      .shape = {rows, columns},
                      .init = {.stddev = writes_hidden(role) ? residual_stddev_ : stddev_},
                      .decay = true,
                      .cut = writes_hidden(role) ? Cut::columns : Cut::rows,
                      .completion = Completion::cut,
                      .layer = layer_});
  }

  // Norms of the residual stream see the tokens of a rank, everything else its heads or channels.
  void vector(std::string_view name, Role role, std::int64_t size, Initializer init) {
    const bool is_norm = role == Role::norm || role == Role::final_norm;
    specs_.push_back(
        {.name = fmt::format("{}{}", prefix_, name),
         .role = role,
         .shape = {size},
         .init = init,
         .completion = is_norm ? Completion::partial_by_token : Completion::partial_by_head,
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

bool reads_hidden(Role role) {
  switch (role) {
    case Role::query:
    case Role::key:
    case Role::value:
    case Role::lambda_projection:
    case Role::gate:
    case Role::up:
    case Role::head:
      return true;
    default:
      return false;
  }
}

bool writes_hidden(Role role) {
  return role == Role::output || role == Role::down;
}

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
    if (spec.role == Role::embedding) return 0;
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
    const bool multiplied = spec.role != Role::embedding || config.tie_word_embeddings;
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
