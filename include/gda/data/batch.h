// Samples packed for the model, in host memory.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/core/memory.h"
#include "gda/model/context_cut.h"

namespace gda {

// B rows of T tokens. Row b, token t is element b * T + t of each tensor. A part of a batch has
// some of the tokens of every row, in the order of context_cut.h.
struct Batch {
  Batch() = default;
  Batch(std::int64_t batch_size, std::int64_t sequence_length);

  // Becomes the part of `whole` that a context rank has. first_key is as long as attention needs it
  // there (context_cut.h).
  void take_part(const Batch& whole, const ContextCut& cut);

  std::int64_t batch_size = 0;       // B
  std::int64_t sequence_length = 0;  // T
  OwnedTensor tokens;                // [B*T] i32
  // [B*T] i32: the token that follows, or kIgnoreTarget where there is none to predict: padding,
  // and with document masking the last token of a document.
  OwnedTensor targets;
  // [B*T] i32: the token's place in its document, or in the row without document masking. A
  // document that began before the row counts from the row's start.
  OwnedTensor position;
  // [B*T] i32: the first key that the token sees, t - position; see attention.h.
  OwnedTensor first_key;
  std::vector<int> source;  // [B] number of the source of each row
  // Tokens of a row that lie side by side: T, or less in a part.
  std::int64_t stretch = 0;

  // Number of the source of an element.
  int source_of(std::int64_t element) const {
    return source[static_cast<std::size_t>(element / stretch % batch_size)];
  }

  // Targets that are not left out.
  std::int64_t target_count() const;

  // Scratch of the functions that fill rows, kept so that filling allocates nothing.
  std::vector<std::int32_t> window;
  std::vector<std::int64_t> starts;
};

}  // namespace gda
