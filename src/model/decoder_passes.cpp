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
#include "model/tensor_exchange.h"

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

AttentionInput Decoder::attention_input(const SequenceBatch& batch, const KvCache* cache) const {
  const std::int64_t all = batch.batch * batch.length;
  AttentionInput input{
      .batch = batch, .rows = all, .rope_table = rope_table_.tensor, .cache = cache};
  if (cache != nullptr) return input;
  require<OpError>(batch.length % cut_.divisor() == 0,
                   "[decoder] sequences of {} tokens do not divide by {}, for {} context ranks",
                   batch.length, cut_.divisor(), cut_.size);
  input.rows = all / cut_.size;
  const int places = tensor_ != nullptr ? tensor_->size() : 1;
  require<OpError>(input.rows % places == 0,
                   "[decoder] {} tokens do not divide over {} tensor-parallel ranks", input.rows,
                   places);
  return input;
}

std::int64_t Decoder::stream_rows(const AttentionInput& input) const {
  const bool is_cut = tensor_ != nullptr && input.cache == nullptr;
  return is_cut ? input.rows / tensor_->size() : input.rows;
}

void Decoder::embed(const Context& context, const AttentionInput& input, const Tensor& x) const {
  sum_terms(context, tensor_, input.rows, x, [&](const Tensor& terms) {
    embedding_forward(context, input.batch.token, embedding_.value, terms, vocabulary_);
  });
}

LinearCrossEntropyOptions Decoder::loss_options(const Context& context) const {
  LinearCrossEntropyOptions options = loss_options_;
  if (tensor_ == nullptr) return options;
  options.vocabulary = vocabulary_;
  options.maximum_over_parts = [this, &context](const Tensor& x) {
    reduce(context, *tensor_, x, Reduction::max);
  };
  options.sum_over_parts = [this, &context](const Tensor& x) {
    reduce(context, *tensor_, x, Reduction::sum);
  };
  return options;
}

Tensor Decoder::run(const Context& context, Arena& kept, const AttentionInput& attention,
                    const Tensor& input, const Tensor& output,
                    std::vector<LayerActivations>* saved) const {
  const ProfileRange range("forward");
  const DType compute = compute_type();
  const Shape shape{stream_rows(attention), config_.hidden_size};
  buckets_->use_vectors(hooks_);
  Tensor x = input;
  if (stage_.has_embedding) {
    buckets_->use_embedding(hooks_);
    x = kept.allocate(compute, shape);
    embed(context, attention, x);
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
  state->attention = attention_input(batch, nullptr);
  state->output = run(context, kept, state->attention, input, output, &state->layers);
  return ForwardState(std::move(state));
}

void Decoder::backward_layers(const Context& context, ForwardState& state, const Tensor& gradient,
                              DeferredProducts* later) const {
  const ProfileRange range("backward");
  ForwardState::Kept& kept = *state.kept_;
  const std::size_t lowest = layers_.size() - kept.layers.size();
  for (std::size_t i = layers_.size(); i-- > lowest; kept.layers.pop_back()) {
    buckets_->use_layer_backward(hooks_, i, lowest);
    if (later != nullptr) {
      later->begin_layer(i);
    } else {
      call(hooks_.before_gradient, buckets_->trained_layer(i));
    }
    layers_[i].backward(context, kept.attention, kept.layers.back(), gradient, recompute_, later);
    if (later == nullptr) call(hooks_.gradient_ready, buckets_->trained_layer(i));
  }
  const std::optional<std::size_t> embedding = buckets_->trained_embedding();
  if (embedding_.gradient) {
    // A tied one has the head's gradient by now.
    if (embedding != buckets_->trained_head()) call(hooks_.before_gradient, embedding);
    const ArenaScope scope(context.arena);
    embedding_backward(context, kept.attention.batch.token,
                       gathered(context, tensor_, gradient, kept.attention.rows),
                       embedding_.gradient, vocabulary_);
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

void Decoder::backward(const Context& context, ForwardState state, const Tensor& gradient,
                       DeferredProducts* later) const {
  ForwardState consumed = std::move(state);
  require<OpError>(!stage_.has_head,
                   "[backward] this stage has the head: its gradient is that of "
                   "the loss (backward_from_loss)");
  require<OpError>(gradient || !takes_gradient(),
                   "[backward] expected the gradient of the stage's output, got none");
  if (!takes_gradient()) return;
  call(hooks_.before_gradient, buckets_->trained_vectors());
  backward_layers(context, consumed, gradient, later);
}

void Decoder::backward_from_loss(const Context& context, ForwardState state, const Tensor& target,
                                 double scale, const Tensor& loss, const Tensor& gradient,
                                 DeferredProducts* later) const {
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
    const ArenaScope loss_scope(context.arena);
    const Weight& head = head_->weight();
    const std::int64_t rows = target.dim(0);
    const Tensor all = gathered(context, tensor_, normed.y, rows);
    sum_terms(context, tensor_, rows, dnormed, [&](const Tensor& terms) {
      linear_cross_entropy_forward_backward(context, all, head.value, target, scale, loss, terms,
                                            head.gradient, loss_options(context));
    });
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
  backward_layers(context, consumed, dstream, later);
}

void Decoder::backward_weights(const Context& context, DeferredProducts& later) const {
  const ProfileRange range("backward of weights");
  for (std::size_t begin = 0; begin < later.products_.size();) {
    const std::size_t layer = later.products_[begin].layer;
    std::size_t end = begin;
    while (end < later.products_.size() && later.products_[end].layer == layer) ++end;
    call(hooks_.before_gradient, buckets_->trained_layer(layer));
    later.run(context, begin, end);
    call(hooks_.gradient_ready, buckets_->trained_layer(layer));
    begin = end;
  }
  later.clear();
}

}  // namespace gda
