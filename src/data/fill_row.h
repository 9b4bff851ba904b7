// Cuts one row of a batch out of a stream of tokens.
#pragma once

#include <cstdint>

#include "gda/data/batch.h"
#include "gda/data/token_stream.h"

namespace gda {

// Fills row `row` with the sequence_length tokens from `begin` on; the target of the last is one
// further. Where the stream ends the row is padded with token 0 and kIgnoreTarget.
void fill_row(const TokenStream& stream, std::int64_t begin, bool document_mask, std::int64_t row,
              Batch& batch);

}  // namespace gda
