#include "model/attention_heads.h"

#include <fmt/format.h>

#include "gda/ops/elementwise.h"

namespace gda {

AttentionHeads::AttentionHeads(const ModelConfig& config, const AttentionConfig& heads,
                               const ParameterStore& parameters, std::int64_t layer)
    : config_(heads), shape_(attention_shape(heads)) {
  if (config_.type == AttentionType::differential_v2) gate_size_ = config_.num_attention_heads;
  if (!config_.is_differential()) return;
  const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
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

void AttentionHeads::allocate(Arena& arena, DType compute, std::int64_t rows,
                              AttentionActivations& saved) const {
  const DType statistics = accumulate_type(compute);
  saved.qkv = arena.allocate(compute, {rows, qkv_size()});
  saved.attended = arena.allocate(compute, {rows, shape_.query_heads() * shape_.value_dim});
  saved.lse = arena.allocate(statistics, {rows, shape_.query_heads()});
  if (has_lambda()) {
    saved.lambda = arena.allocate(statistics, {1});
    saved.rho = arena.allocate(statistics, {rows, differential_.signal_heads()});
  }
}

void AttentionHeads::combine(const Context& context, const AttentionActivations& saved,
                             const Tensor& mixed) const {
  if (has_lambda()) {
    lambda_forward(context, lambda_, differential_.lambda_init, saved.lambda);
    differential_forward(context, differential_, saved.attended, saved.lambda, subln_.value, mixed,
                         saved.rho);
  } else if (gate_size_ > 0) {
    const Tensor gate = saved.qkv.columns(saved.qkv.dim(1) - gate_size_, gate_size_);
    gated_difference_forward(context, saved.attended, gate, mixed);
  }
  if (!mask_) return;
  const Tensor& heads = config_.type == AttentionType::softmax ? saved.attended : mixed;
  scale_columns(context, heads, mask_, mixed);
}

AttentionHeads::Gradient AttentionHeads::backward(const Context& context,
                                                  const AttentionActivations& saved,
                                                  const Tensor& dmixed, const Tensor& dqkv) const {
  if (mask_) scale_columns(context, dmixed, mask_, dmixed);
  Gradient gradient{.attended = dmixed, .delta = {}};
  // Where the heads' outputs are read for their gradients anyway, attention's backward pass need
  // not read both again.
  if (has_lambda()) gradient.delta = context.arena.allocate(saved.lse.dtype(), saved.lse.shape());
  if (config_.type == AttentionType::softmax) return gradient;
  gradient.attended = context.arena.allocate(dmixed.dtype(), saved.attended.shape());
  if (has_lambda()) {
    const Tensor dlambda = context.arena.allocate(saved.lambda.dtype(), {1});
    differential_backward(context, differential_, saved.attended, saved.lambda, subln_.value,
                          saved.rho, dmixed, gradient.attended, subln_.gradient, dlambda,
                          gradient.delta);
    lambda_backward(context, lambda_, dlambda, lambda_gradient_);
  } else {
    const std::int64_t begin = saved.qkv.dim(1) - gate_size_;
    gated_difference_backward(context, saved.attended, saved.qkv.columns(begin, gate_size_), dmixed,
                              gradient.attended, dqkv.columns(begin, gate_size_));
  }
  return gradient;
}

void AttentionHeads::lambda(const Context& context, const Tensor& out) const {
  lambda_forward(context, lambda_, differential_.lambda_init, out);
}

}  // namespace gda
