#include "model/decoder_layer.h"

#include <fmt/format.h>

#include "gda/ops/elementwise.h"
#include "gda/ops/rms_norm.h"

namespace gda {

DecoderLayer::DecoderLayer(const ModelConfig& config, const LayerPart& part,
                           const ParameterStore& parameters, std::int64_t layer,
                           const LayerGroups& groups)
    : hidden_size_(config.hidden_size),
      eps_(config.rms_norm_eps),
      attention_(config, part, parameters, layer, groups),
      feed_forward_(config, part, parameters, layer, groups) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  input_norm_ = parameters.at(prefix + "input_layernorm.weight").weight();
  post_norm_ = parameters.at(prefix + "post_attention_layernorm.weight").weight();
}

void DecoderLayer::set_masks(const LayerMasks& masks) {
  masks_ = masks;
  attention_.set_head_mask(masks.heads);
  feed_forward_.set_mask(masks.feed_forward);
}

void DecoderLayer::allocate_saved(Arena& arena, const AttentionInput& input,
                                  LayerActivations& saved) const {
  const DType compute = saved.x.dtype();
  const std::int64_t rows = saved.x.dim(0);
  saved.residual = arena.allocate(compute, {rows, hidden_size_});
  saved.input_rho = arena.allocate(accumulate_type(compute), {rows});
  saved.post_rho = arena.allocate(accumulate_type(compute), {rows});
  attention_.allocate_saved(arena, input, saved.attention);
  feed_forward_.allocate_saved(arena, input.rows, saved.feed_forward);
}

void DecoderLayer::allocate_cheap(Arena& arena, const AttentionInput& input,
                                  LayerActivations& saved) const {
  const DType compute = saved.x.dtype();
  const std::int64_t rows = saved.x.dim(0);
  saved.input_normed = arena.allocate(compute, {rows, hidden_size_});
  saved.post_normed = arena.allocate(compute, {rows, hidden_size_});
  attention_.allocate_mixed(arena, input, saved.attention);
  feed_forward_.allocate_inner(arena, input.rows, saved.feed_forward);
}

void DecoderLayer::compute(const Context& context, const AttentionInput& input,
                           const LayerActivations& saved) const {
  rms_norm_forward(context, saved.x, input_norm_.value, eps_, saved.input_normed, saved.input_rho,
                   masks_.hidden);
  attention_.forward(context, input, saved.input_normed, saved.attention, saved.x, saved.residual);
  rms_norm_forward(context, saved.residual, post_norm_.value, eps_, saved.post_normed,
                   saved.post_rho, masks_.hidden);
  feed_forward_.forward(context, saved.post_normed, saved.feed_forward);
}

void DecoderLayer::compute_cheap(const Context& context, const AttentionInput& input,
                                 const LayerActivations& saved) const {
  rms_norm_forward(context, saved.x, input_norm_.value, eps_, saved.input_normed, saved.input_rho,
                   masks_.hidden);
  attention_.combine(context, input, saved.attention);
  rms_norm_forward(context, saved.residual, post_norm_.value, eps_, saved.post_normed,
                   saved.post_rho, masks_.hidden);
  feed_forward_.activate(context, saved.feed_forward);
}

LayerActivations DecoderLayer::forward(const Context& context, Arena& kept,
                                       const AttentionInput& input, const Tensor& x,
                                       const Tensor& out, Recompute recompute) const {
  LayerActivations saved;
  saved.x = x;
  // What is kept is taken first, so that the rest can be given back at the end of the scope.
  if (recompute != Recompute::full) allocate_saved(kept, input, saved);
  if (recompute == Recompute::none) allocate_cheap(kept, input, saved);
  const ArenaScope scope(context.arena);
  LayerActivations all = saved;
  if (recompute == Recompute::full) allocate_saved(context.arena, input, all);
  if (recompute != Recompute::none) allocate_cheap(context.arena, input, all);
  compute(context, input, all);
  feed_forward_.project(context, all.feed_forward, all.residual, out);
  if (masks_.layer != 1) axpby(context, 1 - masks_.layer, x, masks_.layer, out);
  return saved;
}

void DecoderLayer::backward(const Context& context, const AttentionInput& input,
                            LayerActivations saved, const Tensor& gradient, Recompute recompute,
                            DeferredProducts* later) const {
  const ArenaScope scope(context.arena);
  if (recompute == Recompute::full) allocate_saved(context.arena, input, saved);
  if (recompute != Recompute::none) allocate_cheap(context.arena, input, saved);
  if (recompute == Recompute::full) compute(context, input, saved);
  if (recompute == Recompute::selective) compute_cheap(context, input, saved);
  if (masks_.layer == 1) {
    backward_block(context, input, saved, gradient, later);
    return;
  }
  // out = (1 - m) x + m Block(x): the gradient takes both ways.
  const Tensor around = context.arena.allocate(gradient.dtype(), gradient.shape());
  convert(context, gradient, around);
  axpby(context, 0, around, masks_.layer, gradient);
  backward_block(context, input, saved, gradient, later);
  axpby(context, 1 - masks_.layer, around, 1, gradient);
}

void DecoderLayer::backward_block(const Context& context, const AttentionInput& input,
                                  const LayerActivations& saved, const Tensor& gradient,
                                  DeferredProducts* later) const {
  const ArenaScope scope(context.arena);
  const Tensor dnormed = context.arena.allocate(gradient.dtype(), gradient.shape());
  feed_forward_.backward(context, saved.post_normed, saved.feed_forward, gradient, dnormed, later);
  rms_norm_backward(context, dnormed, saved.residual, post_norm_.value, saved.post_rho, gradient,
                    gradient, post_norm_.gradient, masks_.hidden);
  attention_.backward(context, input, saved.input_normed, saved.attention, gradient, dnormed,
                      later);
  rms_norm_backward(context, dnormed, saved.x, input_norm_.value, saved.input_rho, gradient,
                    gradient, input_norm_.gradient, masks_.hidden);
}

}  // namespace gda
