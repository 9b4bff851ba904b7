// Tokens to text as they come, in whole characters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/tokenizer/tokenizer.h"

namespace gda::cli {

// A character may be spread over several byte tokens: its bytes are held back until it is whole.
// Bytes that cannot become a character come out as U+FFFD.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer);

  // The text that is whole once `id` has come. An id beyond the tokenizer's vocabulary (a model's
  // may be padded) has no text.
  std::string add(std::int32_t id);
  // The rest, at the end of the tokens.
  std::string finish();

 private:
  std::string take(bool at_end);

  const Tokenizer& tokenizer_;
  // A text before the token, so that a space in front of it is not taken for the tokenizer's own
  // mark of a beginning; last comes the token.
  std::vector<std::int32_t> ids_;
  std::size_t lead_size_;
  std::string pending_;
};

}  // namespace gda::cli
