#include "model/stage_buckets.h"

#include <algorithm>

namespace gda {
namespace {

void add(std::vector<std::size_t>& buckets, std::size_t bucket) {
  if (std::find(buckets.begin(), buckets.end(), bucket) == buckets.end()) buckets.push_back(bucket);
}

}  // namespace

StageBuckets::StageBuckets(const ModelConfig& config, const Stage& stage,
                           const ParameterStore& parameters)
    : parameters_(&parameters),
      layers_(static_cast<std::size_t>(stage.layers.size())),
      trained_vectors_(parameters.trainable_vectors()) {
  for (const Parameter& parameter : parameters.all()) {
    const std::int64_t layer = parameter.spec.layer;
    if (!parameter.spec.is_matrix()) {
      add(vectors_, parameter.bucket);
    } else if (layer >= stage.layers.begin && layer < stage.layers.end) {
      add(layers_[static_cast<std::size_t>(layer - stage.layers.begin)], parameter.bucket);
    }
  }
  for (std::int64_t layer = stage.layers.begin; layer < stage.layers.end; ++layer) {
    trained_layers_.push_back(parameters.trainable_matrices(layer));
  }
  if (stage.has_embedding) embedding_ = parameters.at(kEmbeddingName).bucket;
  if (stage.has_head) {
    head_ = parameters.at(config.tie_word_embeddings ? kEmbeddingName : kHeadName).bucket;
  }
}

StageBuckets::Index StageBuckets::trained(Index bucket) const {
  return bucket && parameters_->buckets()[*bucket].trainable ? bucket : std::nullopt;
}

void StageBuckets::use(const BucketHooks& hooks, const std::vector<std::size_t>& buckets,
                       Index next) const {
  if (!hooks.before_use) return;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    hooks.before_use(buckets[i], i + 1 < buckets.size() ? Index(buckets[i + 1]) : next);
  }
}

void StageBuckets::use_vectors(const BucketHooks& hooks) const {
  use(hooks, vectors_, embedding_ ? embedding_ : first_of(0));
}

void StageBuckets::use_embedding(const BucketHooks& hooks) const {
  use(hooks, {*embedding_}, first_of(0));
}

void StageBuckets::use_layer(const BucketHooks& hooks, std::size_t layer) const {
  use(hooks, layers_[layer], layer + 1 < layers_.size() ? first_of(layer + 1) : head_);
}

void StageBuckets::use_layer_backward(const BucketHooks& hooks, std::size_t layer,
                                      std::size_t lowest) const {
  use(hooks, layers_[layer], layer > lowest ? first_of(layer - 1) : std::nullopt);
}

void StageBuckets::use_head(const BucketHooks& hooks, Index next_layer) const {
  use(hooks, {*head_}, next_layer ? first_of(*next_layer) : std::nullopt);
}

}  // namespace gda
