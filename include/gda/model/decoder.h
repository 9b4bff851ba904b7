// A pre-norm decoder-only transformer with an explicit backward pass.
//
//   x_0 = embedding(token)
//   u_l = x_l + attention(RMSNorm(x_l))          x_{l+1} = u_l + feed_forward(RMSNorm(u_l))
//   loss = cross_entropy(lm_head(RMSNorm(x_L)), target)
//
// Gradients of parameters accumulate in the ParameterStore; gradients of activations overwrite.
// Frozen parameters get none, and backward ends at the lowest layer that has a trainable one.
// Activations live in the context's arena between the two passes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gda/model/growth_state.h"
#include "gda/model/model_config.h"
#include "gda/model/parameters.h"
#include "gda/ops/context.h"
#include "gda/ops/linear_cross_entropy.h"

namespace gda {

// What a layer keeps for its backward pass; what it does not keep it computes again, with the same
// kernels on the same inputs, so gradients are equal bit for bit.
//   none       everything: no extra work
//   selective  all but the outputs of cheap elementwise work (norms, activation, head combination)
//   full       the layer's input alone: one more forward pass
enum class Recompute : std::uint8_t { none, selective, full };
template <>
inline constexpr auto kWordsOf<Recompute> = words("none", "selective", "full");

// B sequences of T tokens, row-major: row b * T + t.
struct SequenceBatch {
  std::int64_t batch = 0;   // B
  std::int64_t length = 0;  // T
  Tensor token;             // [B*T] i32
  Tensor position;          // [B*T] i32, position in the document: RoPE's angle
  Tensor first_key;         // [B*T] i32 or empty: first position of the document (attention.h)
};

// Keys and values of the tokens of one sequence that were seen, for generation.
class KvCache {
 public:
  KvCache(const ModelConfig& config, DType compute, std::int64_t capacity, Device device = {});

  std::int64_t capacity() const { return capacity_; }
  std::int64_t length() const { return length_; }
  void advance(std::int64_t tokens) { length_ += tokens; }
  void clear() { length_ = 0; }
  // [capacity, k_size] and [capacity, v_size] of a layer.
  const Tensor& keys(std::int64_t layer) const;
  const Tensor& values(std::int64_t layer) const;

 private:
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<OwnedTensor> keys_;
  std::vector<OwnedTensor> values_;
};

// Called with indices of trainable buckets in ParameterStore::buckets().
struct BucketHooks {
  std::function<void(std::size_t)> before_use;      // before a forward pass first reads the bucket
  std::function<void(std::size_t)> gradient_ready;  // after backward's last addition to it
  std::function<void()> backward_begins = {};       // once the loss is known
};

class DecoderLayer;
class GrowthMasks;

class Decoder {
 public:
  // `parameters` must outlive the decoder and hold parameter_specs(config).
  Decoder(const ModelConfig& config, const ParameterStore& parameters,
          Recompute recompute = Recompute::none, LinearCrossEntropyOptions loss_options = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  const ModelConfig& config() const { return config_; }
  DType compute_type() const { return parameters_->compute_type(); }
  // Type of losses and logits.
  DType statistics_type() const { return accumulate_type(parameters_->compute_type()); }

  // Masked structure growth: all passes from now on take the coordinates of `mask` with the factor
  // m in [0, 1] (docs/architecture.md):
  //   hidden        every RMSNorm, the last one too, is the masked one (rms_norm.h), so that what
  //                 the new columns of the residual stream hold is read with the factor m
  //   feed_forward  the gated product is masked (gated_activation.h)
  //   heads         the input of o_proj is multiplied by m
  //   layers        x_{l+1} = x_l + m * (Block(x_l) - x_l)
  // At m = 0 the logits are those of the model without the new coordinates, whatever their weights
  // are, and the gradients of these weights are exact zeros: of the new columns of the embedding,
  // lm_head and what reads the residual stream (q, k, v, lambda_proj, gate, up), the new rows of
  // what writes to it (o_proj, down), the new elements of norms; of new rows of gate and up and
  // columns of down; of new heads' rows of q and lambda_proj and columns of o_proj (and of rows of
  // k and v that new heads alone read); and of all of a new layer. At m = 1, or with an empty mask,
  // the model is the plain one. Costs nothing then; else it is one pass more over o_proj's input
  // where heads grow, and over the stream in layers that grow.
  // Do not change it while a KvCache holds tokens of another m. ConfigError for a mask that does
  // not fit the model, OpError for m outside [0, 1].
  void set_growth(const GrowthMask& mask, double m);
  // The mask of a run at this step; without a ramp, none.
  void set_growth_at(const GrowthState& growth, std::int64_t step);

  // Forward and backward of scale * sum(loss). target [N] i32 (kIgnoreTarget: left out);
  // loss [N] accumulate type, per token.
  void forward_backward(const Context& context, const SequenceBatch& input, const Tensor& target,
                        double scale, const Tensor& loss, const BucketHooks& hooks = {});

  // Per-token loss alone.
  void forward_loss(const Context& context, const SequenceBatch& input, const Tensor& target,
                    const Tensor& loss);

  // Logits [B*T, V] in the accumulate type, of every row.
  void forward_logits(const Context& context, const SequenceBatch& input, const Tensor& logits);

  // Appends tokens [n] i32 to the cached sequence and gives the logits [1, V] (accumulate type) of
  // the token that follows the last. OpError when the cache or the model's positions are exhausted.
  void forward_cached(const Context& context, const Tensor& token, KvCache& cache,
                      const Tensor& logits);

  // lambda of each layer now, for reports; empty for types without it.
  std::vector<double> lambdas(const Context& context) const;

 private:
  struct Trunk;
  Trunk forward(const Context& context, const SequenceBatch& input, Recompute keep,
                const BucketHooks& hooks);
  void backward(const Context& context, const SequenceBatch& input, const Trunk& trunk,
                const Tensor& dhidden, const BucketHooks& hooks);

  ModelConfig config_;
  const ParameterStore* parameters_;
  Recompute recompute_;
  LinearCrossEntropyOptions loss_options_;
  std::unique_ptr<GrowthMasks> masks_;
  std::vector<DecoderLayer> layers_;
  Tensor embedding_, embedding_gradient_;
  Tensor norm_, norm_gradient_;
  Tensor head_, head_gradient_;
  // Of trainable parameters; none where they are frozen.
  std::optional<std::size_t> embedding_bucket_, head_bucket_, vector_bucket_;
  std::size_t lowest_trained_layer_ = 0;
  OwnedTensor rope_table_;
};

}  // namespace gda
