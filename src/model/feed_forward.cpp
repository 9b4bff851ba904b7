#include "model/feed_forward.h"

#include <fmt/format.h>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "model/tensor_exchange.h"

namespace gda {

FeedForward::FeedForward(const ModelConfig& config, const LayerPart& part,
                         const ParameterStore& parameters, std::int64_t layer,
                         const LayerGroups& groups)
    : inner_size_(part.units.size()),
      all_units_(config.intermediate_size),
      poly_norm_(config.hidden_act == Activation::poly_norm),
      poly_norm_eps_(config.poly_norm_eps),
      tensor_(groups.tensor) {
  const std::string prefix = fmt::format("model.layers.{}.mlp.", layer);
  gate_up_ = Linear(parameters, {prefix + "gate_proj.weight", prefix + "up_proj.weight"}, tensor_);
  down_ = Linear(parameters, {prefix + "down_proj.weight"}, tensor_);
  if (poly_norm_) {
    require<ConfigError>(tensor_ != nullptr || inner_size_ == all_units_,
                         "model.hidden_act: the means of poly_norm are over all {} units, and one "
                         "of the tensor-parallel ranks has {}; use one rank, or silu",
                         all_units_, inner_size_);
    act_weight_ = parameters.at(prefix + "act_fn.weight").weight();
    act_bias_ = parameters.at(prefix + "act_fn.bias").weight();
  }
}

void FeedForward::set_mask(const ColumnMask& mask) {
  mask_ = mask;
  // SwiGLU divides by no sum, and that of all places is more than its columns could have.
  if (mask_ && !poly_norm_) mask_.sum = static_cast<double>(inner_size_);
}

void FeedForward::allocate_saved(Arena& arena, std::int64_t rows,
                                 FeedForwardActivations& saved) const {
  saved.gate_up = arena.allocate(down_.dtype(), {rows, gate_up_.out_size()});
}

void FeedForward::allocate_inner(Arena& arena, std::int64_t rows,
                                 FeedForwardActivations& saved) const {
  saved.inner = arena.allocate(down_.dtype(), {rows, inner_size_});
}

UnitPart FeedForward::unit_part(const Context& context) const {
  if (tensor_ == nullptr) return {};
  return {.total = all_units_, .sum = [this, &context](const Tensor& sums) {
            reduce(context, *tensor_, sums, Reduction::sum);
          }};
}

void FeedForward::activate(const Context& context, const FeedForwardActivations& saved) const {
  const Tensor gate = saved.gate_up.columns(0, inner_size_);
  const Tensor up = saved.gate_up.columns(inner_size_, inner_size_);
  if (poly_norm_) {
    poly_norm_forward(context, gate, up, act_weight_.value, act_bias_.value, saved.inner, mask_,
                      poly_norm_eps_, unit_part(context));
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
  down_.forward(context, saved.inner, out, residual);
}

void FeedForward::backward(const Context& context, const Tensor& x,
                           const FeedForwardActivations& saved, const Tensor& dout,
                           const Tensor& dx, DeferredProducts* later) const {
  const ProfileRange range("feed-forward backward");
  const ArenaScope scope(context.arena);
  const Tensor dinner = context.arena.allocate(x.dtype(), saved.inner.shape());
  const Tensor dgate_up = context.arena.allocate(x.dtype(), saved.gate_up.shape());
  down_.backward(context, saved.inner, dout, dinner, later);

  const Tensor gate = saved.gate_up.columns(0, inner_size_);
  const Tensor up = saved.gate_up.columns(inner_size_, inner_size_);
  const Tensor dgate = dgate_up.columns(0, inner_size_);
  const Tensor dup = dgate_up.columns(inner_size_, inner_size_);
  if (poly_norm_) {
    poly_norm_backward(context, gate, up, act_weight_.value, act_bias_.value, dinner, dgate, dup,
                       act_weight_.gradient, act_bias_.gradient, mask_, poly_norm_eps_,
                       unit_part(context));
  } else {
    swiglu_backward(context, gate, up, dinner, dgate, dup, mask_);
  }
  gate_up_.backward(context, x, dgate_up, dx, later);
}

}  // namespace gda
