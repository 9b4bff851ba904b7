// A pre-norm decoder-only transformer with an explicit backward pass: the model, or a stage of it.
//
//   x_0 = embedding(token)
//   u_l = x_l + attention(RMSNorm(x_l))          x_{l+1} = u_l + feed_forward(RMSNorm(u_l))
//   loss = cross_entropy(lm_head(RMSNorm(x_L)), target)
//
// Gradients of parameters accumulate in the ParameterStore; gradients of activations overwrite.
// Frozen parameters get none, and backward ends at the lowest layer that has a trainable one.
//
// With C context ranks and S tensor-parallel places, a rank's pass has N = B T / C tokens (rows of
// a SequenceBatch), and of the residual stream its place has n = N / S rows: place t rows t n to
// (t+1) n. With a cache, in generation, every rank has all rows: n = N = T. Gradients that a rank
// computes are this place's terms; Completion (parameter_spec.h) says whose sum is whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/model/context_cut.h"
#include "gda/model/deferred_products.h"
#include "gda/model/forward_state.h"
#include "gda/model/growth_state.h"
#include "gda/model/kv_cache.h"
#include "gda/model/model_config.h"
#include "gda/model/parameters.h"
#include "gda/model/placement.h"
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

// B sequences of T tokens, row-major: row b * T + t. Of C context-parallel ranks each has N = B T /
// C of the rows, in the order of its ContextCut::rows.
struct SequenceBatch {
  std::int64_t batch = 0;   // B
  std::int64_t length = 0;  // T, of the whole sequences
  Tensor token;             // [N] i32; read where the embedding is
  Tensor position;          // [N] i32, position in the document: RoPE's angle
  // i32 or empty: first position of the document (attention.h), of the rows that attention has
  // here: [B*T] with ulysses, else [N].
  Tensor first_key;
  // [layers of the model, query heads that attention has here (Decoder::query_heads)] accumulate
  // type, or empty: raised by every pass to the largest logit of each head (attention.h).
  Tensor max_logit = {};
};

// The ranks that a decoder's place exchanges with; null: one rank.
struct StageGroups {
  Communicator* tensor = nullptr;
  Communicator* context = nullptr;
  ContextMethod method = ContextMethod::automatic;
};

// The batch of one document's tokens [n] i32, the first of which is token `begin` of it. Positions
// are in the context's arena.
SequenceBatch single_document(const Context& context, const Tensor& token, std::int64_t begin = 0);

// What a decoder tells of its buckets, by their indices in ParameterStore::buckets(), in the same
// order on all places of a stage. An empty function is not called.
struct BucketHooks {
  // Before a pass reads a bucket's values, frozen ones included; with the bucket that it reads next
  // if it is known, so that it can be fetched meanwhile. Forward and inference tell of the vectors,
  // the embedding and each layer, behind which the head comes next; losses and logits tell of
  // the head, and backward tells of each layer again.
  std::function<void(std::size_t bucket, std::optional<std::size_t> next)> before_use;
  // Of trainable buckets. Before a backward pass first adds to the bucket's gradient, and after its
  // last addition: once each in a pass.
  std::function<void(std::size_t bucket)> before_gradient;
  std::function<void(std::size_t bucket)> gradient_ready;
  std::function<void()> backward_begins;  // once the loss is known
};

struct AttentionInput;
struct LayerActivations;
struct LayerGroups;
struct LayerPart;
class DecoderLayer;
class GrowthMasks;
class Linear;
class StageBuckets;

