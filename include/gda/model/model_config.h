// Architecture of a decoder-only model: the `model:` section of a configuration, and config.json of
// a checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gda/config/fields.h"
#include "gda/ops/rope.h"

namespace gda {

struct RopeConfig {
  double theta = 500000;
  std::optional<RopeScaling> scaling;  // Llama 3.1's; none if empty

  void fields(FieldVisitor& visit);
  bool operator==(const RopeConfig&) const = default;
};

enum class AttentionType : std::uint8_t {
  softmax,
  differential,
  grouped_differential,
  differential_v2,
};
template <>
inline constexpr auto kWordsOf<AttentionType> = words("softmax", "differential",
                                                      "grouped_differential", "differential_v2");

// Of the feed-forward gate.
enum class Activation : std::uint8_t { silu, poly_norm };
template <>
inline constexpr auto kWordsOf<Activation> = words("silu", "poly_norm");

struct AttentionConfig {
  AttentionType type = AttentionType::grouped_differential;
  std::int64_t head_dim = 64;
  // Query heads of softmax and differential_v2 (there: heads after the subtraction).
  std::int64_t num_attention_heads = 0;
  // Query heads of differential and grouped_differential; signal_heads = ratio * noise_heads, and
  // ratio = 1 for differential.
  std::int64_t signal_heads = 0;
  std::int64_t noise_heads = 0;
  // Key heads. softmax and differential_v2: as in GQA. differential and grouped_differential:
  // signal and noise keys together, two a group, so there are num_key_value_heads / 2 groups.
  std::int64_t num_key_value_heads = 0;

  bool is_differential() const {
    return type == AttentionType::differential || type == AttentionType::grouped_differential;
  }
  std::int64_t ratio() const { return signal_heads / noise_heads; }
  // Groups that share one K and V: G.
  std::int64_t kv_groups() const;
  // Rows of the projections, in elements.
  std::int64_t q_size() const;
  std::int64_t k_size() const;
  std::int64_t v_size() const;
  std::int64_t out_size() const;  // columns of o_proj
  std::int64_t query_heads() const { return q_size() / head_dim; }
  std::int64_t value_dim() const { return is_differential() ? 2 * head_dim : head_dim; }

  void fields(FieldVisitor& visit);
  bool operator==(const AttentionConfig&) const = default;
};

struct ModelConfig {
  std::int64_t hidden_size = 0;        // D
  std::int64_t num_hidden_layers = 0;  // L
  std::int64_t intermediate_size = 0;  // F
  std::int64_t vocab_size = 0;         // V
  std::int64_t max_position_embeddings = 4096;
  Activation hidden_act = Activation::silu;
  bool tie_word_embeddings = false;
  double rms_norm_eps = 1e-5;
  double poly_norm_eps = 1e-6;      // of PolyNorm's means
  double attn_rms_norm_eps = 1e-5;  // of subln
  double initializer_range = 0.02;
  RopeConfig rope;
  AttentionConfig attention;
  // lambda_init of each layer (differential types). Empty: 0.8 - 0.6 exp(-0.3 l), l from 0. A layer
  // keeps the value it was trained with when growth moves it.
  std::vector<double> lambda_init;

  void fields(FieldVisitor& visit);
  bool operator==(const ModelConfig&) const = default;

  // Throws ConfigError that names the key, the value and the rule; call before anything else.
  void validate() const;
  double lambda_init_of(std::int64_t layer) const;
};

// Trainable FLOPs a token of one training step (forward and backward: three times the forward
// pass), at sequence length T, by the two conventions in use:
//   full    6 (N - embedding) + 3 L H (2 d + 2 d_v) T: attention counted over all T x T scores
//   causal  the same with attention halved
// N - embedding leaves out the lookup of V D numbers only: the output projection multiplies V D
// numbers, tied or not. H counts all query heads; d_v = 2 d for the differential types.
struct FlopsPerToken {
  double full = 0;
  double causal = 0;
};
FlopsPerToken training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);

}  // namespace gda
