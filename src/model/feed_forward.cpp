#include "model/feed_forward.h"

#include <fmt/format.h>

#include "gda/core/stream.h"
#include "gda/ops/gated_activation.h"
#include "gda/ops/matmul.h"

namespace gda {

FeedForward::FeedForward(const ModelConfig& config, const ParameterStore& parameters,
                         std::int64_t layer)
    : inner_size_(config.intermediate_size),
      poly_norm_(config.hidden_act == Activation::poly_norm),
      poly_norm_eps_(config.poly_norm_eps) {
  const std::string prefix = fmt::format("model.layers.{}.mlp.", layer);
  gate_up_ = FusedLinear(parameters, {prefix + "gate_proj.weight", prefix + "up_proj.weight"});
  const auto take = [&](const char* name, Tensor& value, Tensor& gradient) {
    const Parameter& parameter = parameters.at(prefix + name);
    value = parameter.value;
    gradient = parameter.gradient;
  };
  take("down_proj.weight", down_weight_, down_gradient_);
  if (poly_norm_) {
    take("act_fn.weight", act_weight_, act_weight_gradient_);
    take("act_fn.bias", act_bias_, act_bias_gradient_);
  }
}

void FeedForward::allocate_saved(Arena& arena, std::int64_t rows,
                                 FeedForwardActivations& saved) const {
  saved.gate_up = arena.allocate(down_weight_.dtype(), {rows, 2 * inner_size_});
}

void FeedForward::allocate_inner(Arena& arena, std::int64_t rows,
                                 FeedForwardActivations& saved) const {
  saved.inner = arena.allocate(down_weight_.dtype(), {rows, inner_size_});
}

void FeedForward::activate(const Context& context, const FeedForwardActivations& saved) const {
  const Tensor gate = saved.gate_up.columns(0, inner_size_);
  const Tensor up = saved.gate_up.columns(inner_size_, inner_size_);
  if (poly_norm_) {
    poly_norm_forward(context, gate, up, act_weight_, act_bias_, saved.inner, mask_,
                      poly_norm_eps_);
  } else {
    swiglu_forward(context, gate, up, saved.inner, mask_);
  }
}

void FeedForward::forward(const Context& context, const Tensor& x,
                          const FeedForwardActivations& saved) const {
  const ProfileRange range("feed-forward forward");
  gate_up_.forward(context, x, saved.gate_up);
  activate(context, saved);
}

void FeedForward::project(const Context& context, const FeedForwardActivations& saved,
                          const Tensor& residual, const Tensor& out) const {
  matmul(context, saved.inner, down_weight_, out, {.transpose_b = true, .addend = residual});
}

void FeedForward::backward(const Context& context, const Tensor& x,
                           const FeedForwardActivations& saved, const Tensor& dout,
                           const Tensor& dx) const {
  const ProfileRange range("feed-forward backward");
  const ArenaScope scope(context.arena);
  const Tensor dinner = context.arena.allocate(x.dtype(), saved.inner.shape());
  const Tensor dgate_up = context.arena.allocate(x.dtype(), saved.gate_up.shape());
  if (down_gradient_) {
    matmul(context, dout, saved.inner, down_gradient_, {.transpose_a = true, .accumulate = true});
  }
  matmul(context, dout, down_weight_, dinner);

  const Tensor gate = saved.gate_up.columns(0, inner_size_);
  const Tensor up = saved.gate_up.columns(inner_size_, inner_size_);
  const Tensor dgate = dgate_up.columns(0, inner_size_);
  const Tensor dup = dgate_up.columns(inner_size_, inner_size_);
  if (poly_norm_) {
    poly_norm_backward(context, gate, up, act_weight_, act_bias_, dinner, dgate, dup,
                       act_weight_gradient_, act_bias_gradient_, mask_, poly_norm_eps_);
  } else {
    swiglu_backward(context, gate, up, dinner, dgate, dup, mask_);
  }
  gate_up_.backward(context, x, dgate_up, dx);
}

}  // namespace gda
