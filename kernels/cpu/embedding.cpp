#include <omp.h>

#include <cstring>

#include "ops/backend.h"
#include "ops/dispatch.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

void check_ids(std::string_view op, const Tensor& token, std::int64_t vocabulary) {
  const auto* id = token.data<std::int32_t>();
  for (std::int64_t n = 0; n < token.dim(0); ++n) {
    require<OpError>(id[n] >= 0 && id[n] < vocabulary,
                     "[{}] token {} has id {}, but the table has rows 0 to {}: were these tokens "
                     "made with another tokenizer?",
                     op, n, id[n], vocabulary - 1);
  }
}

}  // namespace

void embedding_forward(const Context&, const Tensor& token, const Tensor& table, const Tensor& y,
                       VocabularyPart part) {
  check_ids("embedding_forward", token, part.total);
  const std::size_t row_bytes = static_cast<std::size_t>(table.dim(1)) * size_of(table.dtype());
  const auto* id = token.data<std::int32_t>();
  const auto* from = static_cast<const std::byte*>(table.raw());
  auto* to = static_cast<std::byte*>(y.raw());
  constexpr std::int64_t kTokensAPiece = 64;
  parallel_pieces(token.dim(0), kTokensAPiece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      std::byte* y_n = to + static_cast<std::size_t>(n) * row_bytes;
      const std::int64_t row = id[n] - part.first;
      if (row >= 0 && row < table.dim(0)) {
        std::memcpy(y_n, from + static_cast<std::size_t>(row) * row_bytes, row_bytes);
      } else {
        std::memset(y_n, 0, row_bytes);
      }
    }
  });
}

// Each thread adds its own columns of all tokens, in their order: equal tokens never race, and the
// sums do not depend on the number of threads.
void embedding_backward(const Context&, const Tensor& token, const Tensor& dy, const Tensor& dtable,
                        VocabularyPart part) {
  check_ids("embedding_backward", token, part.total);
  constexpr std::int64_t kCacheLine = 16;  // f32 elements: no two threads write into one line
  const std::int64_t columns = dtable.dim(1);
  const std::int64_t lines = (columns + kCacheLine - 1) / kCacheLine;
  const std::int64_t threads = omp_get_max_threads();
  const std::int64_t grain =
      kCacheLine * std::max<std::int64_t>(1, (lines + threads - 1) / threads);
  const auto* id = token.data<std::int32_t>();
  ops::with_compute_type(dy.dtype(), [&]<class T>(std::type_identity<T>) {
    using Sum = accumulate_t<T>;
    parallel_pieces(columns, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = 0; n < token.dim(0); ++n) {
        const T* from = dy.data<T>() + n * columns;
        const std::int64_t row = id[n] - part.first;
        if (row < 0 || row >= dtable.dim(0)) continue;  // another place has it
        Sum* to = dtable.data<Sum>() + row * columns;
        for (std::int64_t d = begin; d < end; ++d) to[d] += static_cast<Sum>(from[d]);
      }
    });
  });
}

}  // namespace gda::cpu
