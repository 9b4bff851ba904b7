#include <optional>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/model/decoder.h"
#include "gda/ops/embedding.h"
#include "gda/ops/rms_norm.h"
#include "model/decoder_layer.h"
#include "model/growth_masks.h"
#include "model/linear.h"
#include "model/stage_buckets.h"

namespace gda {
namespace {

void call(const std::function<void(std::size_t)>& hook, std::optional<std::size_t> bucket) {
  if (hook && bucket) hook(*bucket);
}

}  // namespace

struct ForwardState::Kept {
  explicit Kept(Arena& arena) : scope(arena) {}
  ArenaScope scope;
  AttentionInput attention;
  std::vector<LayerActivations> layers;  // those that backward reaches
  Tensor output;
};

ForwardState::ForwardState(std::unique_ptr<Kept> kept) : kept_(std::move(kept)) {}
ForwardState::ForwardState(ForwardState&&) noexcept = default;
ForwardState& ForwardState::operator=(ForwardState&&) noexcept = default;
ForwardState::~ForwardState() = default;

const Tensor& ForwardState::output() const {
  return kept_->output;
}

bool Decoder::backward_begins_below(std::int64_t layer) const {
  return trains_embedding_ || lowest_trained_layer_ < layer;
}

bool Decoder::gives_gradient() const {
  return !stage_.has_embedding && backward_begins_below(stage_.layers.begin);
}

Tensor Decoder::run(const Context& context, Arena& kept, const AttentionInput& attention,
                    const Tensor& input, const Tensor& output,
                    std::vector<LayerActivations>* saved) const {
  const ProfileRange range("forward");
  const DType compute = compute_type();
  const Shape shape{attention.batch.batch * attention.batch.length, config_.hidden_size};
  buckets_->use_vectors(hooks_);
  Tensor x = input;
  if (stage_.has_embedding) {
    buckets_->use_embedding(hooks_);
    x = kept.allocate(compute, shape);
    embedding_forward(context, attention.batch.token, embedding_.value, x);
  }
  Tensor spare;  // what the layer before has read, if nobody reads it again
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    buckets_->use_layer(hooks_, i);
    const bool is_last = i + 1 == layers_.size();
    Tensor next = is_last ? output : Tensor{};
    if (!next) next = spare ? spare : kept.allocate(compute, shape);
    const std::int64_t layer = stage_.layers.begin + static_cast<std::int64_t>(i);
    const bool keeps = saved != nullptr && layer >= lowest_trained_layer_;
    LayerActivations activations =
        layers_[i].forward(context, kept, attention, x, next, keeps ? recompute_ : Recompute::full);
    if (keeps) saved->push_back(activations);
    const bool is_input = i == 0 && !stage_.has_embedding;
    spare = keeps || is_input ? Tensor{} : x;
    x = next;
  }
  return x;
}

ForwardState Decoder::forward(const Context& context, Arena& kept, const SequenceBatch& batch,
                              const Tensor& input, const Tensor& output) const {
  auto state = std::make_unique<ForwardState::Kept>(kept);
  state->attention = {.batch = batch, .rope_table = rope_table_.tensor};
  state->output = run(context, kept, state->attention, input, output, &state->layers);
  return ForwardState(std::move(state));
}

void Decoder::backward_layers(const Context& context, ForwardState& state,
                              const Tensor& gradient) const {
  const ProfileRange range("backward");
  ForwardState::Kept& kept = *state.kept_;
  const std::size_t lowest = layers_.size() - kept.layers.size();
  for (std::size_t i = layers_.size(); i-- > lowest; kept.layers.pop_back()) {
    buckets_->use_layer_backward(hooks_, i, lowest);
    call(hooks_.before_gradient, buckets_->trained_layer(i));
    layers_[i].backward(context, kept.attention, kept.layers.back(), gradient, recompute_);
    call(hooks_.gradient_ready, buckets_->trained_layer(i));
  }
  const std::optional<std::size_t> embedding = buckets_->trained_embedding();
  if (embedding_.gradient) {
    // A tied one has the head's gradient by now.
    if (embedding != buckets_->trained_head()) call(hooks_.before_gradient, embedding);
    embedding_backward(context, kept.attention.batch.token, gradient, embedding_.gradient);
  }
  call(hooks_.gradient_ready, embedding);
  call(hooks_.gradient_ready, buckets_->trained_vectors());
}

