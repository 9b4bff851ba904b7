#include "gda/model/decoder.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"
#include "gda/ops/embedding.h"
#include "gda/ops/rms_norm.h"
#include "gda/ops/rope.h"
#include "model/decoder_layer.h"
#include "model/growth_masks.h"
#include "model/linear.h"

namespace gda {
namespace {

std::string_view head_name(const ModelConfig& config) {
  return config.tie_word_embeddings ? kEmbeddingName : kHeadName;
}

using BucketIndex = std::optional<std::size_t>;

// The bucket of a matrix outside the layers, if it is trainable.
BucketIndex trainable_bucket(const Parameter& parameter) {
  return parameter.spec.trainable ? BucketIndex(parameter.bucket) : std::nullopt;
}

void call(const std::function<void(std::size_t)>& hook, BucketIndex bucket) {
  if (hook && bucket) hook(*bucket);
}

}  // namespace

// What the forward pass leaves for the backward pass.
struct Decoder::Trunk {
  std::vector<LayerActivations> layers;
  Tensor output;  // [N, D], after the last layer
  Tensor normed;  // [N, D]
  Tensor rho;     // [N]
};

Decoder::Decoder(const ModelConfig& config, const ParameterStore& parameters, Recompute recompute,
                 LinearCrossEntropyOptions loss_options)
    : config_(config),
      parameters_(&parameters),
      recompute_(recompute),
      loss_options_(loss_options) {
  config_.validate();
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    layers_.emplace_back(config_, parameters, layer);
  }
  const Parameter& embedding = parameters.at(kEmbeddingName);
  embedding_ = embedding.weight();
  embedding_bucket_ = trainable_bucket(embedding);
  norm_ = parameters.at(kFinalNormName).weight();
  vector_bucket_ = parameters.trainable_vectors();
  const std::string head(head_name(config_));
  head_ = std::make_unique<Linear>(parameters, std::vector<std::string>{head});
  head_bucket_ = trainable_bucket(parameters.at(head));
  lowest_trained_layer_ =
      static_cast<std::size_t>(lowest_trained_layer(config_, parameters.specs()));
  rope_table_ =
      make_rope_table(config_.rope.theta, config_.rope.scaling, config_.max_position_embeddings,
                      config_.attention.head_dim, statistics_type(), embedding_.value.device());
  masks_ = std::make_unique<GrowthMasks>(config_, statistics_type(), embedding_.value.device());
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

void Decoder::set_growth(const GrowthMask& mask, double m) {
  mask.validate(config_);
  require<OpError>(m >= 0 && m <= 1, "[set_growth] expected a mask value in [0, 1], got {}", m);
  masks_->set(mask, m);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    layers_[layer].set_masks(masks_->layer(static_cast<std::int64_t>(layer)));
  }
}

void Decoder::set_growth_at(const GrowthState& growth, std::int64_t step) {
  set_growth(growth.ramp ? growth.ramp->mask : GrowthMask{}, growth.mask_at(step));
}

Decoder::Trunk Decoder::forward(const Context& context, const SequenceBatch& input, Recompute keep,
                                const BucketHooks& hooks) {
  const std::int64_t rows = input.batch * input.length;
  const DType compute = embedding_.value.dtype();
  const Shape shape{rows, config_.hidden_size};
  const ProfileRange range("forward");
  Trunk trunk;
  call(hooks.before_use, vector_bucket_);
  call(hooks.before_use, embedding_bucket_);
  trunk.output = context.arena.allocate(compute, shape);
  embedding_forward(context, input.token, embedding_.value, trunk.output);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    call(hooks.before_use, layers_[i].bucket());
    const Tensor next = context.arena.allocate(compute, shape);
    // Layers that backward does not reach keep as little as possible.
    const Recompute policy = i < lowest_trained_layer_ ? Recompute::full : keep;
    trunk.layers.push_back(
        layers_[i].forward(context, input, rope_table_.tensor, trunk.output, next, policy));
    trunk.output = next;
  }
  if (head_bucket_ != embedding_bucket_) call(hooks.before_use, head_bucket_);
  trunk.normed = context.arena.allocate(compute, shape);
  trunk.rho = context.arena.allocate(accumulate_type(compute), {rows});
  rms_norm_forward(context, trunk.output, norm_.value, config_.rms_norm_eps, trunk.normed,
                   trunk.rho, masks_->hidden());
  return trunk;
}

