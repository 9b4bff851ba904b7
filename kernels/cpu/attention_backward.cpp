#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "attention_plan.h"
#include "attention_tiled.h"

namespace gda::cpu::tiled {
namespace {

using Policy = AttentionPolicy;

// dK and dV of a head group over a whole sequence, in f32: a block of tile rows for each head.
struct Gradients {
  Gradients(const AttentionShape& shape, const HeadGroup& group, float* block)
      : key_size(shape.key_length * tile_stride(shape.head_dim)),
        value_size(shape.key_length * tile_stride(shape.value_dim)),
        floats(static_cast<std::int64_t>(group.key_heads.size()) * key_size +
               static_cast<std::int64_t>(group.value_heads.size()) * value_size),
        keys(block),
        values(block + static_cast<std::int64_t>(group.key_heads.size()) * key_size) {}

  float* key(std::size_t index) const { return keys + static_cast<std::int64_t>(index) * key_size; }
  float* value(std::size_t index) const {
    return values + static_cast<std::int64_t>(index) * value_size;
  }

  std::int64_t key_size, value_size, floats;
  float *keys, *values;
};

// What a thread works in, cut from one block of floats.
struct Scratch {
  struct Head {
    float *query, *dout;      // [kQueries, d], [kQueries, d_v]
    float* query_transposed;  // [d, kQueries], times log2(e) / sqrt(d)
    float* dout_transposed;   // [d_v, kQueries]
    float* dquery;            // [kQueries, d], not yet times 1 / sqrt(d)
    float *lse, *delta;       // [kQueries]; lse in base 2
  };

  Scratch(const AttentionShape& shape, float* block) {
    const auto take = [&](std::int64_t count) {
      float* const taken = block + floats;
      floats += count;
      return taken;
    };
    const std::int64_t key_stride = tile_stride(shape.head_dim);
    const std::int64_t value_stride = tile_stride(shape.value_dim);
    key = take(Policy::kKeys * key_stride);
    value = take(Policy::kKeys * value_stride);
    scores = take(Policy::kKeys * Policy::kQueries);
    dweights = take(Policy::kKeys * Policy::kQueries);
    factors = take(Policy::kKeys);
    const std::int64_t heads = std::min(Policy::kHeadsPerTask, shape.query_heads());
    for (std::int64_t h = 0; h < heads; ++h) {
      head[h] = {.query = take(Policy::kQueries * key_stride),
                 .dout = take(Policy::kQueries * value_stride),
                 .query_transposed = take(shape.head_dim * Policy::kQueries),
                 .dout_transposed = take(shape.value_dim * Policy::kQueries),
                 .dquery = take(Policy::kQueries * key_stride),
                 .lse = take(Policy::kQueries),
                 .delta = take(Policy::kQueries)};
    }
  }

  std::int64_t floats = 0;
  float *key, *value;        // [kKeys, d], [kKeys, d_v]
  float *scores, *dweights;  // [kKeys, kQueries]
  float* factors;            // [kKeys], each 1 / sqrt(d)
  Head head[Policy::kHeadsPerTask];
};

struct Backward {
  const AttentionKernels& kernels;
  const ops::AttentionBackward& a;
  const AttentionShape& shape = a.shape;

  // delta of a head's queries; its dout is loaded.
  void load_delta(const Scratch::Head& head, std::int64_t query_head, const QueryTile& tile,
                  const Scratch& scratch) const {
    if (a.delta) {
      for (std::int64_t n = 0; n < tile.count; ++n) {
        head.delta[n] = a.delta.data<float>()[(tile.row + n) * shape.query_heads() + query_head];
      }
      return;
    }
    // The value tile is free until the first values are loaded.
    const std::int64_t value_dim = shape.value_dim;
    load_tile(kernels, a.out, tile.row, tile.count, query_head * value_dim, value_dim,
              scratch.value);
    kernels.row_dots(head.dout, scratch.value, tile_stride(value_dim), tile.count,
                     padded_width(value_dim), head.delta);
  }

  void load_queries(const HeadRun& run, const QueryTile& tile, Scratch& scratch) const {
    const float log2e = std::numbers::log2e_v<float>;
    const std::int64_t d = shape.head_dim;
    const std::int64_t value_dim = shape.value_dim;
    for (std::size_t h = run.begin; h < run.end; ++h) {
      const Scratch::Head& head = scratch.head[h - run.begin];
      const std::int64_t query_head = run.group->query_heads[h];
      load_tile(kernels, a.q, tile.row, tile.count, query_head * d, d, head.query);
      kernels.transpose(head.query, tile_stride(d), tile.count, d, log2e * scratch.factors[0],
                        head.query_transposed, Policy::kQueries, tile.width);
      load_tile(kernels, a.dout, tile.row, tile.count, query_head * value_dim, value_dim,
                head.dout);
      kernels.transpose(head.dout, tile_stride(value_dim), tile.count, value_dim, 1,
                        head.dout_transposed, Policy::kQueries, tile.width);
      load_delta(head, query_head, tile, scratch);
      for (std::int64_t n = 0; n < tile.count; ++n) {
        head.lse[n] =
            log2e * a.lse.data<float>()[(tile.row + n) * shape.query_heads() + query_head];
      }
      std::fill_n(head.dquery, Policy::kQueries * tile_stride(d), 0.0F);
    }
  }

