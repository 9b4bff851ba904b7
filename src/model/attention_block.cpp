#include "model/attention_block.h"

#include <fmt/format.h>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/rope.h"

namespace gda {

AttentionBlock::AttentionBlock(const ModelConfig& config, const LayerPart& part,
                               const ParameterStore& parameters, std::int64_t layer,
                               const LayerGroups& groups)
    : layer_(layer), groups_(groups), place_(config, part.attention, parameters, layer) {
  const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
  std::vector<std::string> names = {prefix + "q_proj.weight", prefix + "k_proj.weight",
                                    prefix + "v_proj.weight"};
  if (place_.gate_size() > 0) names.push_back(prefix + "lambda_proj.weight");
  qkv_ = Linear(parameters, names, groups.tensor);
  out_ = Linear(parameters, {prefix + "o_proj.weight"}, groups.tensor);
  if (groups.context == nullptr) return;
  exchange_.emplace(*groups.context, groups.cut);
  if (groups.exchanges_heads()) {
    shared_ = AttentionHeads(config, share_of(part.attention, groups.cut.size), parameters, layer);
  }
}

void AttentionBlock::set_head_mask(const Tensor& mask) {
  place_.set_mask(mask);
  if (!groups_.exchanges_heads()) return;
  const std::int64_t columns = shared_.config().out_size();
  shared_.set_mask(mask ? mask.rows(groups_.cut.rank * columns, columns) : Tensor{});
}

std::int64_t AttentionBlock::attended_rows(const AttentionInput& input) const {
  return exchanges_heads(input) ? input.batch.batch * input.batch.length : input.rows;
}

void AttentionBlock::allocate_saved(Arena& arena, const AttentionInput& input,
                                    AttentionActivations& saved) const {
  heads(input).allocate(arena, qkv_.dtype(), attended_rows(input), saved);
}

void AttentionBlock::allocate_mixed(Arena& arena, const AttentionInput& input,
                                    AttentionActivations& saved) const {
  saved.mixed = place_.combines() || exchanges_heads(input)
                    ? arena.allocate(qkv_.dtype(), {input.rows, place_.config().out_size()})
                    : saved.attended;
}

std::vector<AttentionBlock::Queries> AttentionBlock::queries(const AttentionInput& input) const {
  const SequenceBatch& batch = input.batch;
  const std::int64_t before = input.cache != nullptr ? input.cache->length() : 0;
  std::vector<IndexRange> tokens = {{0, batch.length}};
  if (gathers_keys(input)) tokens = groups_.cut.token_ranges(batch.length);
  std::vector<Queries> result;
  std::int64_t row = 0;
  for (const IndexRange& range : tokens) {
    Queries& queries = result.emplace_back();
    queries.row = row;
    queries.rows = batch.batch * range.size();
    queries.shape = heads(input).shape();
    queries.shape.batch = batch.batch;
    queries.shape.query_length = range.size();
    queries.shape.key_length = before + batch.length;
    queries.shape.query_offset = before + range.begin;
    row += queries.rows;
  }
  return result;
}

std::vector<std::int64_t> AttentionBlock::qkv_widths() const {
  const AttentionConfig& config = place_.config();
  std::vector<std::int64_t> widths = {config.q_size(), config.k_size(), config.v_size()};
  if (place_.gate_size() > 0) widths.push_back(place_.gate_size());
  return widths;
}

Tensor AttentionBlock::keys_and_values(const Tensor& qkv) const {
  const AttentionConfig& config = place_.config();
  return qkv.columns(config.q_size(), config.k_size() + config.v_size());
}

Tensor AttentionBlock::arranged(const Context& context, const AttentionInput& input,
                                const ContextExchange::Gathering& keys) const {
  const SequenceBatch& batch = input.batch;
  const Tensor whole =
      context.arena.allocate(keys.parts.dtype(), {batch.batch * batch.length, keys.parts.dim(1)});
  exchange_->arrange(context, batch.batch, keys, whole);
  return whole;
}

void AttentionBlock::attend(const Context& context, const AttentionInput& input,
                            const AttentionActivations& saved) const {
  const ArenaScope scope(context.arena);
  const AttentionHeads& heads = this->heads(input);
  const std::int64_t q = heads.config().q_size();
  const std::int64_t k = heads.config().k_size();
  const std::int64_t v = heads.config().v_size();
  Tensor keys = saved.qkv.columns(q, k);
  Tensor values = saved.qkv.columns(q + k, v);
  if (input.cache != nullptr) {
    const std::int64_t before = input.cache->length();
    const auto join = [&](const Tensor& cached, Tensor& fresh) {
      convert(context, fresh, cached.rows(before, fresh.dim(0)));
      fresh = cached.rows(0, before + fresh.dim(0));
    };
    join(input.cache->keys(layer_), keys);
    join(input.cache->values(layer_), values);
  }
  if (gathers_keys(input)) {
    const Tensor whole =
        arranged(context, input, exchange_->start_gather(context, keys_and_values(saved.qkv)));
    keys = whole.columns(0, k);
    values = whole.columns(k, v);
  }
  Tensor max_logit = input.batch.max_logit;
  if (max_logit) max_logit = max_logit.rows(layer_, 1).reshape({heads.shape().query_heads()});
  const Tensor& first = input.batch.first_key;
  for (const Queries& at : queries(input)) {
    const auto rows = [&](const Tensor& x) { return x.rows(at.row, at.rows); };
    attention_forward(context, at.shape, rows(saved.qkv.columns(0, q)), keys, values,
                      first ? rows(first) : first, rows(saved.attended), rows(saved.lse),
                      max_logit);
  }
}

void AttentionBlock::combine(const Context& context, const AttentionInput& input,
                             const AttentionActivations& saved) const {
  if (!exchanges_heads(input)) return place_.combine(context, saved, saved.mixed);
  const ArenaScope scope(context.arena);
  const Tensor by_head =
      shared_.combines() ? context.arena.allocate(
                               qkv_.dtype(), {attended_rows(input), shared_.config().out_size()})
                         : saved.attended;
  shared_.combine(context, saved, by_head);
  exchange_->to_tokens(context, input.batch.batch, {place_.config().out_size()}, by_head,
                       saved.mixed);
}

void AttentionBlock::forward(const Context& context, const AttentionInput& input, const Tensor& x,
                             const AttentionActivations& saved, const Tensor& residual,
                             const Tensor& out) const {
  const ProfileRange range("attention forward");
  {
    const ArenaScope scope(context.arena);
    const bool exchanges = exchanges_heads(input);
    const std::int64_t turned = place_.config().q_size() + place_.config().k_size();
    const Tensor qkv =
        exchanges ? context.arena.allocate(qkv_.dtype(), {input.rows, qkv_.out_size()}) : saved.qkv;
    qkv_.forward(context, x, qkv);
    rope_forward(context, qkv.columns(0, turned), input.batch.position, input.rope_table);
    if (exchanges) {
      exchange_->to_heads(context, input.batch.batch, qkv_widths(), qkv, saved.qkv);
    }
  }
  attend(context, input, saved);
  combine(context, input, saved);
  out_.forward(context, saved.mixed, out, residual);
}

void AttentionBlock::backward_attend(const Context& context, const AttentionInput& input,
                                     const AttentionActivations& saved,
                                     const AttentionHeads::Gradient& gradient,
                                     const ContextExchange::Gathering& keys,
                                     const Tensor& dqkv) const {
  const AttentionConfig& config = heads(input).config();
  const std::int64_t q = config.q_size();
  const std::int64_t k = config.k_size();
  const std::int64_t v = config.v_size();
  const Tensor& first = input.batch.first_key;
  // Keys and values side by side, and their gradients.
  const auto backward = [&](const Queries& at, const Tensor& kv, const Tensor& dkv) {
    const auto rows = [&](const Tensor& x) { return x ? x.rows(at.row, at.rows) : x; };
    attention_backward(context, at.shape, rows(saved.qkv.columns(0, q)), kv.columns(0, k),
                       kv.columns(k, v), rows(first), rows(saved.attended), rows(saved.lse),
                       rows(gradient.attended), rows(dqkv.columns(0, q)), dkv.columns(0, k),
                       dkv.columns(k, v), rows(gradient.delta));
  };
  if (!gathers_keys(input)) {
    return backward(queries(input).front(), saved.qkv.columns(q, k + v), dqkv.columns(q, k + v));
  }
  const ArenaScope scope(context.arena);
  const Tensor whole = arranged(context, input, keys);
  const Tensor sum = context.arena.allocate(whole.dtype(), whole.shape());
  const Tensor term = context.arena.allocate(whole.dtype(), whole.shape());
  const std::vector<Queries> stretches = queries(input);
  backward(stretches[0], whole, sum);
  backward(stretches[1], whole, term);
  add(context, term, sum);
  exchange_->reduce_scatter(context, input.batch.batch, sum, keys_and_values(dqkv));
}

void AttentionBlock::backward(const Context& context, const AttentionInput& input, const Tensor& x,
                              const AttentionActivations& saved, const Tensor& dout,
                              const Tensor& dx, DeferredProducts* later) const {
  const ProfileRange range("attention backward");
  const ArenaScope scope(context.arena);
  const bool exchanges = exchanges_heads(input);
  const std::int64_t batch = input.batch.batch;
  const DType compute = x.dtype();
  Tensor dqkv = context.arena.allocate(compute, saved.qkv.shape());
  Tensor dmixed = context.arena.allocate(compute, saved.mixed.shape());
  ContextExchange::Gathering keys;  // on their way under the output's products
  if (gathers_keys(input)) keys = exchange_->start_gather(context, keys_and_values(saved.qkv));
  out_.backward(context, saved.mixed, dout, dmixed, later);
  if (exchanges) {
    const std::vector<std::int64_t> widths = {place_.config().out_size()};
    const Tensor by_head =
        context.arena.allocate(compute, {attended_rows(input), shared_.config().out_size()});
    exchange_->to_heads(context, batch, widths, dmixed, by_head);
    dmixed = by_head;
  }
  const AttentionHeads::Gradient gradient = heads(input).backward(context, saved, dmixed, dqkv);
  backward_attend(context, input, saved, gradient, keys, dqkv);
  if (exchanges) {
    const Tensor by_token = context.arena.allocate(compute, {input.rows, qkv_.out_size()});
    exchange_->to_tokens(context, batch, qkv_widths(), dqkv, by_token);
    dqkv = by_token;
  }
  const std::int64_t turned = place_.config().q_size() + place_.config().k_size();
  rope_backward(context, dqkv.columns(0, turned), input.batch.position, input.rope_table);
  qkv_.backward(context, x, dqkv, dx, later);
}

}  // namespace gda
