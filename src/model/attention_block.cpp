#include "model/attention_block.h"

#include <fmt/format.h>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"
#include "gda/ops/rope.h"

namespace gda {

AttentionShape attention_shape(const AttentionConfig& config) {
  AttentionShape shape;
  shape.head_dim = config.head_dim;
  shape.value_dim = config.value_dim();
  shape.key_heads = config.num_key_value_heads;
  shape.value_heads = config.kv_groups();
  const std::int64_t heads = config.query_heads();
  for (std::int64_t head = 0; head < heads; ++head) {
    if (config.is_differential()) {
      // Striped: `ratio` signal heads, then their noise head; a K/V group serves noise_heads / G of
      // these stripes, and holds a signal key and a noise key.
      const std::int64_t stripe = head / (config.ratio() + 1);
      const bool is_noise = head % (config.ratio() + 1) == config.ratio();
      const std::int64_t group = stripe * shape.value_heads / config.noise_heads;
      shape.key_head.push_back(static_cast<int>(2 * group + (is_noise ? 1 : 0)));
      shape.value_head.push_back(static_cast<int>(group));
    } else {
      const std::int64_t group = head * shape.value_heads / heads;
      shape.key_head.push_back(static_cast<int>(group));
      shape.value_head.push_back(static_cast<int>(group));
    }
  }
  return shape;
}

AttentionBlock::AttentionBlock(const ModelConfig& config, const ParameterStore& parameters,
                               std::int64_t layer)
    : config_(config.attention), layer_(layer), shape_(attention_shape(config.attention)) {
  const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
  const bool gated = config_.type == AttentionType::differential_v2;
  if (gated) gate_size_ = config_.num_attention_heads;
  std::vector<std::string> names = {prefix + "q_proj.weight", prefix + "k_proj.weight",
                                    prefix + "v_proj.weight"};
  if (gated) names.push_back(prefix + "lambda_proj.weight");
  qkv_ = FusedLinear(parameters, names);
  const Parameter& out = parameters.at(prefix + "o_proj.weight");
  out_weight_ = out.value;
  out_gradient_ = out.gradient;
  if (!config_.is_differential()) return;
  const auto take = [&](const char* name, Tensor& value, Tensor& gradient) {
    const Parameter& parameter = parameters.at(prefix + name);
    value = parameter.value;
    gradient = parameter.gradient;
  };
  take("subln.weight", subln_, subln_gradient_);
  take("lambda_q1", lambda_.q1, lambda_gradient_.q1);
  take("lambda_k1", lambda_.k1, lambda_gradient_.k1);
  take("lambda_q2", lambda_.q2, lambda_gradient_.q2);
  take("lambda_k2", lambda_.k2, lambda_gradient_.k2);
  differential_ = {.noise_heads = config_.noise_heads,
                   .ratio = config_.ratio(),
                   .value_dim = config_.value_dim(),
                   .lambda_init = config.lambda_init_of(layer),
                   .eps = config.attn_rms_norm_eps};
}

void AttentionBlock::allocate_saved(Arena& arena, std::int64_t rows,
                                    AttentionActivations& saved) const {
  const DType compute = qkv_.dtype();
  const DType statistics = accumulate_type(compute);
  saved.qkv = arena.allocate(compute, {rows, qkv_.out_size()});
  saved.attended = arena.allocate(compute, {rows, shape_.query_heads() * shape_.value_dim});
  saved.lse = arena.allocate(statistics, {rows, shape_.query_heads()});
  if (has_lambda()) {
    saved.lambda = arena.allocate(statistics, {1});
    saved.rho = arena.allocate(statistics, {rows, differential_.signal_heads()});
  }
}

void AttentionBlock::allocate_mixed(Arena& arena, std::int64_t rows,
                                    AttentionActivations& saved) const {
  // Softmax heads are not combined; a mask needs a copy, since backward reads them unmasked.
  saved.mixed = config_.type == AttentionType::softmax && !head_mask_
                    ? saved.attended
                    : arena.allocate(qkv_.dtype(), {rows, config_.out_size()});
}

AttentionShape AttentionBlock::shape_for(std::int64_t batch, std::int64_t queries,
                                         std::int64_t keys, std::int64_t offset) const {
  AttentionShape shape = shape_;
  shape.batch = batch;
  shape.query_length = queries;
  shape.key_length = keys;
  shape.query_offset = offset;
  return shape;
}

void AttentionBlock::combine(const Context& context, const AttentionActivations& saved) const {
  if (has_lambda()) {
    lambda_forward(context, lambda_, differential_.lambda_init, saved.lambda);
    differential_forward(context, differential_, saved.attended, saved.lambda, subln_, saved.mixed,
                         saved.rho);
  } else if (gate_size_ > 0) {
    const Tensor gate = saved.qkv.columns(saved.qkv.dim(1) - gate_size_, gate_size_);
    gated_difference_forward(context, saved.attended, gate, saved.mixed);
  }
  if (!head_mask_) return;
  const Tensor& heads = config_.type == AttentionType::softmax ? saved.attended : saved.mixed;
  scale_columns(context, heads, head_mask_, saved.mixed);
}

void AttentionBlock::forward(const Context& context, const SequenceBatch& input,
                             const Tensor& rope_table, const Tensor& x,
                             const AttentionActivations& saved, const Tensor& residual,
                             const Tensor& out) const {
  const ProfileRange range("attention forward");
  const std::int64_t q = config_.q_size();
  const std::int64_t k = config_.k_size();
  qkv_.forward(context, x, saved.qkv);
  rope_forward(context, saved.qkv.columns(0, q + k), input.position, rope_table);
  attention_forward(context, shape_for(input.batch, input.length, input.length, 0),
                    saved.qkv.columns(0, q), saved.qkv.columns(q, k),
                    saved.qkv.columns(q + k, config_.v_size()), input.first_key, saved.attended,
                    saved.lse);
  combine(context, saved);
  matmul(context, saved.mixed, out_weight_, out, {.transpose_b = true, .addend = residual});
}

void AttentionBlock::backward_combine(const Context& context, const AttentionActivations& saved,
                                      const Tensor& dmixed, const Tensor& dattended,
                                      const Tensor& dqkv, const Tensor& delta) const {
  if (has_lambda()) {
    const Tensor dlambda = context.arena.allocate(saved.lambda.dtype(), {1});
    differential_backward(context, differential_, saved.attended, saved.lambda, subln_, saved.rho,
                          dmixed, dattended, subln_gradient_, dlambda, delta);
    lambda_backward(context, lambda_, dlambda, lambda_gradient_);
  } else {
    const std::int64_t begin = saved.qkv.dim(1) - gate_size_;
    gated_difference_backward(context, saved.attended, saved.qkv.columns(begin, gate_size_), dmixed,
                              dattended, dqkv.columns(begin, gate_size_));
  }
}

void AttentionBlock::backward(const Context& context, const SequenceBatch& input,
                              const Tensor& rope_table, const Tensor& x,
                              const AttentionActivations& saved, const Tensor& dout,
                              const Tensor& dx) const {
  const ProfileRange range("attention backward");
  const ArenaScope scope(context.arena);
  const std::int64_t q = config_.q_size();
  const std::int64_t k = config_.k_size();
  const std::int64_t v = config_.v_size();
  const DType compute = x.dtype();
  const Tensor dqkv = context.arena.allocate(compute, saved.qkv.shape());
  const Tensor dmixed = context.arena.allocate(compute, saved.mixed.shape());

  if (out_gradient_) {
    matmul(context, dout, saved.mixed, out_gradient_, {.transpose_a = true, .accumulate = true});
  }
  matmul(context, dout, out_weight_, dmixed);
  if (head_mask_) scale_columns(context, dmixed, head_mask_, dmixed);
  Tensor dattended = dmixed;
  // Where the heads' outputs are read for their gradients anyway, attention's backward pass need
  // not read both again.
  Tensor delta;
  if (has_lambda()) delta = context.arena.allocate(saved.lse.dtype(), saved.lse.shape());
  if (config_.type != AttentionType::softmax) {
    dattended = context.arena.allocate(compute, saved.attended.shape());
    backward_combine(context, saved, dmixed, dattended, dqkv, delta);
  }
  attention_backward(context, shape_for(input.batch, input.length, input.length, 0),
                     saved.qkv.columns(0, q), saved.qkv.columns(q, k), saved.qkv.columns(q + k, v),
                     input.first_key, saved.attended, saved.lse, dattended, dqkv.columns(0, q),
                     dqkv.columns(q, k), dqkv.columns(q + k, v), delta);
  rope_backward(context, dqkv.columns(0, q + k), input.position, rope_table);
  qkv_.backward(context, x, dqkv, dx);
}

void AttentionBlock::forward_cached(const Context& context, const Tensor& position,
                                    const Tensor& rope_table, const Tensor& x, const KvCache& cache,
                                    const Tensor& residual, const Tensor& out) const {
  const ArenaScope scope(context.arena);
  const std::int64_t rows = x.dim(0);
  const std::int64_t q = config_.q_size();
  const std::int64_t k = config_.k_size();
  AttentionActivations saved;
  allocate_saved(context.arena, rows, saved);
  allocate_mixed(context.arena, rows, saved);
  qkv_.forward(context, x, saved.qkv);
  rope_forward(context, saved.qkv.columns(0, q + k), position, rope_table);
  convert(context, saved.qkv.columns(q, k), cache.keys(layer_).rows(cache.length(), rows));
  convert(context, saved.qkv.columns(q + k, config_.v_size()),
          cache.values(layer_).rows(cache.length(), rows));
  attention_forward(context, shape_for(1, rows, cache.length() + rows, cache.length()),
                    saved.qkv.columns(0, q), cache.keys(layer_).rows(0, cache.length() + rows),
                    cache.values(layer_).rows(0, cache.length() + rows), {}, saved.attended,
                    saved.lse);
  combine(context, saved);
  matmul(context, saved.mixed, out_weight_, out, {.transpose_b = true, .addend = residual});
}

void AttentionBlock::lambda(const Context& context, const Tensor& out) const {
  lambda_forward(context, lambda_, differential_.lambda_init, out);
}

}  // namespace gda
