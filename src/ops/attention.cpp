#include "gda/ops/attention.h"

#include <cstdint>
#include <string_view>

#include "ops/backend.h"
#include "ops/dispatch.h"

namespace gda {
namespace {

using ops::check_tensor;

void check_head_map(std::string_view op, std::string_view name, const std::vector<int>& map,
                    std::int64_t heads) {
  for (std::size_t h = 0; h < map.size(); ++h) {
    require<OpError>(map[h] >= 0 && map[h] < heads,
                     "[{}] {}[{}] = {}: expected a head in [0, {}), the {}s that there are", op,
                     name, h, map[h], heads, name);
  }
}

void check_shape(std::string_view op, const AttentionShape& s) {
  require<OpError>(s.batch >= 1 && s.query_length >= 1 && s.key_length >= 1,
                   "[{}] batch {}, query_length {}, key_length {}: expected at least 1 each", op,
                   s.batch, s.query_length, s.key_length);
  require<OpError>(s.head_dim >= 1 && s.value_dim >= 1 && s.key_heads >= 1 && s.value_heads >= 1,
                   "[{}] head_dim {}, value_dim {}, key_heads {}, value_heads {}: expected at "
                   "least 1 each",
                   op, s.head_dim, s.value_dim, s.key_heads, s.value_heads);
  require<OpError>(s.key_length <= INT32_MAX, "[{}] key_length {}: expected at most {}", op,
                   s.key_length, INT32_MAX);
  require<OpError>(s.query_offset >= 0 && s.query_length <= s.key_length - s.query_offset,
                   "[{}] query_offset {} + query_length {}: expected an offset of at least 0 and a "
                   "sum of at most key_length {}, because every query sees the key at its position",
                   op, s.query_offset, s.query_length, s.key_length);
  require<OpError>(!s.key_head.empty() && s.key_head.size() == s.value_head.size(),
                   "[{}] key_head names {} query heads, value_head {}: expected as many, and at "
                   "least 1",
                   op, s.key_head.size(), s.value_head.size());
  check_head_map(op, "key_head", s.key_head, s.key_heads);
  check_head_map(op, "value_head", s.value_head, s.value_heads);
}

// The starts of documents are read on the host, so they are checked there; on a device they are
// the caller's promise.
void check_first_key(std::string_view op, const Context& context, const AttentionShape& s,
                     const Tensor& first_key) {
  if (first_key.empty()) return;
  const std::int64_t rows = s.batch * s.query_length;
  check_tensor(op, "first_key", first_key, DType::i32, {rows}, context);
  if (context.device().type != DeviceType::cpu) return;
  const auto* first = first_key.data<std::int32_t>();
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t position = row % s.query_length + s.query_offset;
    require<OpError>(first[row] >= 0 && first[row] <= position,
                     "[{}] first_key[{}] = {}: expected a key in [0, {}], at or before the query",
                     op, row, first[row], position);
  }
}

struct Shapes {
  explicit Shapes(const AttentionShape& s)
      : q{s.batch * s.query_length, s.query_heads() * s.head_dim},
        k{s.batch * s.key_length, s.key_heads * s.head_dim},
        v{s.batch * s.key_length, s.value_heads * s.value_dim},
        out{s.batch * s.query_length, s.query_heads() * s.value_dim},
        lse{s.batch * s.query_length, s.query_heads()} {}
  Shape q, k, v, out, lse;
};

}  // namespace

void attention_forward(const Context& context, const AttentionShape& shape, const Tensor& q,
                       const Tensor& k, const Tensor& v, const Tensor& first_key, const Tensor& out,
                       const Tensor& lse, const Tensor& max_logit) {
  constexpr std::string_view kOp = "attention_forward";
  ops::check_compute_type(kOp, q);
  check_shape(kOp, shape);
  const Shapes shapes(shape);
  const DType type = q.dtype();
  check_tensor(kOp, "q", q, type, shapes.q, context, true);
  check_tensor(kOp, "k", k, type, shapes.k, context, true);
  check_tensor(kOp, "v", v, type, shapes.v, context, true);
  check_first_key(kOp, context, shape, first_key);
  check_tensor(kOp, "out", out, type, shapes.out, context, true);
  check_tensor(kOp, "lse", lse, accumulate_type(type), shapes.lse, context);
  const ArenaScope scope(context.arena);
  Tensor row_max;
  if (max_logit) {
    check_tensor(kOp, "max_logit", max_logit, lse.dtype(), {shape.query_heads()}, context);
    row_max = context.arena.allocate(lse.dtype(), lse.shape());
  }
  const ops::Backend& backend = ops::backend(context.device());
  backend.attention_forward(context, {.shape = shape,
                                      .q = q,
                                      .k = k,
                                      .v = v,
                                      .first_key = first_key,
                                      .out = out,
                                      .lse = lse,
                                      .row_max = row_max});
  if (max_logit) {
    backend.attention_max_logit(context, {.row_max = row_max, .lse = lse, .max_logit = max_logit});
  }
}

void attention_backward(const Context& context, const AttentionShape& shape, const Tensor& q,
                        const Tensor& k, const Tensor& v, const Tensor& first_key,
                        const Tensor& out, const Tensor& lse, const Tensor& dout, const Tensor& dq,
                        const Tensor& dk, const Tensor& dv, const Tensor& delta) {
  constexpr std::string_view kOp = "attention_backward";
  ops::check_compute_type(kOp, q);
  check_shape(kOp, shape);
  const Shapes shapes(shape);
  const DType type = q.dtype();
  check_tensor(kOp, "q", q, type, shapes.q, context, true);
  check_tensor(kOp, "k", k, type, shapes.k, context, true);
  check_tensor(kOp, "v", v, type, shapes.v, context, true);
  check_first_key(kOp, context, shape, first_key);
  check_tensor(kOp, "out", out, type, shapes.out, context, true);
  check_tensor(kOp, "lse", lse, accumulate_type(type), shapes.lse, context);
  check_tensor(kOp, "dout", dout, type, shapes.out, context, true);
  check_tensor(kOp, "dq", dq, type, shapes.q, context, true);
  check_tensor(kOp, "dk", dk, type, shapes.k, context, true);
  check_tensor(kOp, "dv", dv, type, shapes.v, context, true);
  if (delta) check_tensor(kOp, "delta", delta, accumulate_type(type), shapes.lse, context);
  ops::backend(context.device())
      .attention_backward(context, {.shape = shape,
                                    .q = q,
                                    .k = k,
                                    .v = v,
                                    .first_key = first_key,
                                    .out = out,
                                    .lse = lse,
                                    .dout = dout,
                                    .dq = dq,
                                    .dk = dk,
                                    .dv = dv,
                                    .delta = delta});
}

}  // namespace gda
