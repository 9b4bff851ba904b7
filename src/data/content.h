// Detection of a corpus file's format by how the file begins.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "gda/data/corpus.h"

namespace gda {

struct Content {
  CorpusFormat format = CorpusFormat::text_file;
  std::string refusal = {};  // why it is no text that can be read, and what to do; empty: it is one
};

// `beginning` is unpacked if it was gzip (`was_gzip`), and all of the file if `is_whole`. The path
// is used in advice, and its extension where the content leaves open what it is. `format` is as in
// find_corpus.
Content told_by_content(std::string_view beginning, bool is_whole, bool was_gzip,
                        const std::filesystem::path& path, std::string_view format);

// The extension that tells the format, in small letters: that of "A.TXT.gz" is ".txt".
std::string content_extension(const std::filesystem::path& path);

// Bytes of no UTF-8 character, and control characters that no text has.
std::int64_t count_odd_bytes(std::string_view text);

// The UTF-8 byte order mark, which belongs to no text.
inline constexpr std::string_view kByteOrderMark{"\xEF\xBB\xBF"};

}  // namespace gda
