#include "gda/growth/signal_heads.h"

#include <algorithm>

#include "gda/core/error.h"

namespace gda {
namespace {

// The configuration with another number of signal heads. lambda_init is written out, so that it
// stays with its layer.
ModelConfig with_signal_heads(const ModelConfig& from, std::int64_t signal_heads) {
  require<ConfigError>(
      from.attention.is_differential(),
      "grow signal-heads: the model's attention is of type {}, which has no signal "
      "heads; expected differential or grouped_differential",
      from.attention.type);
  ModelConfig to = from;
  to.attention.type = "grouped_differential";
  to.attention.signal_heads = signal_heads;
  to.lambda_init.clear();
  for (std::int64_t layer = 0; layer < from.num_hidden_layers; ++layer) {
    to.lambda_init.push_back(from.lambda_init_of(layer));
  }
  to.validate();
  return to;
}

// `size` consecutive coordinates from `first` on.
void append_block(AxisMap& map, std::int64_t first, std::int64_t size, double scale,
                  double gradient_scale) {
  for (std::int64_t i = 0; i < size; ++i) {
    map.entries.push_back({.source = first + i, .scale = scale, .gradient_scale = gradient_scale});
  }
}

void append_filled(AxisMap& map, std::int64_t size) {
  map.entries.resize(map.entries.size() + static_cast<std::size_t>(size));
}

bool ends_with(const std::string& name, std::string_view suffix) {
  return std::string_view(name).ends_with(suffix);
}

// +N on the even replicas of a head, -N on the odd ones that follow them.
std::vector<ColumnPair> replica_pairs(std::int64_t old_heads, std::int64_t factor,
                                      std::int64_t width) {
  std::vector<ColumnPair> pairs;
  for (std::int64_t head = 0; head < old_heads; ++head) {
    for (std::int64_t copy = 0; copy + 1 < factor; copy += 2) {
      const std::int64_t first = (head * factor + copy) * width;
      pairs.push_back({.plus = first, .minus = first + width, .width = width});
    }
  }
  return pairs;
}

}  // namespace

GrowthMap replicate_signal_heads(const ModelConfig& from, std::int64_t factor) {
  require<ConfigError>(factor >= 2, "grow signal-heads: --factor {}: expected 2 or more", factor);
  const AttentionConfig& old = from.attention;
  GrowthMap map = identity_map(from, with_signal_heads(from, old.signal_heads * factor));
  const double share = 1.0 / static_cast<double>(factor);

  // Each copy's output is weighed by 1/factor, so each copy of q receives that share of the
  // gradient.
  AxisMap q_rows;
  const std::int64_t d = old.head_dim;
  for (std::int64_t stripe = 0; stripe < old.noise_heads; ++stripe) {
    const std::int64_t first = stripe * (old.ratio() + 1) * d;
    for (std::int64_t p = 0; p < old.ratio(); ++p) {
      for (std::int64_t copy = 0; copy < factor; ++copy) {
        append_block(q_rows, first + p * d, d, 1, share);
      }
    }
    append_block(q_rows, first + old.ratio() * d, d, 1, 1);
  }
  AxisMap o_columns;
  const std::int64_t width = old.value_dim();
  for (std::int64_t head = 0; head < old.signal_heads; ++head) {
    for (std::int64_t copy = 0; copy < factor; ++copy) {
      append_block(o_columns, head * width, width, share, 1);
    }
  }
  for (TensorMap& tensor : map.tensors) {
    if (ends_with(tensor.target.name, "self_attn.q_proj.weight")) tensor.rows = q_rows;
    if (ends_with(tensor.target.name, "self_attn.o_proj.weight")) {
      tensor.columns = o_columns;
      tensor.noise = replica_pairs(old.signal_heads, factor, width);
    }
  }
  return map;
}

GrowthMap add_signal_heads(const ModelConfig& from, std::int64_t count) {
  require<ConfigError>(count >= 1, "grow signal-heads: --add {}: expected 1 or more", count);
  const AttentionConfig& old = from.attention;
  GrowthMap map =
      identity_map(from, with_signal_heads(from, old.signal_heads + count * old.noise_heads));
  AxisMap q_rows;
  AxisMap o_columns;
  const std::int64_t d = old.head_dim;
  const std::int64_t width = old.value_dim();
  for (std::int64_t stripe = 0; stripe < old.noise_heads; ++stripe) {
    const std::int64_t first = stripe * (old.ratio() + 1) * d;
    append_block(q_rows, first, old.ratio() * d, 1, 1);
    append_filled(q_rows, count * d);
    append_block(q_rows, first + old.ratio() * d, d, 1, 1);
    append_block(o_columns, stripe * old.ratio() * width, old.ratio() * width, 1, 1);
    append_filled(o_columns, count * width);
  }
  for (TensorMap& tensor : map.tensors) {
    if (ends_with(tensor.target.name, "self_attn.q_proj.weight")) {
      tensor.rows = q_rows;
      tensor.fill_stddev = from.initializer_range;
    }
    if (ends_with(tensor.target.name, "self_attn.o_proj.weight")) tensor.columns = o_columns;
  }
  return map;
}

}  // namespace gda
