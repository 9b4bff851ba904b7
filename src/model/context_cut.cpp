#include "gda/model/context_cut.h"

#include "gda/core/error.h"

namespace gda {

std::vector<IndexRange> ContextCut::token_ranges(std::int64_t length) const {
  require<OpError>(length % divisor() == 0,
                   "[context_cut] sequences of {} tokens do not divide by {}, for {} context ranks",
                   length, divisor(), size);
  const std::int64_t part = length / divisor();
  const auto stretch = [&](std::int64_t number) {
    return IndexRange{number * part, (number + 1) * part};
  };
  if (method != ContextMethod::gather) return {stretch(rank)};
  return {stretch(rank), stretch(2 * size - 1 - rank)};
}

std::vector<std::int64_t> ContextCut::rows(std::int64_t batch, std::int64_t length) const {
  std::vector<std::int64_t> result;
  for (const IndexRange& range : token_ranges(length)) {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t t = range.begin; t < range.end; ++t) result.push_back(b * length + t);
    }
  }
  return result;
}

ContextCut context_cut(const ModelConfig& config, ContextMethod method, int rank, int size,
                       int tensor_size) {
  const std::int64_t groups = config.attention.kv_groups();
  const std::int64_t ranks = std::int64_t{size} * tensor_size;
  const bool divides = groups % ranks == 0;
  require<ConfigError>(method != ContextMethod::ulysses || divides || size == 1,
                       "parallel.context_method: ulysses: {} K/V groups do not divide over {} "
                       "context x {} tensor-parallel ranks; use gather",
                       groups, size, tensor_size);
  if (method == ContextMethod::automatic || size == 1) {
    method = divides || size == 1 ? ContextMethod::ulysses : ContextMethod::gather;
  }
  return {.rank = rank, .size = size, .method = method};
}

}  // namespace gda
