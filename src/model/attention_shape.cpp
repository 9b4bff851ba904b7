#include "gda/model/attention_shape.h"

namespace gda {

AttentionShape attention_shape(const AttentionConfig& config) {
  AttentionShape shape;
  shape.head_dim = config.head_dim;
  shape.value_dim = config.value_dim();
  shape.key_heads = config.num_key_value_heads;
  shape.value_heads = config.kv_groups();
  const std::int64_t heads = config.query_heads();
  for (std::int64_t head = 0; head < heads; ++head) {
    if (config.is_differential()) {
      // Striped: `ratio` signal heads, then their noise head; a K/V group serves noise_heads / G of
      // these stripes, and holds a signal key and a noise key.
      const std::int64_t stripe = head / (config.ratio() + 1);
      const bool is_noise = head % (config.ratio() + 1) == config.ratio();
      const std::int64_t group = stripe * shape.value_heads / config.noise_heads;
      shape.key_head.push_back(static_cast<int>(2 * group + (is_noise ? 1 : 0)));
      shape.value_head.push_back(static_cast<int>(group));
    } else {
      const std::int64_t group = head * shape.value_heads / heads;
      shape.key_head.push_back(static_cast<int>(group));
      shape.value_head.push_back(static_cast<int>(group));
    }
  }
  return shape;
}

}  // namespace gda
