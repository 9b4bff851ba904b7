// The tokens that each rank of a context group has of the sequences that the group shares.
//
//   ulysses  rank c holds tokens [c T/C, (c+1) T/C) of each sequence. Around attention the ranks
//            exchange tokens for heads: each attends from all tokens with 1/C of its heads, as a
//            rank alone does. (DeepSpeed-Ulysses, Jacobs et al. 2023.)
//   gather   each rank attends from its own tokens, with all of its heads, to the keys and values
//            of all, which are gathered. Of 2C stretches of T/2C tokens rank c holds numbers c and
//            2C-1-c, so that causal attention costs every rank the same (zig-zag).
//
// Rows of a rank are in the order (stretch, sequence, token).
#pragma once

#include <cstdint>
#include <vector>

#include "gda/core/words.h"
#include "gda/model/model_config.h"
#include "gda/model/region.h"

namespace gda {

// auto: ulysses where the K/V groups divide over tensor x context ranks, gather where they do not.
enum class ContextMethod : std::uint8_t { automatic, ulysses, gather };
template <>
inline constexpr auto kWordsOf<ContextMethod> = words("auto", "ulysses", "gather");

struct ContextCut {
  int rank = 0;
  int size = 1;
  ContextMethod method = ContextMethod::ulysses;  // not automatic

  // What T, the length of sequences, divides by.
  std::int64_t divisor() const { return method == ContextMethod::gather ? 2 * size : size; }
  // Stretches of each sequence that this rank has, in the order of its rows: two with `gather` and
  // more than one rank, otherwise one. OpError if `length` does not divide.
  std::vector<IndexRange> token_ranges(std::int64_t length) const;
  // For each of this rank's rows, its row b * T + t among those of the whole sequences.
  std::vector<std::int64_t> rows(std::int64_t batch, std::int64_t length) const;
};

// ConfigError, with the numbers, if ulysses is asked for and the K/V groups do not divide over
// tensor_size * size ranks.
ContextCut context_cut(const ModelConfig& config, ContextMethod method, int rank, int size,
                       int tensor_size);

}  // namespace gda