  // dkey and dvalue: the rows of this tile.
  void differentiate(const Scratch::Head& head, const ScoreTile& tile, const Scratch& scratch,
                     float* dkey, float* dvalue) const {
    const std::int64_t key_stride = tile_stride(shape.head_dim);
    const std::int64_t value_stride = tile_stride(shape.value_dim);
    constexpr std::int64_t kStride = Policy::kQueries;
    const auto product = [](const float* left, std::int64_t left_stride, const float* right,
                            std::int64_t right_stride, float* result, std::int64_t result_stride) {
      return TileProduct{left, left_stride, right, right_stride, result, result_stride, 0, 0, 0};
    };
    TileProduct to_scores =
        product(scratch.key, key_stride, head.query_transposed, kStride, scratch.scores, kStride);
    to_scores.depth = shape.head_dim;
    tile.key_by_query(kernels, to_scores);
    TileProduct to_dweights = product(scratch.value, value_stride, head.dout_transposed, kStride,
                                      scratch.dweights, kStride);
    to_dweights.depth = shape.value_dim;
    tile.key_by_query(kernels, to_dweights);
    kernels.softmax_gradient(scratch.scores, scratch.dweights, kStride, tile.keys,
                             tile.queries.width, tile.mask_if_needed(), head.lse, head.delta);

    TileProduct to_dvalue =
        product(scratch.scores, kStride, head.dout, value_stride, dvalue, value_stride);
    to_dvalue.columns = padded_width(shape.value_dim);
    tile.sum_over_queries(kernels, to_dvalue);
    TileProduct to_dkey =
        product(scratch.dweights, kStride, head.query, key_stride, dkey, key_stride);
    to_dkey.columns = padded_width(shape.head_dim);
    tile.sum_over_queries(kernels, to_dkey);
    TileProduct to_dquery =
        product(scratch.dweights, kStride, scratch.key, key_stride, head.dquery, key_stride);
    to_dquery.columns = padded_width(shape.head_dim);
    tile.sum_over_keys(kernels, to_dquery);
  }

  void run_tile(const HeadRun& run, std::int64_t batch, std::int64_t tile, Scratch& scratch,
                const Gradients& gradients) const {
    const QueryTile queries(shape, a.first_key, batch, tile);
    load_queries(run, queries, scratch);
    for (std::int64_t j = queries.first_key; j < queries.end_key; j += Policy::kKeys) {
      const ScoreTile scores(queries, j);
      KeyValueTile loaded{scratch.key, scratch.value};
      for (std::size_t h = run.begin; h < run.end; ++h) {
        loaded.load(kernels, shape, a.k, a.v, batch * shape.key_length + j, scores.keys,
                    run.group->query_heads[h]);
        differentiate(
            scratch.head[h - run.begin], scores, scratch,
            gradients.key(run.group->key_index[h]) + j * tile_stride(shape.head_dim),
            gradients.value(run.group->value_index[h]) + j * tile_stride(shape.value_dim));
      }
    }
    for (std::size_t h = run.begin; h < run.end; ++h) {
      store_tile(kernels, scratch.head[h - run.begin].dquery, scratch.factors, a.dq, queries.row,
                 queries.count, run.group->query_heads[h] * shape.head_dim, shape.head_dim);
    }
  }

  // Query tiles part, part + parts, ... of a group in one sequence: causality makes later ones
  // longer, so dealing them out in turn gives equal shares.
  void run_part(const HeadGroup& group, std::int64_t batch, std::int64_t part, std::int64_t parts,
                Scratch& scratch, float* block) const {
    const Gradients gradients(shape, group, block);
    std::fill_n(block, gradients.floats, 0.0F);
    std::fill_n(scratch.factors, Policy::kKeys, 1 / std::sqrt(static_cast<float>(shape.head_dim)));
    for (const HeadRun& run : cut_runs(group)) {
      for (std::int64_t tile = part; tile < query_tiles(shape); tile += parts) {
        run_tile(run, batch, tile, scratch, gradients);
      }
    }
  }

