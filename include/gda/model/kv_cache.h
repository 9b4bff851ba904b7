// Keys and values of the tokens of one sequence that were seen, for generation.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/core/memory.h"
#include "gda/model/model_config.h"
#include "gda/model/region.h"

namespace gda {

class KvCache {
 public:
  // Of all layers and heads.
  KvCache(const ModelConfig& config, DType compute, std::int64_t capacity, Device device = {});
  // Of the layers of a stage, and of the heads of a place (layer_part.h).
  KvCache(const AttentionConfig& heads, const IndexRange& layers, DType compute,
          std::int64_t capacity, Device device = {});

  std::int64_t capacity() const { return capacity_; }
  std::int64_t length() const { return length_; }
  void advance(std::int64_t tokens) { length_ += tokens; }
  void clear() { length_ = 0; }
  // [capacity, k_size] and [capacity, v_size] of a layer, by its number in the model.
  const Tensor& keys(std::int64_t layer) const;
  const Tensor& values(std::int64_t layer) const;

 private:
  std::size_t index(std::int64_t layer) const;

  std::int64_t first_layer_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<OwnedTensor> keys_;
  std::vector<OwnedTensor> values_;
};

}  // namespace gda
