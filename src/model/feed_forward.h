// The feed-forward sublayer: down(activation(gate(x)) * up(x)).
#pragma once

#include <cstdint>

#include "gda/model/decoder.h"
#include "gda/model/layer_part.h"
#include "gda/ops/column_mask.h"
#include "gda/ops/gated_activation.h"
#include "model/layer_groups.h"
#include "model/linear.h"

namespace gda {

struct FeedForwardActivations {
  Tensor gate_up;  // [N, 2F]
  Tensor inner;    // [N, F], the input of down_proj; cheap to compute again from `gate_up`
};

class FeedForward {
 public:
  // Of this place's units (F below), whose weights `parameters` has. PolyNorm's means are over the
  // units of all places: ConfigError if this one has not all of them and no group to ask.
  FeedForward(const ModelConfig& config, const LayerPart& part, const ParameterStore& parameters,
              std::int64_t layer, const LayerGroups& groups = {});

  // Of `inner`, from now on; empty: none.
  void set_mask(const ColumnMask& mask);

  void allocate_saved(Arena& arena, std::int64_t rows, FeedForwardActivations& saved) const;
  void allocate_inner(Arena& arena, std::int64_t rows, FeedForwardActivations& saved) const;

  // x [n, D] is the normed input. Fills gate_up and inner.
  void forward(const Context& context, const Tensor& x, const FeedForwardActivations& saved) const;
  // out = residual + inner * down^T.
  void project(const Context& context, const FeedForwardActivations& saved, const Tensor& residual,
               const Tensor& out) const;
  // Fills `inner` again.
  void activate(const Context& context, const FeedForwardActivations& saved) const;
  void backward(const Context& context, const Tensor& x, const FeedForwardActivations& saved,
                const Tensor& dout, const Tensor& dx, DeferredProducts* later = nullptr) const;

 private:
  // PolyNorm's sums over the units of all places.
  UnitPart unit_part(const Context& context) const;

  std::int64_t inner_size_;  // F
  std::int64_t all_units_;   // of all places
  bool poly_norm_;
  double poly_norm_eps_;
  Communicator* tensor_;
  Linear gate_up_, down_;
  Weight act_weight_, act_bias_;  // PolyNorm's
  ColumnMask mask_;
};

}  // namespace gda
