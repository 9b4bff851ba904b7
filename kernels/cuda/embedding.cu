#include "numbers.cuh"
#include "ops/backend.h"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int32_t kNone = -1;

// The entries of a table with `rows` rows: all, or a part of them. What stands for another entry is
// 0 if another place has it, and NaN if none does.
struct WholeTable {
  std::int64_t rows;

  __device__ float otherwise(std::int32_t /*id*/) const { return NAN; }
  __device__ bool lacks(std::int32_t id) const { return id < 0 || id >= rows; }
  __device__ std::int32_t row(std::int32_t id) const { return id; }
};
struct TablePart {
  std::int64_t rows;
  std::int64_t first;
  std::int64_t total;

  __device__ float otherwise(std::int32_t id) const { return id >= 0 && id < total ? 0.0F : NAN; }
  __device__ bool lacks(std::int32_t id) const { return id < first || id >= first + rows; }
  __device__ std::int64_t row(std::int32_t id) const { return id - first; }
};

template <class F>
void with_entries(VocabularyPart part, std::int64_t rows, F&& f) {
  if (part.total == rows) {
    f(WholeTable{rows});
  } else {
    f(TablePart{rows, part.first, part.total});
  }
}

// A block takes a token. An id outside the vocabulary cannot be refused here: its row is NaN, so
// that the loss is, too.
template <class T, class Entries>
__global__ void __launch_bounds__(kThreads)
    gather(const std::int32_t* token, const T* table, Entries entries, std::int64_t width, T* y) {
  const std::int64_t n = blockIdx.x;
  const std::int32_t id = token[n];
  const bool here = !entries.lacks(id);
  const auto otherwise = static_cast<T>(entries.otherwise(id));
  for (std::int64_t d = threadIdx.x; d < width; d += kThreads) {
    y[n * width + d] = here ? table[entries.row(id) * width + d] : otherwise;
  }
}

// next[n]: where the token n stands again, or kNone; first[n]: whether it stands nowhere before.
__global__ void __launch_bounds__(kThreads)
    link_equal(const std::int32_t* token, std::int32_t count, std::int32_t* next,
               std::int32_t* first) {
  const auto n = static_cast<std::int32_t>(blockIdx.x * kThreads + threadIdx.x);
  const Shared<std::int32_t> tile = shared_memory<std::int32_t>(0, kThreads);
  const std::int32_t mine = n < count ? token[n] : kNone;
  std::int32_t following = kNone;
  bool is_first = true;
  for (std::int32_t begin = 0; begin < count; begin += kThreads) {
    const auto i = begin + static_cast<std::int32_t>(threadIdx.x);
    __syncthreads();
    tile[static_cast<int>(threadIdx.x)] = i < count ? token[i] : kNone;
    __syncthreads();
    const std::int32_t end = count - begin < static_cast<std::int32_t>(kThreads)
                                 ? count - begin
                                 : static_cast<std::int32_t>(kThreads);
    for (std::int32_t k = 0; k < end; ++k) {
      if (tile[k] != mine) continue;
      if (begin + k < n) is_first = false;
      if (begin + k > n && following == kNone) following = begin + k;
    }
  }
  if (n >= count) return;
  next[n] = following;
  first[n] = is_first ? 1 : 0;
}

// The block of a token's first place adds the rows of all of its places, in their order.
template <class T, class Entries>
__global__ void __launch_bounds__(kThreads)
    add_rows(const std::int32_t* token, const std::int32_t* next, const std::int32_t* first,
             const T* dy, Entries entries, std::int64_t width, accumulate_t<T>* dtable) {
  const auto n = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t id = token[n];
  if (first[n] == 0 || entries.lacks(id)) return;  // the whole block
  const auto row = entries.row(id);
  for (std::int64_t d = threadIdx.x; d < width; d += kThreads) {
    accumulate_t<T> sum = dtable[row * width + d];
    for (std::int32_t i = n; i != kNone; i = next[i]) sum += widen(dy[i * width + d]);
    dtable[row * width + d] = sum;
  }
}

}  // namespace

void embedding_forward(const Context& context, const Tensor& token, const Tensor& table,
                       const Tensor& y, VocabularyPart part) {
  if (y.elements() == 0) return;
  ops::with_compute_type(table.dtype(), [&]<class T>(std::type_identity<T>) {
    with_entries(part, table.dim(0), [&]<class Entries>(const Entries& entries) {
      launch(context, "embedding_forward", gather<T, Entries>,
             {.blocks = {static_cast<unsigned>(token.dim(0)), 1, 1}, .threads = kThreads},
             token.data<std::int32_t>(), table.data<T>(), entries, table.dim(1), y.data<T>());
    });
  });
}

void embedding_backward(const Context& context, const Tensor& token, const Tensor& dy,
                        const Tensor& dtable, VocabularyPart part) {
  if (dy.elements() == 0) return;
  constexpr const char* kName = "embedding_backward";
  const std::int64_t count = token.dim(0);
  const ArenaScope scope(context.arena);
  auto* next = context.arena.allocate(DType::i32, {count}).data<std::int32_t>();
  auto* first = context.arena.allocate(DType::i32, {count}).data<std::int32_t>();
  launch(context, kName, link_equal,
         {.blocks = {blocks_for(count, kThreads), 1, 1},
          .threads = kThreads,
          .shared_bytes = sizeof(std::int32_t) * kThreads},
         token.data<std::int32_t>(), static_cast<std::int32_t>(count), next, first);
  ops::with_compute_type(dy.dtype(), [&]<class T>(std::type_identity<T>) {
    with_entries(part, dtable.dim(0), [&]<class Entries>(const Entries& entries) {
      launch(context, kName, add_rows<T, Entries>,
             {.blocks = {static_cast<unsigned>(count), 1, 1}, .threads = kThreads},
             token.data<std::int32_t>(), next, first, dy.data<T>(), entries, dtable.dim(1),
             dtable.data<accumulate_t<T>>());
    });
  });
}

}  // namespace gda::cuda
