#include "growth/padded_map.h"

#include "gda/core/error.h"
#include "growth/head_axes.h"
#include "growth/head_layout.h"

namespace gda {
namespace {

std::int64_t grown_size(std::string_view key, std::int64_t old,
                        const std::optional<std::int64_t>& size) {
  require<ConfigError>(!size || *size >= old,
                       "{}: {} is less than the model's {}; growth cannot "
                       "shrink a model",
                       key, size.value_or(0), old);
  return size.value_or(old);
}

// New groups have as many heads as the old ones, unless the heads are given.
void grow_heads(const PaddedSizes& sizes, AttentionConfig& attention) {
  const AttentionConfig old = attention;
  const std::int64_t key_heads =
      grown_size("num_key_value_heads", old.num_key_value_heads, sizes.key_value_heads);
  attention.num_key_value_heads = key_heads;
  require<ConfigError>(!old.is_differential() || key_heads % 2 == 0,
                       "num_key_value_heads: {} is odd; it counts one signal and one noise head a "
                       "group",
                       key_heads);
  const std::int64_t groups = attention.kv_groups();
  attention.noise_heads = old.noise_heads / old.kv_groups() * groups;
  const std::int64_t stripes = old.is_differential() ? attention.noise_heads : groups;
  const HeadLayout layout = head_layout(old);
  const std::int64_t heads =
      sizes.heads ? grown_size("heads", head_count(old), sizes.heads) : layout.heads * stripes;
  require<ConfigError>(heads % stripes == 0,
                       "heads: {} do not divide over {} {}, which new heads join one each: a "
                       "multiple of {} is needed, such as {}",
                       heads, stripes, old.is_differential() ? "noise heads" : "key-value heads",
                       stripes, (heads / stripes + 1) * stripes);
  require<ConfigError>(
      heads / stripes >= layout.heads,
      "heads: {} over {} {} leave {} for each, fewer than the model's {}; at least "
      "{} are needed",
      heads, stripes, old.is_differential() ? "noise heads" : "key-value heads", heads / stripes,
      layout.heads, layout.heads * stripes);
  set_head_count(attention, heads);
}

// The axes of one tensor. `to`'s sizes are those of the target's shape but for the order of heads.
void pad(const ModelConfig& from, const ModelConfig& to, TensorMap& tensor) {
  const Shape& old = tensor.source_shape;
  const Shape& shape = tensor.target.shape;
  TensorStep& step = tensor.steps.front();
  step.rows = extended(old[0], shape[0]);
  if (tensor.target.is_matrix()) step.columns = extended(old[1], shape[1]);
  switch (tensor.target.role) {
    case Role::query:
      step.rows = query_rows(from.attention, to.attention);
      break;
    case Role::lambda_projection:
      step.rows = lambda_rows(from.attention, to.attention);
      break;
    case Role::output:
      step.columns = output_columns(from.attention, to.attention);
      break;
    default:
      break;
  }
}

}  // namespace

GrowthMap padded_map(const ModelConfig& from, const PaddedSizes& sizes) {
  ModelConfig to = from;
  to.hidden_size = grown_size("hidden_size", from.hidden_size, sizes.hidden_size);
  to.intermediate_size =
      grown_size("intermediate_size", from.intermediate_size, sizes.intermediate_size);
  grow_heads(sizes, to.attention);
  write_out_lambda_init(from, to);
  require<ConfigError>(parameter_count(to) > parameter_count(from),
                       "nothing grows: every size is the model's own");
  to.validate();
  GrowthMap map = identity_map(from, to);
  for (TensorMap& tensor : map.tensors) pad(from, to, tensor);
  return map;
}

}  // namespace gda
