#include "attention_plan.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "isa.h"

namespace gda::cpu {
namespace {

using Policy = AttentionPolicy;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::size_t index_in(std::vector<std::int64_t>& list, std::int64_t value) {
  const auto found = std::find(list.begin(), list.end(), value);
  if (found != list.end()) return static_cast<std::size_t>(found - list.begin());
  list.push_back(value);
  return list.size() - 1;
}

// The representative of each query head's group.
std::vector<std::size_t> group_representatives(const AttentionShape& shape) {
  std::vector<std::size_t> group(shape.key_head.size());
  std::iota(group.begin(), group.end(), std::size_t{0});
  for (std::size_t h = 1; h < group.size(); ++h) {
    for (std::size_t g = 0; g < h; ++g) {
      const bool shares =
          shape.key_head[g] == shape.key_head[h] || shape.value_head[g] == shape.value_head[h];
      if (shares && group[g] != group[h]) {
        const std::size_t from = std::max(group[g], group[h]);
        std::replace(group.begin(), group.end(), from, std::min(group[g], group[h]));
      }
    }
  }
  return group;
}

}  // namespace

const AttentionKernels& attention_kernels() {
  return choose(baseline::kAttentionKernels, avx2::kAttentionKernels, avx512::kAttentionKernels);
}

std::vector<HeadGroup> group_heads(const AttentionShape& shape) {
  const std::vector<std::size_t> representative = group_representatives(shape);
  std::vector<std::size_t> order(representative.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tuple(representative[a], shape.value_head[a], shape.key_head[a]) <
           std::tuple(representative[b], shape.value_head[b], shape.key_head[b]);
  });
  std::vector<HeadGroup> groups;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t head = order[i];
    if (i == 0 || representative[head] != representative[order[i - 1]]) groups.emplace_back();
    HeadGroup& group = groups.back();
    group.query_heads.push_back(static_cast<std::int64_t>(head));
    group.key_index.push_back(index_in(group.key_heads, shape.key_head[head]));
    group.value_index.push_back(index_in(group.value_heads, shape.value_head[head]));
  }
  return groups;
}

std::vector<HeadRun> cut_runs(const HeadGroup& group) {
  std::vector<HeadRun> runs;
  const std::size_t heads = group.query_heads.size();
  for (std::size_t begin = 0; begin < heads; begin += Policy::kHeadsPerTask) {
    runs.push_back({&group, begin, std::min(heads, begin + Policy::kHeadsPerTask)});
  }
  return runs;
}

std::int64_t padded_width(std::int64_t width) {
  return round_up(width, AttentionKernels::kWidth);
}

std::int64_t tile_stride(std::int64_t width) {
  constexpr std::int64_t kLine = 64 / sizeof(float);
  return (padded_width(width) / kLine | 1) * kLine;
}

std::int64_t query_tiles(const AttentionShape& shape) {
  return (shape.query_length + Policy::kQueries - 1) / Policy::kQueries;
}

QueryTile::QueryTile(const AttentionShape& shape, const Tensor& first_key_rows, std::int64_t batch,
                     std::int64_t tile)
    : row(batch * shape.query_length + tile * Policy::kQueries),
      begin(tile * Policy::kQueries + shape.query_offset),
      count(std::min(Policy::kQueries, shape.query_length - tile * Policy::kQueries)),
      width(padded_width(count)),
      first_key(0),
      end_key(begin + count) {
  const std::int32_t* starts =
      first_key_rows.empty() ? nullptr : first_key_rows.data<std::int32_t>() + row;
  for (std::int64_t n = 0; n < Policy::kQueries; ++n) {
    const std::int64_t query = std::min(n, count - 1);
    first[n] = starts != nullptr ? starts[query] : 0;
    last[n] = static_cast<std::int32_t>(begin + query);
  }
  first_key = *std::min_element(first, first + count);
  has_documents = *std::max_element(first, first + count) != first_key;
}

ScoreTile::ScoreTile(const QueryTile& queries_, std::int64_t first_key)
    : queries(queries_),
      key(first_key),
      keys(std::min(Policy::kKeys, queries_.end_key - first_key)),
      on_diagonal(key + keys - 1 > queries_.begin),
      mask{queries_.first, queries_.last, static_cast<std::int32_t>(key)} {}

