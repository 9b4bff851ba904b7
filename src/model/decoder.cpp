#include "gda/model/decoder.h"

#include <numeric>
#include <utility>

#include "gda/core/error.h"
#include "gda/ops/embedding.h"
#include "gda/ops/matmul.h"
#include "gda/ops/rms_norm.h"
#include "gda/ops/rope.h"
#include "model/decoder_layer.h"

namespace gda {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kNorm = "model.norm.weight";

const char* head_name(const ModelConfig& config) {
  return config.tie_word_embeddings ? kEmbedding : "lm_head.weight";
}

void call(const std::function<void(std::size_t)>& hook, std::size_t bucket) {
  if (hook) hook(bucket);
}

}  // namespace

// What the forward pass leaves for the backward pass.
struct Decoder::Trunk {
  std::vector<LayerActivations> layers;
  Tensor output;  // [N, D], after the last layer
  Tensor normed;  // [N, D]
  Tensor rho;     // [N]
};

Decoder::Decoder(const ModelConfig& config, const ParameterStore& parameters, Recompute recompute)
    : config_(config), parameters_(&parameters), recompute_(recompute) {
  config_.validate();
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    layers_.emplace_back(config_, parameters, layer);
  }
  const Parameter& embedding = parameters.at(kEmbedding);
  embedding_ = embedding.value;
  embedding_gradient_ = embedding.gradient;
  embedding_bucket_ = embedding.bucket;
  const Parameter& norm = parameters.at(kNorm);
  norm_ = norm.value;
  norm_gradient_ = norm.gradient;
  vector_bucket_ = norm.bucket;
  const Parameter& head = parameters.at(head_name(config_));
  head_ = head.value;
  head_gradient_ = head.gradient;
  head_bucket_ = head.bucket;
  rope_table_ = make_rope_table(config_.rope.theta, config_.rope.scaling,
                                config_.max_position_embeddings, config_.attention.head_dim,
                                accumulate_type(parameters.compute_type()), embedding_.device());
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

Decoder::Trunk Decoder::forward(const Context& context, const SequenceBatch& input, Recompute keep,
                                const BucketHooks& hooks) {
  const std::int64_t rows = input.batch * input.length;
  const DType compute = embedding_.dtype();
  const Shape shape{rows, config_.hidden_size};
  Trunk trunk;
  call(hooks.before_use, vector_bucket_);
  call(hooks.before_use, embedding_bucket_);
  trunk.output = context.arena.allocate(compute, shape);
  embedding_forward(context, input.token, embedding_, trunk.output);
  for (const DecoderLayer& layer : layers_) {
    call(hooks.before_use, layer.bucket());
    const Tensor next = context.arena.allocate(compute, shape);
    trunk.layers.push_back(
        layer.forward(context, input, rope_table_.tensor, trunk.output, next, keep));
    trunk.output = next;
  }
  if (head_bucket_ != embedding_bucket_) call(hooks.before_use, head_bucket_);
  trunk.normed = context.arena.allocate(compute, shape);
  trunk.rho = context.arena.allocate(accumulate_type(compute), {rows});
  rms_norm_forward(context, trunk.output, norm_, config_.rms_norm_eps, trunk.normed, trunk.rho);
  return trunk;
}

void Decoder::backward(const Context& context, const SequenceBatch& input, const Trunk& trunk,
                       const Tensor& dhidden, const BucketHooks& hooks) {
  const Tensor gradient = context.arena.allocate(dhidden.dtype(), dhidden.shape());
  rms_norm_backward(context, dhidden, trunk.output, norm_, trunk.rho, {}, gradient, norm_gradient_);
  for (std::size_t i = layers_.size(); i-- > 0;) {
    layers_[i].backward(context, input, rope_table_.tensor, trunk.layers[i], gradient, recompute_);
    call(hooks.gradient_ready, layers_[i].bucket());
  }
  embedding_backward(context, input.token, gradient, embedding_gradient_);
  call(hooks.gradient_ready, embedding_bucket_);
  call(hooks.gradient_ready, vector_bucket_);
}

void Decoder::forward_backward(const Context& context, const SequenceBatch& input,
                               const Tensor& target, double scale, const Tensor& loss,
                               const BucketHooks& hooks) {
  const ArenaScope scope(context.arena);
  const Trunk trunk = forward(context, input, recompute_, hooks);
  const Tensor dhidden = context.arena.allocate(trunk.normed.dtype(), trunk.normed.shape());
  linear_cross_entropy_forward_backward(context, trunk.normed, head_, target, scale, loss, dhidden,
                                        head_gradient_);
  if (hooks.backward_begins) hooks.backward_begins();
  if (head_bucket_ != embedding_bucket_) call(hooks.gradient_ready, head_bucket_);
  backward(context, input, trunk, dhidden, hooks);
}

void Decoder::forward_loss(const Context& context, const SequenceBatch& input, const Tensor& target,
                           const Tensor& loss) {
  const ArenaScope scope(context.arena);
  const Trunk trunk = forward(context, input, Recompute::full, {});
  linear_cross_entropy_forward(context, trunk.normed, head_, target, loss);
}

void Decoder::forward_logits(const Context& context, const SequenceBatch& input,
                             const Tensor& logits) {
  const ArenaScope scope(context.arena);
  const Trunk trunk = forward(context, input, Recompute::full, {});
  matmul(context, trunk.normed, head_, logits, {.transpose_b = true});
}

void Decoder::forward_cached(const Context& context, const Tensor& token, KvCache& cache,
                             const Tensor& logits) {
  const std::int64_t rows = token.dim(0);
  require<OpError>(cache.length() + rows <= cache.capacity(),
                   "[forward_cached] the cache holds {} tokens, {} are there and {} more came",
                   cache.capacity(), cache.length(), rows);
  require<OpError>(cache.length() + rows <= config_.max_position_embeddings,
                   "[forward_cached] the model has {} positions, {} are used and {} more came",
                   config_.max_position_embeddings, cache.length(), rows);
  const ArenaScope scope(context.arena);
  const DType compute = embedding_.dtype();
  const Tensor position = context.arena.allocate(DType::i32, {rows});
  std::iota(position.data<std::int32_t>(), position.data<std::int32_t>() + rows,
            static_cast<std::int32_t>(cache.length()));
  const Tensor x = context.arena.allocate(compute, {rows, config_.hidden_size});
  embedding_forward(context, token, embedding_, x);
  for (const DecoderLayer& layer : layers_) {
    layer.forward_cached(context, position, rope_table_.tensor, x, cache);
  }
  cache.advance(rows);
  const Tensor last = x.rows(rows - 1, 1);
  const Tensor normed = context.arena.allocate(compute, {1, config_.hidden_size});
  const Tensor rho = context.arena.allocate(accumulate_type(compute), {1});
  rms_norm_forward(context, last, norm_, config_.rms_norm_eps, normed, rho);
  matmul(context, normed, head_, logits, {.transpose_b = true});
}

std::vector<double> Decoder::lambdas(const Context& context) const {
  std::vector<double> values;
  const ArenaScope scope(context.arena);
  for (const DecoderLayer& layer : layers_) {
    if (!layer.attention().has_lambda()) continue;
    const DType dtype = accumulate_type(parameters_->compute_type());
    const Tensor lambda = context.arena.allocate(dtype, {1});
    layer.attention().lambda(context, lambda);
    values.push_back(dtype == DType::f64 ? *lambda.data<double>() : *lambda.data<float>());
  }
  return values;
}

}  // namespace gda
