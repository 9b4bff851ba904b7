// One decoder layer and its recomputation policies.
#pragma once

#include <cstdint>

#include "model/attention_block.h"
#include "model/feed_forward.h"
#include "model/growth_masks.h"

namespace gda {

struct LayerActivations {
  Tensor x;             // [N, D], the layer's input
  Tensor residual;      // [N, D], x + attention(...)
  Tensor input_rho;     // [N]
  Tensor post_rho;      // [N]
  Tensor input_normed;  // [N, D], cheap
  Tensor post_normed;   // [N, D], cheap
  AttentionActivations attention;
  FeedForwardActivations feed_forward;
};

class DecoderLayer {
 public:
  // This place's part of it, whose weights `parameters` has.
  DecoderLayer(const ModelConfig& config, const LayerPart& part, const ParameterStore& parameters,
               std::int64_t layer);

  const AttentionBlock& attention() const { return attention_; }

  // Of all passes from now on. The masks' memory must outlive their use.
  void set_masks(const LayerMasks& masks);

  // out [N, D] = the layer's output, other memory than x. The activations that `recompute` keeps
  // are taken from `kept`, which may be the context's arena, and stay there; the result holds views
  // of them. Without a backward pass: Recompute::full, which keeps none.
  LayerActivations forward(const Context& context, Arena& kept, const AttentionInput& input,
                           const Tensor& x, const Tensor& out, Recompute recompute) const;

  // gradient [N, D]: of the output when called, of the input when it returns.
  void backward(const Context& context, const AttentionInput& input, LayerActivations saved,
                const Tensor& gradient, Recompute recompute) const;

 private:
  void allocate_saved(Arena& arena, std::int64_t rows, LayerActivations& saved) const;
  void allocate_cheap(Arena& arena, std::int64_t rows, LayerActivations& saved) const;
  void compute(const Context& context, const AttentionInput& input,
               const LayerActivations& saved) const;
  void compute_cheap(const Context& context, const LayerActivations& saved) const;

  void backward_block(const Context& context, const AttentionInput& input,
                      const LayerActivations& saved, const Tensor& gradient) const;

  std::int64_t hidden_size_;
  double eps_;
  AttentionBlock attention_;
  FeedForward feed_forward_;
  Weight input_norm_, post_norm_;
  LayerMasks masks_;
};

}  // namespace gda