void ScoreTile::key_by_query(const AttentionKernels& kernels, TileProduct product) const {
  product.columns = queries.width;
  if (!on_diagonal) {
    product.rows = keys;
    return kernels.multiply(product);
  }
  const TileProduct whole = product;
  for (std::int64_t m = 0; m < keys; m += Policy::kDiagonalRows) {
    // Query n stands at begin + n; those before key + m see nothing of this slice.
    const std::int64_t unseen = std::max<std::int64_t>(0, key + m - queries.begin);
    const std::int64_t n = unseen / AttentionKernels::kWidth * AttentionKernels::kWidth;
    product.rows = std::min(Policy::kDiagonalRows, keys - m);
    product.columns = queries.width - n;
    product.a = whole.a + m * whole.a_stride;
    product.b = whole.b + n;
    product.c = whole.c + m * whole.c_stride + n;
    kernels.multiply(product);
  }
}

void ScoreTile::sum_over_queries(const AttentionKernels& kernels, TileProduct product) const {
  product.accumulate = true;
  product.depth = queries.count;
  if (!on_diagonal) {
    product.rows = keys;
    return kernels.multiply(product);
  }
  const TileProduct whole = product;
  for (std::int64_t m = 0; m < keys; m += Policy::kDiagonalRows) {
    const std::int64_t unseen = std::max<std::int64_t>(0, key + m - queries.begin);
    product.rows = std::min(Policy::kDiagonalRows, keys - m);
    product.depth = queries.count - unseen;
    product.a = whole.a + m * whole.a_stride + unseen;
    product.b = whole.b + unseen * whole.b_stride;
    product.c = whole.c + m * whole.c_stride;
    kernels.multiply(product);
  }
}

void ScoreTile::sum_over_keys(const AttentionKernels& kernels, TileProduct product) const {
  product.accumulate = true;
  product.depth = keys;
  if (!on_diagonal) {
    product.rows = queries.count;
    return kernels.multiply_transposed(product);
  }
  const TileProduct whole = product;
  for (std::int64_t m = 0; m < queries.count; m += Policy::kDiagonalRows) {
    product.rows = std::min(Policy::kDiagonalRows, queries.count - m);
    // The slice's last query sees keys up to its own position.
    const std::int64_t seen = queries.begin + m + product.rows - key;
    product.depth = std::clamp<std::int64_t>(seen, 0, keys);
    product.a = whole.a + m;
    product.c = whole.c + m * whole.c_stride;
    if (whole.row_scale != nullptr) product.row_scale = whole.row_scale + m;
    kernels.multiply_transposed(product);
  }
}

void KeyValueTile::load(const AttentionKernels& kernels, const AttentionShape& shape,
                        const Tensor& k, const Tensor& v, std::int64_t row, std::int64_t rows,
                        std::int64_t query_head) {
  const std::int64_t wanted_key = shape.key_head[static_cast<std::size_t>(query_head)];
  const std::int64_t wanted_value = shape.value_head[static_cast<std::size_t>(query_head)];
  if (key_head != wanted_key) {
    key_head = wanted_key;
    load_tile(kernels, k, row, rows, key_head * shape.head_dim, shape.head_dim, key);
  }
  if (value_head != wanted_value) {
    value_head = wanted_value;
    load_tile(kernels, v, row, rows, value_head * shape.value_dim, shape.value_dim, value);
  }
}

void load_tile(const AttentionKernels& kernels, const Tensor& source, std::int64_t row,
               std::int64_t rows, std::int64_t column, std::int64_t width, float* tile) {
  const std::int64_t stride = source.row_stride();
  const std::int64_t offset = row * stride + column;
  if (source.dtype() == DType::f32) {
    kernels.load_f32(source.data<float>() + offset, stride, rows, width, tile, tile_stride(width),
                     padded_width(width));
  } else {
    kernels.load_bf16(&(source.data<bfloat16>() + offset)->bits, stride, rows, width, tile,
                      tile_stride(width), padded_width(width));
  }
}

void store_tile(const AttentionKernels& kernels, const float* tile, const float* row_factor,
                const Tensor& target, std::int64_t row, std::int64_t rows, std::int64_t column,
                std::int64_t width) {
  const std::int64_t stride = target.row_stride();
  const std::int64_t offset = row * stride + column;
  if (target.dtype() == DType::f32) {
    kernels.store_f32(tile, tile_stride(width), row_factor, rows, width,
                      target.data<float>() + offset, stride);
  } else {
    kernels.store_bf16(tile, tile_stride(width), row_factor, rows, width,
                       &(target.data<bfloat16>() + offset)->bits, stride);
  }
}

}  // namespace gda::cpu
