#include "gda/model/kv_cache.h"

#include "gda/core/error.h"

namespace gda {

KvCache::KvCache(const ModelConfig& config, DType compute, std::int64_t capacity, Device device)
    : KvCache(config.attention, {0, config.num_hidden_layers}, compute, capacity, device) {}

KvCache::KvCache(const AttentionConfig& heads, const IndexRange& layers, DType compute,
                 std::int64_t capacity, Device device)
    : first_layer_(layers.begin), capacity_(capacity) {
  for (std::int64_t layer = 0; layer < layers.size(); ++layer) {
    keys_.emplace_back(compute, Shape{capacity, heads.k_size()}, device, "KV cache");
    values_.emplace_back(compute, Shape{capacity, heads.v_size()}, device, "KV cache");
  }
}

std::size_t KvCache::index(std::int64_t layer) const {
  const std::int64_t index = layer - first_layer_;
  require<OpError>(index >= 0 && index < static_cast<std::int64_t>(keys_.size()),
                   "[kv_cache] it has layers {} to {}, not {}", first_layer_,
                   first_layer_ + static_cast<std::int64_t>(keys_.size()) - 1, layer);
  return static_cast<std::size_t>(index);
}

const Tensor& KvCache::keys(std::int64_t layer) const {
  return keys_[index(layer)].tensor;
}

const Tensor& KvCache::values(std::int64_t layer) const {
  return values_[index(layer)].tensor;
}

}  // namespace gda
