// One decoder layer and its recomputation policies.
#pragma once

#include <cstdint>

#include "model/attention_block.h"
#include "model/feed_forward.h"
#include "model/growth_masks.h"

namespace gda {

struct LayerActivations {
  // Of this place's rows of the residual stream.
  Tensor x;             // [n, D], the layer's input
  Tensor residual;      // [n, D], x + attention(...)
  Tensor input_rho;     // [n]
  Tensor post_rho;      // [n]
  Tensor input_normed;  // [n, D], cheap
  Tensor post_normed;   // [n, D], cheap
  AttentionActivations attention;
  FeedForwardActivations feed_forward;
};

class DecoderLayer {
 public:
  // This place's part of it, whose weights `parameters` has.
  DecoderLayer(const ModelConfig& config, const LayerPart& part, const ParameterStore& parameters,
               std::int64_t layer, const LayerGroups& groups = {});

  const AttentionBlock& attention() const { return attention_; }

  // Of all passes from now on. The masks' memory must outlive their use.
  void set_masks(const LayerMasks& masks);

  // out [n, D] = the layer's output, other memory than x. The activations that `recompute` keeps
  // are taken from `kept`, which may be the context's arena, and stay there; the result holds views
  // of them. Without a backward pass: Recompute::full, which keeps none.
  LayerActivations forward(const Context& context, Arena& kept, const AttentionInput& input,
                           const Tensor& x, const Tensor& out, Recompute recompute) const;

  // gradient [n, D]: of the output when called, of the input when it returns. later: gets the
  // products for the weights' gradients; null: they are carried out.
  void backward(const Context& context, const AttentionInput& input, LayerActivations saved,
                const Tensor& gradient, Recompute recompute,
                DeferredProducts* later = nullptr) const;

 private:
  void allocate_saved(Arena& arena, const AttentionInput& input, LayerActivations& saved) const;
  void allocate_cheap(Arena& arena, const AttentionInput& input, LayerActivations& saved) const;
  void compute(const Context& context, const AttentionInput& input,
               const LayerActivations& saved) const;
  void compute_cheap(const Context& context, const AttentionInput& input,
                     const LayerActivations& saved) const;

  void backward_block(const Context& context, const AttentionInput& input,
                      const LayerActivations& saved, const Tensor& gradient,
                      DeferredProducts* later) const;

  std::int64_t hidden_size_;
  double eps_;
  AttentionBlock attention_;
  FeedForward feed_forward_;
  Weight input_norm_, post_norm_;
  LayerMasks masks_;
};

}  // namespace gda
