#include <cmath>
#include <utility>
#include <vector>

#include "attention_tiled_launch.cuh"

namespace gda::cuda::tiled {
namespace {

// Pairs of a key and a value head, ascending, that some query head reads.
std::vector<std::pair<int, int>> packs_of(const AttentionShape& shape) {
  std::vector<std::pair<int, int>> packs;
  for (std::size_t h = 0; h < shape.key_head.size(); ++h) {
    packs.emplace_back(shape.key_head[h], shape.value_head[h]);
  }
  std::sort(packs.begin(), packs.end());
  packs.erase(std::unique(packs.begin(), packs.end()), packs.end());
  return packs;
}

bool every_key_head_is_of_one_pack(const AttentionShape& shape) {
  const auto packs = packs_of(shape);
  if (static_cast<std::int64_t>(packs.size()) != shape.key_heads) return false;
  for (std::size_t i = 0; i < packs.size(); ++i) {
    if (packs[i].first != static_cast<int>(i)) return false;
  }
  return true;
}

// Type, widths, alignment and heads.
bool has_form(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
              const Tensor& out) {
  const std::int64_t d = shape.head_dim;
  const bool widths =
      (d == 64 || d == 96 || d == 128) && (shape.value_dim == d || shape.value_dim == 2 * d);
  // Rows of a pack are counted in 32 bits, and so is the row that would see the last key.
  const bool countable = shape.key_length * shape.query_heads() <= INT32_MAX - 4 * kTile;
  return q.dtype() == DType::bf16 && widths && countable && shape.query_heads() <= kMaxHeads &&
         in_packs(d, q, k, v, out) && every_key_head_is_of_one_pack(shape);
}

}  // namespace

bool takes(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
           const Tensor& out) {
  return has_form(shape, q, k, v, out) && fits_forward(shape);
}

bool takes_backward(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& dout, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  return has_form(shape, q, k, v, dout) && has_form(shape, dq, dk, dv, dout) &&
         fits_backward(shape);
}

Problem problem_of(const AttentionShape& shape, const Tensor& q, const Tensor& k, const Tensor& v,
                   const Tensor& first_key) {
  Problem p;
  p.packs.heads = static_cast<int>(shape.query_heads());
  int at = 0;
  for (const auto& [key, value] : packs_of(shape)) {
    const int pack = p.packs.count++;
    p.packs.begin[pack] = static_cast<std::int16_t>(at);
    p.packs.key[pack] = static_cast<std::int16_t>(key);
    p.packs.value[pack] = static_cast<std::int16_t>(value);
    for (std::size_t h = 0; h < shape.key_head.size(); ++h) {
      if (shape.key_head[h] != key || shape.value_head[h] != value) continue;
      p.packs.head[at++] = static_cast<std::int16_t>(h);
    }
  }
  p.packs.begin[p.packs.count] = static_cast<std::int16_t>(at);
  p.length = lengths_of(shape);
  p.q = {q.data<bfloat16>(), q.row_stride()};
  p.k = {k.data<bfloat16>(), k.row_stride()};
  p.v = {v.data<bfloat16>(), v.row_stride()};
  p.first_key = first_keys(first_key);
  p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
  return p;
}

dim3 pack_grid(const Problem& p, int tile_rows, std::int64_t batch) {
  int largest = 0;
  for (int pack = 0; pack < p.packs.count; ++pack) {
    largest = std::max(largest, p.packs.size(pack));
  }
  const std::int64_t rows = static_cast<std::int64_t>(p.length.queries) * largest;
  return {blocks_for(rows, tile_rows), static_cast<unsigned>(p.packs.count),
          static_cast<unsigned>(batch)};
}

}  // namespace gda::cuda::tiled
