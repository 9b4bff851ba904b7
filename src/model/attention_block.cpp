#include "model/attention_block.h"

#include <fmt/format.h>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/rope.h"

namespace gda {

AttentionBlock::AttentionBlock(const ModelConfig& config, const LayerPart& part,
                               const ParameterStore& parameters, std::int64_t layer)
    : config_(part.attention), layer_(layer), shape_(attention_shape(part.attention)) {
  const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
  const bool gated = config_.type == AttentionType::differential_v2;
  if (gated) gate_size_ = config_.num_attention_heads;
  std::vector<std::string> names = {prefix + "q_proj.weight", prefix + "k_proj.weight",
                                    prefix + "v_proj.weight"};
  if (gated) names.push_back(prefix + "lambda_proj.weight");
  qkv_ = Linear(parameters, names);
  out_ = Linear(parameters, {prefix + "o_proj.weight"});
  if (!config_.is_differential()) return;
  subln_ = parameters.at(prefix + "subln.weight").weight();
  const auto take = [&](const char* name, Tensor& value, Tensor& gradient) {
    const Weight& weight = parameters.at(prefix + name);
    value = weight.value;
    gradient = weight.gradient;
  };
  take("lambda_q1", lambda_.q1, lambda_gradient_.q1);
  take("lambda_k1", lambda_.k1, lambda_gradient_.k1);
  take("lambda_q2", lambda_.q2, lambda_gradient_.q2);
  take("lambda_k2", lambda_.k2, lambda_gradient_.k2);
  differential_ = {.noise_heads = config_.noise_heads,
                   .ratio = config_.ratio(),
                   .value_dim = config_.value_dim(),
                   .lambda_init = config.lambda_init_of(layer),
                   .eps = config.attn_rms_norm_eps};
}

void AttentionBlock::allocate_saved(Arena& arena, std::int64_t rows,
                                    AttentionActivations& saved) const {
  const DType compute = qkv_.dtype();
  const DType statistics = accumulate_type(compute);
  saved.qkv = arena.allocate(compute, {rows, qkv_.out_size()});
  saved.attended = arena.allocate(compute, {rows, shape_.query_heads() * shape_.value_dim});
  saved.lse = arena.allocate(statistics, {rows, shape_.query_heads()});
  if (has_lambda()) {
    saved.lambda = arena.allocate(statistics, {1});
    saved.rho = arena.allocate(statistics, {rows, differential_.signal_heads()});
  }
}

void AttentionBlock::allocate_mixed(Arena& arena, std::int64_t rows,
                                    AttentionActivations& saved) const {
  // Softmax heads are not combined; a mask needs a copy, since backward reads them unmasked.
  saved.mixed = config_.type == AttentionType::softmax && !head_mask_
                    ? saved.attended
                    : arena.allocate(qkv_.dtype(), {rows, config_.out_size()});
}

AttentionShape AttentionBlock::shape_for(const SequenceBatch& batch, std::int64_t before) const {
  AttentionShape shape = shape_;
  shape.batch = batch.batch;
  shape.query_length = batch.length;
  shape.key_length = before + batch.length;
  shape.query_offset = before;
  return shape;
}

void AttentionBlock::combine(const Context& context, const AttentionActivations& saved) const {
  if (has_lambda()) {
    lambda_forward(context, lambda_, differential_.lambda_init, saved.lambda);
    differential_forward(context, differential_, saved.attended, saved.lambda, subln_.value,
                         saved.mixed, saved.rho);
  } else if (gate_size_ > 0) {
    const Tensor gate = saved.qkv.columns(saved.qkv.dim(1) - gate_size_, gate_size_);
    gated_difference_forward(context, saved.attended, gate, saved.mixed);
  }
  if (!head_mask_) return;
  const Tensor& heads = config_.type == AttentionType::softmax ? saved.attended : saved.mixed;
  scale_columns(context, heads, head_mask_, saved.mixed);
}

void AttentionBlock::forward(const Context& context, const AttentionInput& input, const Tensor& x,
                             const AttentionActivations& saved, const Tensor& residual,
                             const Tensor& out) const {
  const ProfileRange range("attention forward");
  const std::int64_t q = config_.q_size();
  const std::int64_t k = config_.k_size();
  qkv_.forward(context, x, saved.qkv);
  rope_forward(context, saved.qkv.columns(0, q + k), input.batch.position, input.rope_table);
  Tensor keys = saved.qkv.columns(q, k);
  Tensor values = saved.qkv.columns(q + k, config_.v_size());
  const std::int64_t before = input.cache != nullptr ? input.cache->length() : 0;
  if (input.cache != nullptr) {
    const auto join = [&](const Tensor& cached, Tensor& fresh) {
      convert(context, fresh, cached.rows(before, fresh.dim(0)));
      fresh = cached.rows(0, before + fresh.dim(0));
    };
    join(input.cache->keys(layer_), keys);
    join(input.cache->values(layer_), values);
  }
  Tensor max_logit = input.batch.max_logit;
  if (max_logit) max_logit = max_logit.rows(layer_, 1).reshape({shape_.query_heads()});
  attention_forward(context, shape_for(input.batch, before), saved.qkv.columns(0, q), keys, values,
                    input.batch.first_key, saved.attended, saved.lse, max_logit);
  combine(context, saved);
  out_.forward(context, saved.mixed, out, residual);
}

void AttentionBlock::backward_combine(const Context& context, const AttentionActivations& saved,
                                      const Tensor& dmixed, const Tensor& dattended,
                                      const Tensor& dqkv, const Tensor& delta) const {
  if (has_lambda()) {
    const Tensor dlambda = context.arena.allocate(saved.lambda.dtype(), {1});
    differential_backward(context, differential_, saved.attended, saved.lambda, subln_.value,
                          saved.rho, dmixed, dattended, subln_.gradient, dlambda, delta);
    lambda_backward(context, lambda_, dlambda, lambda_gradient_);
  } else {
    const std::int64_t begin = saved.qkv.dim(1) - gate_size_;
    gated_difference_backward(context, saved.attended, saved.qkv.columns(begin, gate_size_), dmixed,
                              dattended, dqkv.columns(begin, gate_size_));
  }
}

void AttentionBlock::backward(const Context& context, const AttentionInput& input, const Tensor& x,
                              const AttentionActivations& saved, const Tensor& dout,
                              const Tensor& dx) const {
  const ProfileRange range("attention backward");
  const ArenaScope scope(context.arena);
  const std::int64_t q = config_.q_size();
  const std::int64_t k = config_.k_size();
  const std::int64_t v = config_.v_size();
  const DType compute = x.dtype();
  const Tensor dqkv = context.arena.allocate(compute, saved.qkv.shape());
  const Tensor dmixed = context.arena.allocate(compute, saved.mixed.shape());

  out_.backward_weight(context, saved.mixed, dout);
  out_.backward_input(context, dout, dmixed);
  if (head_mask_) scale_columns(context, dmixed, head_mask_, dmixed);
  Tensor dattended = dmixed;
  // Where the heads' outputs are read for their gradients anyway, attention's backward pass need
  // not read both again.
  Tensor delta;
  if (has_lambda()) delta = context.arena.allocate(saved.lse.dtype(), saved.lse.shape());
  if (config_.type != AttentionType::softmax) {
    dattended = context.arena.allocate(compute, saved.attended.shape());
    backward_combine(context, saved, dmixed, dattended, dqkv, delta);
  }
  attention_backward(context, shape_for(input.batch, 0), saved.qkv.columns(0, q),
                     saved.qkv.columns(q, k), saved.qkv.columns(q + k, v), input.batch.first_key,
                     saved.attended, saved.lse, dattended, dqkv.columns(0, q), dqkv.columns(q, k),
                     dqkv.columns(q + k, v), delta);
  rope_backward(context, dqkv.columns(0, q + k), input.batch.position, input.rope_table);
  qkv_.backward_weight(context, x, dqkv);
  qkv_.backward_input(context, dqkv, dx);
}

void AttentionBlock::lambda(const Context& context, const Tensor& out) const {
  lambda_forward(context, lambda_, differential_.lambda_init, out);
}

}  // namespace gda