Decoder::LastNorm Decoder::last_norm(const Context& context, const Tensor& stream) const {
  const LastNorm result{.y = context.arena.allocate(stream.dtype(), stream.shape()),
                        .rho = context.arena.allocate(statistics_type(), {stream.dim(0)})};
  rms_norm_forward(context, stream, norm_.value, config_.rms_norm_eps, result.y, result.rho,
                   masks_->hidden());
  return result;
}

void Decoder::backward(const Context& context, ForwardState state, const Tensor& gradient, DeferredProducts*) const {
  ForwardState consumed = std::move(state);
  require<OpError>(!stage_.has_head,
                   "[backward] this stage has the head: its gradient is that of "
                   "the loss (backward_from_loss)");
  require<OpError>(gradient || !takes_gradient(),
                   "[backward] expected the gradient of the stage's output, got none");
  if (!takes_gradient()) return;
  call(hooks_.before_gradient, buckets_->trained_vectors());
  backward_layers(context, consumed, gradient);
}

void Decoder::backward_from_loss(const Context& context, ForwardState state, const Tensor& target,
                                 double scale, const Tensor& loss, const Tensor& gradient, DeferredProducts*) const {
  ForwardState consumed = std::move(state);
  require<OpError>(stage_.has_head, "[backward_from_loss] this stage has no head");
  require<OpError>(gradient || !gives_gradient(),
                   "[backward_from_loss] expected memory for the gradient of the stage's input");
  const ArenaScope scope(context.arena);
  const Tensor& output = consumed.output();
  const bool reaches_layers = !consumed.kept_->layers.empty();
  buckets_->use_head(hooks_, reaches_layers ? std::optional(layers_.size() - 1) : std::nullopt);
  call(hooks_.before_gradient, buckets_->trained_head());
  const LastNorm normed = last_norm(context, output);
  const Tensor dnormed = context.arena.allocate(output.dtype(), output.shape());
  {
    const ProfileRange range("loss");
    const Weight& head = head_->weight();
    linear_cross_entropy_forward_backward(context, normed.y, head.value, target, scale, loss,
                                          dnormed, head.gradient, loss_options_);
  }
  if (hooks_.backward_begins) hooks_.backward_begins();
  if (buckets_->trained_head() != buckets_->trained_embedding()) {
    call(hooks_.gradient_ready, buckets_->trained_head());
  }
  // With lm_head alone trainable there is nothing left to do.
  if (!takes_gradient() && !norm_.gradient) return;
  call(hooks_.before_gradient, buckets_->trained_vectors());
  const Tensor dstream =
      gradient ? gradient : context.arena.allocate(output.dtype(), output.shape());
  rms_norm_backward(context, dnormed, output, norm_.value, normed.rho, {}, dstream, norm_.gradient,
                    masks_->hidden());
  backward_layers(context, consumed, dstream);
}

Tensor Decoder::infer(const Context& context, const SequenceBatch& batch, const Tensor& input,
                      KvCache* cache) const {
  const AttentionInput attention{.batch = batch, .rope_table = rope_table_.tensor, .cache = cache};
  const Tensor stream = run(context, context.arena, attention, input, {}, nullptr);
  if (cache != nullptr) cache->advance(batch.length);
  return stream;
}

void Decoder::loss_of(const Context& context, const Tensor& stream, const Tensor& target,
                      const Tensor& loss) const {
  const ArenaScope scope(context.arena);
  buckets_->use_head(hooks_, std::nullopt);
  linear_cross_entropy_forward(context, last_norm(context, stream).y, head_->weight().value, target,
                               loss, loss_options_);
}

void Decoder::logits_of(const Context& context, const Tensor& stream, const Tensor& logits) const {
  const ArenaScope scope(context.arena);
  buckets_->use_head(hooks_, std::nullopt);
  head_->forward(context, last_norm(context, stream).y, logits);
}

}  // namespace gda
