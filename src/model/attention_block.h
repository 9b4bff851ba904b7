// The attention sublayer: projections, RoPE, attention, combination of heads, output projection.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gda/model/decoder.h"
#include "gda/model/layer_part.h"
#include "model/attention_heads.h"
#include "model/context_exchange.h"
#include "model/layer_groups.h"
#include "model/linear.h"

namespace gda {

// What attention reads besides its input.
struct AttentionInput {
  SequenceBatch batch;
  std::int64_t rows = 0;  // N, of the context rank; with a cache all of them
  Tensor rope_table;
  // Generation: keys and values of the tokens before these, which join them. `batch` is then one
  // sequence, without first_key, and there is no backward pass.
  const KvCache* cache = nullptr;
};

// With context ranks and no cache, attention itself is cut (gda/model/context_cut.h): with ulysses
// it has all tokens of some of this place's heads, R = B T rows; with gather R = N.
class AttentionBlock {
 public:
  // Of this place's heads, whose weights `parameters` has.
  AttentionBlock(const ModelConfig& config, const LayerPart& part, const ParameterStore& parameters,
                 std::int64_t layer, const LayerGroups& groups = {});

  // Of the columns of o_proj's input [out_size], from now on; empty: none.
  void set_head_mask(const Tensor& mask);

  // Takes memory for all activations but `mixed`, and for `mixed`.
  void allocate_saved(Arena& arena, const AttentionInput& input, AttentionActivations& saved) const;
  void allocate_mixed(Arena& arena, const AttentionInput& input, AttentionActivations& saved) const;

  // x [n, D] is the normed input; fills everything. out = residual + attention(x).
  void forward(const Context& context, const AttentionInput& input, const Tensor& x,
               const AttentionActivations& saved, const Tensor& residual, const Tensor& out) const;
  // Fills `mixed` again.
  void combine(const Context& context, const AttentionInput& input,
               const AttentionActivations& saved) const;
  void backward(const Context& context, const AttentionInput& input, const Tensor& x,
                const AttentionActivations& saved, const Tensor& dout, const Tensor& dx,
                DeferredProducts* later = nullptr) const;

  // [1], for reports; only of types with lambda.
  void lambda(const Context& context, const Tensor& out) const { place_.lambda(context, out); }
  bool has_lambda() const { return place_.has_lambda(); }

 private:
  // Neighbouring rows of queries that one call of attention is for.
  struct Queries {
    std::int64_t row = 0;
    std::int64_t rows = 0;
    AttentionShape shape;
  };
  bool exchanges_heads(const AttentionInput& input) const {
    return groups_.exchanges_heads() && input.cache == nullptr;
  }
  bool gathers_keys(const AttentionInput& input) const {
    return groups_.gathers_keys() && input.cache == nullptr;
  }
  // Those that attention has here.
  const AttentionHeads& heads(const AttentionInput& input) const {
    return exchanges_heads(input) ? shared_ : place_;
  }
  std::int64_t attended_rows(const AttentionInput& input) const;
  std::vector<Queries> queries(const AttentionInput& input) const;
  std::vector<std::int64_t> qkv_widths() const;

  void attend(const Context& context, const AttentionInput& input,
              const AttentionActivations& saved) const;
  // dqkv from dattended; with gather, `keys` are on their way.
  void backward_attend(const Context& context, const AttentionInput& input,
                       const AttentionActivations& saved, const AttentionHeads::Gradient& gradient,
                       const ContextExchange::Gathering& keys, const Tensor& dqkv) const;
  // Keys and values of this rank's rows, side by side.
  Tensor keys_and_values(const Tensor& qkv) const;
  // Those of all rows of the whole sequences, in the context's arena.
  Tensor arranged(const Context& context, const AttentionInput& input,
                  const ContextExchange::Gathering& keys) const;

  std::int64_t layer_;
  LayerGroups groups_;
  std::optional<ContextExchange> exchange_;
  AttentionHeads place_;   // all of this tensor-parallel place
  AttentionHeads shared_;  // ulysses: those of them that this context rank attends with
  Linear qkv_, out_;
};

}  // namespace gda
