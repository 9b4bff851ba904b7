#include "gda/tokenizer/tokenizer.h"

#include "gda/core/error.h"
#include "tokenizer/sentencepiece_tokenizer.h"

namespace gda {

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  encode(text, ids, false);
  return ids;
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& path) {
  require<FormatError>(path.extension() != ".json",
                       "{}: only SentencePiece models (.model) can be read; gda tokenizer train "
                       "makes one",
                       path.string());
  return std::make_unique<SentencePieceTokenizer>(path);
}

}  // namespace gda
