#include <numeric>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"
#include "gda/model/decoder.h"
#include "gda/ops/elementwise.h"
#include "model/decoder_layer.h"
#include "model/linear.h"
#include "model/stage_buckets.h"
#include "model/tensor_exchange.h"

namespace gda {

SequenceBatch single_document(const Context& context, const Tensor& token, std::int64_t begin) {
  const std::int64_t length = token.dim(0);
  const Tensor position = context.arena.allocate(DType::i32, {length});
  fill_from_host(context.stream, position, [&](const Tensor& host) {
    std::iota(host.data<std::int32_t>(), host.data<std::int32_t>() + length,
              static_cast<std::int32_t>(begin));
  });
  return {.batch = 1, .length = length, .token = token, .position = position, .first_key = {}};
}

void Decoder::check_whole(std::string_view op) const {
  require<OpError>(stage_ == whole_model(config_),
                   "[{}] expected the whole model, this is a stage of it: layers [{}, {}) of {}",
                   op, stage_.layers.begin, stage_.layers.end, config_.num_hidden_layers);
}

void Decoder::forward_backward(const Context& context, const SequenceBatch& batch,
                               const Tensor& target, double scale, const Tensor& loss) {
  check_whole("forward_backward");
  ForwardState state = forward(context, context.arena, batch, {}, {});
  backward_from_loss(context, std::move(state), target, scale, loss, {});
}

void Decoder::forward_loss(const Context& context, const SequenceBatch& batch, const Tensor& target,
                           const Tensor& loss) {
  check_whole("forward_loss");
  const ArenaScope scope(context.arena);
  loss_of(context, infer(context, batch, {}), target, loss);
}

void Decoder::forward_logits(const Context& context, const SequenceBatch& batch,
                             const Tensor& logits) {
  check_whole("forward_logits");
  const ArenaScope scope(context.arena);
  logits_of(context, infer(context, batch, {}), logits);
}

void Decoder::forward_cached(const Context& context, const Tensor& token, KvCache& cache,
                             const Tensor& logits) {
  check_whole("forward_cached");
  const std::int64_t rows = token.dim(0);
  require<OpError>(cache.length() + rows <= cache.capacity(),
                   "[forward_cached] the cache holds {}, it has {} and {} more came",
                   counted(cache.capacity(), "token"), cache.length(), rows);
  require<OpError>(cache.length() + rows <= config_.max_position_embeddings,
                   "[forward_cached] the model has {}, of which {} are used and {} more came",
                   counted(config_.max_position_embeddings, "position"), cache.length(), rows);
  const ArenaScope scope(context.arena);
  const SequenceBatch batch = single_document(context, token, cache.length());
  logits_of(context, infer(context, batch, {}, &cache).rows(rows - 1, 1), logits);
}

KvCache Decoder::make_cache(std::int64_t capacity) const {
  return {heads_, stage_.layers, compute_type(), capacity,
          parameters_->all().front().value.device()};
}

Tensor Decoder::infer(const Context& context, const SequenceBatch& batch, const Tensor& input,
                      KvCache* cache) const {
  const Tensor stream =
      run(context, context.arena, attention_input(batch, cache), input, {}, nullptr);
  if (cache != nullptr) cache->advance(batch.length);
  return stream;
}

void Decoder::loss_of(const Context& context, const Tensor& stream, const Tensor& target,
                      const Tensor& loss) const {
  const ArenaScope scope(context.arena);
  buckets_->use_head(hooks_, std::nullopt);
  const Tensor normed = gathered(context, tensor_, last_norm(context, stream).y, target.dim(0));
  linear_cross_entropy_forward(context, normed, head_->weight().value, target, loss,
                               loss_options(context));
}

void Decoder::logits_of(const Context& context, const Tensor& stream, const Tensor& logits) const {
  const ArenaScope scope(context.arena);
  buckets_->use_head(hooks_, std::nullopt);
  const Tensor normed = last_norm(context, stream).y;
  if (tensor_ == nullptr) return head_->forward(context, normed, logits);
  // Parts of the vocabulary differ by one entry; they are sent as if all had the last one, which is
  // the largest.
  const std::int64_t rows = logits.dim(0);
  const Tensor parts =
      context.arena.allocate(logits.dtype(), {tensor_->size() * rows, vocabularies_.back().size()});
  const Tensor part = parts.rows(tensor_->rank() * rows, rows);
  head_->forward(context, normed, part.columns(0, head_->out_size()));
  start_gather(context, *tensor_, part, parts).wait();
  for (int i = 0; i < tensor_->size(); ++i) {
    const IndexRange& entries = vocabularies_[static_cast<std::size_t>(i)];
    convert(context, parts.rows(i * rows, rows).columns(0, entries.size()),
            logits.columns(entries.begin, entries.size()));
  }
}

}  // namespace gda
