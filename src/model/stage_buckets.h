// The buckets that a stage reads and adds to, in the order in which its passes do.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gda/model/decoder.h"

namespace gda {

class StageBuckets {
 public:
  StageBuckets(const ModelConfig& config, const Stage& stage, const ParameterStore& parameters);

  // Calls before_use, of everything that is read there.
  void use_vectors(const BucketHooks& hooks) const;
  void use_embedding(const BucketHooks& hooks) const;
  // `layer` counts from the stage's first. The next is the layer behind it or the head; in a
  // backward pass, the layer in front of it, down to the stage's layer `lowest`.
  void use_layer(const BucketHooks& hooks, std::size_t layer) const;
  void use_layer_backward(const BucketHooks& hooks, std::size_t layer, std::size_t lowest) const;
  // `next_layer`: that backward begins with; none: there is no backward pass.
  void use_head(const BucketHooks& hooks, std::optional<std::size_t> next_layer) const;

  // Those with gradients; none where all parameters are frozen.
  using Index = std::optional<std::size_t>;
  Index trained_vectors() const { return trained_vectors_; }
  Index trained_layer(std::size_t layer) const { return trained_layers_[layer]; }
  Index trained_embedding() const { return trained(embedding_); }
  Index trained_head() const { return trained(head_); }

 private:
  void use(const BucketHooks& hooks, const std::vector<std::size_t>& buckets, Index next) const;
  Index trained(Index bucket) const;
  Index first_of(std::size_t layer) const { return layers_[layer].front(); }

  const ParameterStore* parameters_;
  std::vector<std::size_t> vectors_;
  Index embedding_, head_;
  std::vector<std::vector<std::size_t>> layers_;
  Index trained_vectors_;
  std::vector<Index> trained_layers_;
};

}  // namespace gda