  // Writes dK and dV of `group` from sums that lie `stride` apart, adding them in order.
  void store_sums(const HeadGroup& group, std::int64_t batch, float* block, std::int64_t parts,
                  std::int64_t stride, Scratch& scratch) const {
    const Gradients gradients(shape, group, block);
    for (std::int64_t part = 1; part < parts; ++part) {
      kernels.add(block + part * stride, block, gradients.floats);
    }
    const std::int64_t row = batch * shape.key_length;
    for (std::int64_t j = 0; j < shape.key_length; j += Policy::kKeys) {
      const std::int64_t rows = std::min(Policy::kKeys, shape.key_length - j);
      std::fill_n(scratch.factors, Policy::kKeys,
                  1 / std::sqrt(static_cast<float>(shape.head_dim)));
      for (std::size_t h = 0; h < group.key_heads.size(); ++h) {
        store_tile(kernels, gradients.key(h) + j * tile_stride(shape.head_dim), scratch.factors,
                   a.dk, row + j, rows, group.key_heads[h] * shape.head_dim, shape.head_dim);
      }
      std::fill_n(scratch.factors, Policy::kKeys, 1.0F);
      for (std::size_t h = 0; h < group.value_heads.size(); ++h) {
        store_tile(kernels, gradients.value(h) + j * tile_stride(shape.value_dim), scratch.factors,
                   a.dv, row + j, rows, group.value_heads[h] * shape.value_dim, shape.value_dim);
      }
    }
  }
};

// dK and dV of heads that no query head reads.
void clear_unread_heads(const std::vector<int>& map, std::int64_t heads, std::int64_t width,
                        const Tensor& gradient) {
  for (std::int64_t head = 0; head < heads; ++head) {
    if (std::find(map.begin(), map.end(), head) != map.end()) continue;
    const auto bytes = size_of(gradient.dtype());
    for (std::int64_t row = 0; row < gradient.dim(0); ++row) {
      auto* const start =
          static_cast<std::byte*>(gradient.raw()) +
          static_cast<std::size_t>(row * gradient.row_stride() + head * width) * bytes;
      std::fill_n(start, static_cast<std::size_t>(width) * bytes, std::byte{0});
    }
  }
}

}  // namespace

void attention_backward(const Context& context, const ops::AttentionBackward& a) {
  const AttentionShape& shape = a.shape;
  const std::vector<HeadGroup> groups = group_heads(shape);
  const Backward backward{attention_kernels(), a};
  const auto group_count = static_cast<std::int64_t>(groups.size());
  const std::int64_t sums = shape.batch * group_count;
  const std::int64_t parts =
      std::min(query_tiles(shape), (Policy::kBackwardTasks + sums - 1) / sums);

  const ArenaScope scope(context.arena);
  const int threads = static_cast<int>(std::min<std::int64_t>(omp_get_max_threads(), sums * parts));
  const std::int64_t scratch_floats = Scratch(shape, nullptr).floats;
  auto* scratch_blocks =
      context.arena.allocate(DType::f32, {threads, scratch_floats}).data<float>();
  std::int64_t sum_floats = 0;
  for (const HeadGroup& group : groups) {
    sum_floats = std::max(sum_floats, Gradients(shape, group, nullptr).floats);
  }
  // Whole tasks write their sums out at once and leave the block to the thread's next task.
  const std::int64_t sum_blocks = parts == 1 ? threads : sums * parts;
  auto* blocks = context.arena.allocate(DType::f32, {sum_blocks, sum_floats}).data<float>();
  clear_unread_heads(shape.key_head, shape.key_heads, shape.head_dim, a.dk);
  clear_unread_heads(shape.value_head, shape.value_heads, shape.value_dim, a.dv);
#pragma omp parallel num_threads(threads)
  {
    Scratch scratch(shape, scratch_blocks + omp_get_thread_num() * scratch_floats);
#pragma omp for schedule(dynamic)
    for (std::int64_t task = 0; task < sums * parts; ++task) {
      const std::int64_t sum = task / parts;
      const HeadGroup& group = groups[static_cast<std::size_t>(sum % group_count)];
      float* block = blocks + (parts == 1 ? omp_get_thread_num() : task) * sum_floats;
      backward.run_part(group, sum / group_count, task % parts, parts, scratch, block);
      if (parts == 1) backward.store_sums(group, sum / group_count, block, 1, 0, scratch);
    }
#pragma omp for schedule(dynamic)
    for (std::int64_t sum = 0; sum < (parts == 1 ? 0 : sums); ++sum) {
      const HeadGroup& group = groups[static_cast<std::size_t>(sum % group_count)];
      backward.store_sums(group, sum / group_count, blocks + sum * parts * sum_floats, parts,
                          sum_floats, scratch);
    }
  }
}

}  // namespace gda::cpu::tiled
