// The feed-forward sublayer: down(activation(gate(x)) * up(x)).
#pragma once

#include <cstdint>

#include "gda/model/decoder.h"

namespace gda {

struct FeedForwardActivations {
  Tensor gate_up;  // [N, 2F]
  Tensor inner;    // [N, F], the input of down_proj; cheap to compute again from `gate_up`
};

class FeedForward {
 public:
  FeedForward(const ModelConfig& config, const ParameterStore& parameters, std::int64_t layer);

  void allocate_saved(Arena& arena, std::int64_t rows, FeedForwardActivations& saved) const;
  void allocate_inner(Arena& arena, std::int64_t rows, FeedForwardActivations& saved) const;

  // x [N, D] is the normed input. Fills gate_up and inner.
  void forward(const Context& context, const Tensor& x, const FeedForwardActivations& saved) const;
  // out = inner * down^T.
  void project(const Context& context, const FeedForwardActivations& saved,
               const Tensor& out) const;
  // Fills `inner` again.
  void activate(const Context& context, const FeedForwardActivations& saved) const;
  void backward(const Context& context, const Tensor& x, const FeedForwardActivations& saved,
                const Tensor& dout, const Tensor& dx) const;

 private:
  std::int64_t inner_size_;
  bool poly_norm_;
  Tensor gate_up_weight_, gate_up_gradient_;
  Tensor down_weight_, down_gradient_;
  Tensor act_weight_, act_weight_gradient_;
  Tensor act_bias_, act_bias_gradient_;
};

}  // namespace gda
