#include "gda/model/decoder.h"

namespace gda {

KvCache::KvCache(const ModelConfig& config, DType compute, std::int64_t capacity, Device device)
    : capacity_(capacity) {
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    keys_.emplace_back(compute, Shape{capacity, config.attention.k_size()}, device, "KV cache");
    values_.emplace_back(compute, Shape{capacity, config.attention.v_size()}, device, "KV cache");
  }
}

const Tensor& KvCache::keys(std::int64_t layer) const {
  return keys_[static_cast<std::size_t>(layer)].tensor;
}

const Tensor& KvCache::values(std::int64_t layer) const {
  return values_[static_cast<std::size_t>(layer)].tensor;
}

}  // namespace gda
