#include "growth/head_layout.h"

namespace gda {
HeadLayout head_layout(const AttentionConfig& attention) {
  if (attention.is_differential()) {
    return {.stripes = attention.noise_heads,
            .heads = attention.ratio(),
            .query_rows = attention.head_dim,
            .noise_rows = attention.head_dim,
            .output_width = attention.value_dim()};
  }
  // differential_v2 subtracts neighbouring heads of q_proj, which share their key head.
  const std::int64_t queries = attention.type == AttentionType::differential_v2 ? 2 : 1;
  return {.stripes = attention.num_key_value_heads,
          .heads = attention.num_attention_heads / attention.num_key_value_heads,
          .query_rows = queries * attention.head_dim,
          .noise_rows = 0,
          .output_width = attention.value_dim()};
}

std::string_view heads_key(const AttentionConfig& attention) {
  return attention.is_differential() ? "signal_heads" : "num_attention_heads";
}

std::int64_t head_count(const AttentionConfig& attention) {
  return attention.is_differential() ? attention.signal_heads : attention.num_attention_heads;
}

void set_head_count(AttentionConfig& attention, std::int64_t heads) {
  (attention.is_differential() ? attention.signal_heads : attention.num_attention_heads) = heads;
  if (attention.is_differential() && heads != attention.noise_heads) {
    attention.type = AttentionType::grouped_differential;
  }
}

void write_out_lambda_init(const ModelConfig& from, ModelConfig& to) {
  if (!from.attention.is_differential()) return;
  to.lambda_init.clear();
  for (std::int64_t layer = 0; layer < from.num_hidden_layers; ++layer) {
    to.lambda_init.push_back(from.lambda_init_of(layer));
  }
}

}  // namespace gda
