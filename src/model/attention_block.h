// The attention sublayer: projections, RoPE, attention, combination of heads, output projection.
#pragma once

#include <cstdint>

#include "gda/model/attention_shape.h"
#include "gda/model/decoder.h"
#include "gda/model/layer_part.h"
#include "gda/ops/attention.h"
#include "gda/ops/differential.h"
#include "model/linear.h"

namespace gda {

// What attention reads besides its input.
struct AttentionInput {
  SequenceBatch batch;
  Tensor rope_table;
  // Generation: keys and values of the tokens before these, which join them. `batch` is then one
  // sequence, without first_key, and there is no backward pass.
  const KvCache* cache = nullptr;
};

struct AttentionActivations {
  Tensor qkv;       // [N, q + k + v (+ gate)] after RoPE
  Tensor attended;  // [N, query heads * d_v]
  Tensor lse;       // [N, query heads]
  Tensor lambda;    // [1]
  Tensor rho;       // [N, signal heads], of subln
  Tensor mixed;     // [N, out_size], the input of o_proj; cheap to compute again from `attended`
};

class AttentionBlock {
 public:
  // Of this place's heads, whose weights `parameters` has.
  AttentionBlock(const ModelConfig& config, const LayerPart& part, const ParameterStore& parameters,
                 std::int64_t layer);

  // Of the columns of o_proj's input [out_size], from now on; empty: none.
  void set_head_mask(const Tensor& mask) { head_mask_ = mask; }

  // Takes memory for all activations but `mixed`, and for `mixed`.
  void allocate_saved(Arena& arena, std::int64_t rows, AttentionActivations& saved) const;
  void allocate_mixed(Arena& arena, std::int64_t rows, AttentionActivations& saved) const;

  // x [N, D] is the normed input; fills everything. out = residual + attention(x).
  void forward(const Context& context, const AttentionInput& input, const Tensor& x,
               const AttentionActivations& saved, const Tensor& residual, const Tensor& out) const;
  // Fills `mixed` again.
  void combine(const Context& context, const AttentionActivations& saved) const;
  void backward(const Context& context, const AttentionInput& input, const Tensor& x,
                const AttentionActivations& saved, const Tensor& dout, const Tensor& dx) const;

  // [1], for reports; empty for types without lambda.
  void lambda(const Context& context, const Tensor& out) const;
  bool has_lambda() const { return config_.is_differential(); }

 private:
  // `before`: cached tokens, whose keys come first.
  AttentionShape shape_for(const SequenceBatch& batch, std::int64_t before) const;
  void backward_combine(const Context& context, const AttentionActivations& saved,
                        const Tensor& dmixed, const Tensor& dattended, const Tensor& dqkv,
                        const Tensor& delta) const;

  AttentionConfig config_;  // counts of this place's heads
  std::int64_t layer_;
  std::int64_t gate_size_ = 0;
  AttentionShape shape_;
  DifferentialShape differential_;
  Linear qkv_, out_;
  Weight subln_;
  LambdaVectors lambda_, lambda_gradient_;
  Tensor head_mask_;
};

}  // namespace gda
