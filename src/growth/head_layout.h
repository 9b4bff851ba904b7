// Layout of heads in the tensors of a layer.
#pragma once

#include <cstdint>
#include <string_view>

#include "gda/model/model_config.h"

namespace gda {

// Heads lie inside the projections in stripes that all heads of a noise head (or, without noise
// heads, of a key head) share, one behind the other.
struct HeadLayout {
  std::int64_t stripes = 0;
  std::int64_t heads = 0;         // of o_proj's input, in a stripe
  std::int64_t query_rows = 0;    // of each of them in q_proj
  std::int64_t noise_rows = 0;    // in q_proj behind each stripe's heads
  std::int64_t output_width = 0;  // of each head in o_proj's columns
};
HeadLayout head_layout(const AttentionConfig& attention);

// The names of configuration keys: "signal_heads" or "num_attention_heads".
std::string_view heads_key(const AttentionConfig& attention);
std::int64_t head_count(const AttentionConfig& attention);
void set_head_count(AttentionConfig& attention, std::int64_t heads);

// lambda_init written out for each layer, so that it stays with a layer that moves or changes.
void write_out_lambda_init(const ModelConfig& from, ModelConfig& to);

}  // namespace gda
