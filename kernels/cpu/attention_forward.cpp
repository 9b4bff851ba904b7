#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "attention_plan.h"
#include "attention_tiled.h"

namespace gda::cpu::tiled {
namespace {

using Policy = AttentionPolicy;

// What a thread works in, cut from one block of floats.
struct Scratch {
  struct Head {
    float* query;   // Q^T [d, kQueries], times log2(e) / sqrt(d)
    float* output;  // [kQueries, d_v], not yet divided by the sum
    float* maximum;
    float* sum;
  };

  Scratch(const AttentionShape& shape, float* block) {
    const auto take = [&](std::int64_t floats) {
      float* const taken = block + used;
      used += floats;
      return taken;
    };
    key = take(Policy::kKeys * tile_stride(shape.head_dim));
    value = take(Policy::kKeys * tile_stride(shape.value_dim));
    scores = take(Policy::kKeys * Policy::kQueries);
    rescale = take(Policy::kQueries);
    const std::int64_t heads = std::min(Policy::kHeadsPerTask, shape.query_heads());
    for (std::int64_t h = 0; h < heads; ++h) {
      head[h] = {take(shape.head_dim * Policy::kQueries),
                 take(Policy::kQueries * tile_stride(shape.value_dim)), take(Policy::kQueries),
                 take(Policy::kQueries)};
    }
  }

  std::int64_t used = 0;
  float* key;
  float* value;
  float* scores;
  float* rescale;
  Head head[Policy::kHeadsPerTask];
};

struct Forward {
  const AttentionKernels& kernels;
  const ops::AttentionForward& a;
  const AttentionShape& shape = a.shape;

  void load_queries(const HeadRun& run, const QueryTile& tile, Scratch& scratch) const {
    const float factor =
        std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(shape.head_dim));
    for (std::size_t h = run.begin; h < run.end; ++h) {
      const Scratch::Head& head = scratch.head[h - run.begin];
      // The key tile is free until the first keys are loaded.
      load_tile(kernels, a.q, tile.row, tile.count, run.group->query_heads[h] * shape.head_dim,
                shape.head_dim, scratch.key);
      kernels.transpose(scratch.key, tile_stride(shape.head_dim), tile.count, shape.head_dim,
                        factor, head.query, Policy::kQueries, tile.width);
      std::fill_n(head.output, Policy::kQueries * tile_stride(shape.value_dim), 0.0F);
      std::fill_n(head.maximum, Policy::kQueries, -INFINITY);
      std::fill_n(head.sum, Policy::kQueries, 0.0F);
    }
  }

  void attend(const Scratch::Head& head, const ScoreTile& tile, const Scratch& scratch) const {
    const std::int64_t key_stride = tile_stride(shape.head_dim);
    const std::int64_t value_stride = tile_stride(shape.value_dim);
    tile.key_by_query(kernels, {.a = scratch.key,
                                .a_stride = key_stride,
                                .b = head.query,
                                .b_stride = Policy::kQueries,
                                .c = scratch.scores,
                                .c_stride = Policy::kQueries,
                                .rows = 0,
                                .columns = 0,
                                .depth = shape.head_dim});
    kernels.softmax_step(scratch.scores, Policy::kQueries, tile.keys, tile.queries.width,
                         tile.mask_if_needed(), {head.maximum, head.sum, scratch.rescale});
    tile.sum_over_keys(kernels, {.a = scratch.scores,
                                 .a_stride = Policy::kQueries,
                                 .b = scratch.value,
                                 .b_stride = value_stride,
                                 .c = head.output,
                                 .c_stride = value_stride,
                                 .rows = 0,
                                 .columns = padded_width(shape.value_dim),
                                 .depth = 0,
                                 .row_scale = scratch.rescale});
  }

  void finish(const HeadRun& run, const QueryTile& tile, const Scratch& scratch) const {
    for (std::size_t h = run.begin; h < run.end; ++h) {
      const Scratch::Head& head = scratch.head[h - run.begin];
      const std::int64_t query_head = run.group->query_heads[h];
      for (std::int64_t n = 0; n < tile.count; ++n) {
        const std::int64_t pair = (tile.row + n) * shape.query_heads() + query_head;
        a.lse.data<float>()[pair] =
            (head.maximum[n] + std::log2(head.sum[n])) * std::numbers::ln2_v<float>;
        if (a.row_max) {
          a.row_max.data<float>()[pair] = head.maximum[n] * std::numbers::ln2_v<float>;
        }
        scratch.rescale[n] = 1 / head.sum[n];
      }
      store_tile(kernels, head.output, scratch.rescale, a.out, tile.row, tile.count,
                 query_head * shape.value_dim, shape.value_dim);
    }
  }

  void run_task(const HeadRun& run, std::int64_t batch, std::int64_t tile, Scratch& scratch) const {
    const QueryTile queries(shape, a.first_key, batch, tile);
    load_queries(run, queries, scratch);
    for (std::int64_t j = queries.first_key; j < queries.end_key; j += Policy::kKeys) {
      const ScoreTile scores(queries, j);
      const std::int64_t row = batch * shape.key_length + j;
      KeyValueTile loaded{scratch.key, scratch.value};
      for (std::size_t h = run.begin; h < run.end; ++h) {
        loaded.load(kernels, shape, a.k, a.v, row, scores.keys, run.group->query_heads[h]);
        attend(scratch.head[h - run.begin], scores, scratch);
      }
    }
    finish(run, queries, scratch);
  }
};

}  // namespace

void attention_forward(const Context& context, const ops::AttentionForward& a) {
  const AttentionShape& shape = a.shape;
  const std::vector<HeadGroup> groups = group_heads(shape);
  std::vector<HeadRun> runs;
  for (const HeadGroup& group : groups) {
    for (const HeadRun& run : cut_runs(group)) runs.push_back(run);
  }
  const Forward forward{attention_kernels(), a};
  const auto run_count = static_cast<std::int64_t>(runs.size());
  const std::int64_t tiles = query_tiles(shape);
  const std::int64_t tasks = shape.batch * run_count * tiles;

  const ArenaScope scope(context.arena);
  const std::int64_t floats = Scratch(shape, nullptr).used;
  const int threads = static_cast<int>(std::min<std::int64_t>(omp_get_max_threads(), tasks));
  auto* blocks = context.arena.allocate(DType::f32, {threads, floats}).data<float>();
  // All tiles of a run follow each other, so that its keys and values stay in cache; later queries
  // see more keys and come first, so that the last tasks to finish are short.
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::int64_t task = 0; task < tasks; ++task) {
    Scratch scratch(shape, blocks + omp_get_thread_num() * floats);
    const std::int64_t run = task / tiles;
    forward.run_task(runs[static_cast<std::size_t>(run % run_count)], run / run_count,
                     tiles - 1 - task % tiles, scratch);
  }
}

}  // namespace gda::cpu::tiled