class Decoder {
 public:
  // The whole model. `parameters` must outlive the decoder and hold parameter_specs(config).
  Decoder(const ModelConfig& config, const ParameterStore& parameters,
          Recompute recompute = Recompute::none, LinearCrossEntropyOptions loss_options = {});
  // The stage of `placement`. `specs` are those of the whole model, since what earlier stages train
  // decides how far backward goes; `parameters` holds place(specs, placement). Groups outlive it.
  // ConfigError if the stage has no layer, if the tensor group is not that of the placement, or if
  // the model's heads cannot be cut so (layer_part.h, context_cut.h).
  Decoder(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
          const Placement& placement, const ParameterStore& parameters,
          Recompute recompute = Recompute::none, LinearCrossEntropyOptions loss_options = {},
          const StageGroups& groups = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  const ModelConfig& config() const { return config_; }
  const Stage& stage() const { return stage_; }
  // The tokens that a pass without a cache has here.
  const ContextCut& context_cut() const { return cut_; }
  // Those of the model's query heads that attention has here in a pass without a cache.
  const IndexRange& query_heads() const { return query_heads_; }
  // For generation: of this stage's layers and this place's heads, in the decoder's memory.
  KvCache make_cache(std::int64_t capacity) const;
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

  // Of all passes from now on.
  void set_hooks(BucketHooks hooks) { hooks_ = std::move(hooks); }

  // Of a stage. The residual stream [n, D] goes from each to the next, its gradient the other way.
  //
  // input: the stream; empty where the embedding is. Backward reads it again. output: memory for
  // the stream behind the last layer; empty: it is taken from `kept` (forward_state.h). In the
  // stage with the head, that is in front of the last norm.
  ForwardState forward(const Context& context, Arena& kept, const SequenceBatch& batch,
                       const Tensor& input, const Tensor& output) const;
  // For stages without the head. gradient: of the output when called, of the input when it returns;
  // may be empty if takes_gradient() is false. later: gets the products for the gradients of the
  // layers' matrices, which backward_weights carries out; null: they are part of this pass.
  void backward(const Context& context, ForwardState state, const Tensor& gradient,
                DeferredProducts* later = nullptr) const;
  // For the stage with the head: last norm, loss, and the backward pass of scale * sum(loss).
  // target [N] i32 (kIgnoreTarget: left out); loss [N] accumulate type, per token, the same on all
  // tensor-parallel places. gradient: gets
  // that of the input; may be empty if gives_gradient() is false.
  void backward_from_loss(const Context& context, ForwardState state, const Tensor& target,
                          double scale, const Tensor& loss, const Tensor& gradient,
                          DeferredProducts* later = nullptr) const;
  // What a backward pass of this decoder put off; `later` is empty then. Hooks tell of the layers'
  // buckets here, and not in that pass.
  void backward_weights(const Context& context, DeferredProducts& later) const;
  // Whether anything is trained in this stage or before it, and whether anything is before it.
  bool takes_gradient() const { return backward_begins_below(stage_.layers.end); }
  bool gives_gradient() const;

  // Without a backward pass: the stream behind the last layer, in the context's arena. With a cache
  // of the stage's layers, `batch` is one sequence, without first_key, that continues the cached
  // one and joins it.
  Tensor infer(const Context& context, const SequenceBatch& batch, const Tensor& input,
               KvCache* cache = nullptr) const;
  // Of a stream, in the stage with the head, and on all tensor-parallel places: per-token loss [N],
  // and logits [N, V] (accumulate type). With logits of as many rows as the stream, as a pass with
  // a cache leaves it, nothing is gathered.
  void loss_of(const Context& context, const Tensor& stream, const Tensor& target,
               const Tensor& loss) const;
  void logits_of(const Context& context, const Tensor& stream, const Tensor& logits) const;

  // Of the whole model; OpError for a stage.
  //
  // Forward and backward of scale * sum(loss). target [N] i32 (kIgnoreTarget: left out);
  // loss [N] accumulate type, per token. Activations are in the context's arena meanwhile.
  void forward_backward(const Context& context, const SequenceBatch& batch, const Tensor& target,
                        double scale, const Tensor& loss);

  // Per-token loss alone.
  void forward_loss(const Context& context, const SequenceBatch& batch, const Tensor& target,
                    const Tensor& loss);

  // Logits [N, V] in the accumulate type, of every row.
  void forward_logits(const Context& context, const SequenceBatch& batch, const Tensor& logits);

  // Appends tokens [n] i32 to the cached sequence and gives the logits [1, V] (accumulate type) of
  // the token that follows the last. OpError when the cache or the model's positions are exhausted.
  void forward_cached(const Context& context, const Tensor& token, KvCache& cache,
                      const Tensor& logits);

  // lambda of each layer of the stage now, for reports; empty for types without it.
  std::vector<double> lambdas(const Context& context) const;

 private:
  // Sets what is here of heads, tokens and vocabulary.
  LayerGroups cut_over(const Placement& placement, const StageGroups& groups,
                       const LayerPart& part);
  // The stream behind the last layer; what layers keep is appended to `saved`, or nothing is kept.
  Tensor run(const Context& context, Arena& kept, const AttentionInput& attention,
             const Tensor& input, const Tensor& output, std::vector<LayerActivations>* saved) const;
  // The gradient of the last layer's output becomes that of the stage's input.
  void backward_layers(const Context& context, ForwardState& state, const Tensor& gradient,
                       DeferredProducts* later) const;
  // Of a batch, as its layers read it.
  AttentionInput attention_input(const SequenceBatch& batch, const KvCache* cache) const;
  std::int64_t stream_rows(const AttentionInput& input) const;
  void embed(const Context& context, const AttentionInput& input, const Tensor& x) const;
  // With the exchange of a vocabulary that is cut.
  LinearCrossEntropyOptions loss_options(const Context& context) const;
  struct LastNorm {
    Tensor y;    // [n, D]
    Tensor rho;  // [n]
  };
  // Of a stream, in the context's arena.
  LastNorm last_norm(const Context& context, const Tensor& stream) const;
  // Whether a layer below this one, or the embedding, is trained.
  bool backward_begins_below(std::int64_t layer) const;
  void check_whole(std::string_view op) const;

  ModelConfig config_;
  Stage stage_;
  const ParameterStore* parameters_;
  Recompute recompute_;
  LinearCrossEntropyOptions loss_options_;
  Communicator* tensor_ = nullptr;  // null: one place
  ContextCut cut_;
  AttentionConfig heads_;  // of this place
  IndexRange query_heads_;
  VocabularyPart vocabulary_;
  std::vector<IndexRange> vocabularies_;  // of all places
  std::unique_ptr<GrowthMasks> masks_;
  std::vector<DecoderLayer> layers_;
  Weight embedding_, norm_;
  std::unique_ptr<Linear> head_;
  std::unique_ptr<StageBuckets> buckets_;
  BucketHooks hooks_;
  std::int64_t lowest_trained_layer_ = 0;  // of the whole model
  bool trains_embedding_ = false;
  OwnedTensor rope_table_;
};

}  // namespace gda