void Decoder::backward(const Context& context, const SequenceBatch& input, const Trunk& trunk,
                       const Tensor& dhidden, const BucketHooks& hooks) {
  const ProfileRange range("backward");
  // With lm_head alone trainable there is nothing to do here.
  if (lowest_trained_layer_ == layers_.size() && !norm_.gradient) return;
  const Tensor gradient = context.arena.allocate(dhidden.dtype(), dhidden.shape());
  rms_norm_backward(context, dhidden, trunk.output, norm_.value, trunk.rho, {}, gradient,
                    norm_.gradient, masks_->hidden());
  for (std::size_t i = layers_.size(); i-- > lowest_trained_layer_;) {
    layers_[i].backward(context, input, rope_table_.tensor, trunk.layers[i], gradient, recompute_);
    call(hooks.gradient_ready, layers_[i].bucket());
  }
  if (embedding_.gradient) {
    embedding_backward(context, input.token, gradient, embedding_.gradient);
  }
  call(hooks.gradient_ready, embedding_bucket_);
  call(hooks.gradient_ready, vector_bucket_);
}

void Decoder::forward_backward(const Context& context, const SequenceBatch& input,
                               const Tensor& target, double scale, const Tensor& loss,
                               const BucketHooks& hooks) {
  const ArenaScope scope(context.arena);
  const Trunk trunk = forward(context, input, recompute_, hooks);
  const Tensor dhidden = context.arena.allocate(trunk.normed.dtype(), trunk.normed.shape());
  {
    const ProfileRange range("loss");
    const Weight& head = head_->weight();
    linear_cross_entropy_forward_backward(context, trunk.normed, head.value, target, scale, loss,
                                          dhidden, head.gradient, loss_options_);
  }
  if (hooks.backward_begins) hooks.backward_begins();
  if (head_bucket_ != embedding_bucket_) call(hooks.gradient_ready, head_bucket_);
  backward(context, input, trunk, dhidden, hooks);
}

void Decoder::forward_loss(const Context& context, const SequenceBatch& input, const Tensor& target,
                           const Tensor& loss) {
  const ArenaScope scope(context.arena);
  const Trunk trunk = forward(context, input, Recompute::full, {});
  linear_cross_entropy_forward(context, trunk.normed, head_->weight().value, target, loss,
                               loss_options_);
}

void Decoder::forward_logits(const Context& context, const SequenceBatch& input,
                             const Tensor& logits) {
  const ArenaScope scope(context.arena);
  const Trunk trunk = forward(context, input, Recompute::full, {});
  head_->forward(context, trunk.normed, logits);
}

void Decoder::forward_cached(const Context& context, const Tensor& token, KvCache& cache,
                             const Tensor& logits) {
  const std::int64_t rows = token.dim(0);
  require<OpError>(cache.length() + rows <= cache.capacity(),
                   "[forward_cached] the cache holds {}, it has {} and {} more came",
                   counted(cache.capacity(), "token"), cache.length(), rows);
  require<OpError>(cache.length() + rows <= config_.max_position_embeddings,
                   "[forward_cached] the model has {}, of which {} are used and {} more came",
                   counted(config_.max_position_embeddings, "position"), cache.length(), rows);
  const ArenaScope scope(context.arena);
  const DType compute = embedding_.value.dtype();
  const Tensor position = context.arena.allocate(DType::i32, {rows});
  fill_from_host(context.stream, position, [&](const Tensor& host) {
    std::iota(host.data<std::int32_t>(), host.data<std::int32_t>() + rows,
              static_cast<std::int32_t>(cache.length()));
  });
  const Tensor x = context.arena.allocate(compute, {rows, config_.hidden_size});
  embedding_forward(context, token, embedding_.value, x);
  for (const DecoderLayer& layer : layers_) {
    layer.forward_cached(context, position, rope_table_.tensor, x, cache);
  }
  cache.advance(rows);
  const Tensor last = x.rows(rows - 1, 1);
  const Tensor normed = context.arena.allocate(compute, {1, config_.hidden_size});
  const Tensor rho = context.arena.allocate(accumulate_type(compute), {1});
  rms_norm_forward(context, last, norm_.value, config_.rms_norm_eps, normed, rho, masks_->hidden());
  head_->forward(context, normed, logits);
}

std::vector<double> Decoder::lambdas(const Context& context) const {
  if (!layers_.front().attention().has_lambda()) return {};
  const ArenaScope scope(context.arena);
  const auto count = static_cast<std::int64_t>(layers_.size());
  const Tensor lambda = context.arena.allocate(statistics_type(), {count});
  for (std::int64_t i = 0; i < count; ++i) {
    layers_[static_cast<std::size_t>(i)].attention().lambda(context, lambda.rows(i, 1));
  }
  const HostCopy host(context.stream, lambda);
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(host[i]);
  return values;
}

}  // namespace gda
