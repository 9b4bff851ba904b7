#include "data/content.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "core/utf8.h"
#include "data/json_text.h"
#include "gda/core/shell.h"

namespace gda {
namespace {
namespace fs = std::filesystem;
using namespace std::string_view_literals;

constexpr std::string_view kNoText = ", which is no text";
constexpr std::string_view kTable =
    "; write it as JSON lines, or as text, with the program that reads it";

struct Signature {
  std::size_t at;
  std::string_view bytes;
  std::string_view what;
  // A command that writes the text to standard output, where {} is the file; or what else to say.
  std::string_view command;
  std::string_view note = kNoText;
  bool is_word = false;  // may begin a text, whose other bytes are in order then
};

// File formats that corpora come in, or lie beside; the rest is told by bytes that no text has.
constexpr std::array kSignatures{
    Signature{0, "\x28\xB5\x2F\xFD"sv, "compressed with Zstandard", "zstd -dc {}"},
    Signature{1, "\x2A\x4D\x18"sv, "compressed with Zstandard or LZ4", "zstd -dc {}"},
    Signature{0, "\xFD\x37zXZ\0"sv, "compressed with xz", "xz -dc {}"},
    Signature{0, "BZh"sv, "compressed with bzip2", "bzip2 -dc {}", {}, true},
    Signature{0, "\x04\x22\x4D\x18"sv, "compressed with LZ4", "lz4 -dc {}"},
    Signature{0, "\x1F\x9D"sv, "compressed with compress", "zcat {}"},
    Signature{0, "LZIP"sv, "compressed with lzip", "lzip -dc {}", {}, true},
    Signature{0, "\x5D\0\0"sv, "compressed with LZMA", "xz -dc {}"},
    Signature{0, "\xFF\x06\0\0sNaPpY"sv, "compressed with Snappy", "snzip -dc {}"},
    Signature{0, "PK\x03\x04"sv, "a zip archive", "unzip -p {}"},
    Signature{0, "PK\x05\x06"sv, "an empty zip archive", ""},
    Signature{0, "7z\xBC\xAF\x27\x1C"sv, "a 7-Zip archive", "7z x -so {}"},
    Signature{0, "Rar!\x1A\x07"sv, "a RAR archive", "unrar p -inul {}"},
    Signature{257, "ustar"sv, "a tar archive", "tar -xOf {}", {}, true},
    Signature{0, "PAR1"sv, "a Parquet table", "", kTable, true},
    Signature{0, "ARROW1"sv, "an Arrow table", "", kTable, true},
    Signature{0, "Obj\x01"sv, "an Avro file", "", kTable},
    Signature{0, "ORC"sv, "an ORC table", "", kTable, true},
    Signature{0, "SQLite format 3\0"sv, "an SQLite database", "", kTable},
    Signature{0, "\x89HDF\r\n"sv, "an HDF5 file", ""},
    Signature{0, "\x93NUMPY"sv, "a NumPy array", ""},
    Signature{0, "%PDF-"sv, "a PDF document", "pdftotext {} -"},
    Signature{0, "{\\rtf"sv, "an RTF document", ""},
    Signature{0, "\x89PNG"sv, "an image (PNG)", ""},
    Signature{0, "\xFF\xD8\xFF"sv, "an image (JPEG)", ""},
    Signature{0, "GIF8"sv, "an image (GIF)", "", kNoText, true},
    Signature{0,
              "\x7F"
              "ELF"sv,
              "a program", ""},
    Signature{0, "MMIDIDX\0\0"sv, "the index of a token dataset", ""},
    Signature{0, "version https://git-lfs.github.com/"sv,
              "a pointer of Git LFS, not the file itself", "", "; fetch the file: git lfs pull"},
    Signature{0, "WARC/1."sv, "a WARC archive, whose headers are no text", "",
              "; write its texts as JSON lines"},
};

// Of a thousand bytes, more odd ones than this are no accident of a text.
constexpr std::int64_t kMostOddOfThousand = 1;

std::string piped(std::string_view command, std::string_view name) {
  return fmt::format("; unpack it: {} | gda ... --input -",
                     fmt::format(fmt::runtime(command), name));
}

std::string signature_refusal(std::string_view text, const fs::path& path, std::string_view name) {
  for (const Signature& signature : kSignatures) {
    if (text.size() <= signature.at || !text.substr(signature.at).starts_with(signature.bytes)) {
      continue;
    }
    if (signature.is_word && count_odd_bytes(text) == 0) continue;
    // Office documents, e-books and saved arrays are zip archives, too.
    const bool is_other_zip = signature.bytes.starts_with("PK") &&
                              content_extension(path) != ".zip" && path.has_extension();
    if (is_other_zip) {
      return fmt::format("a zip archive under the extension {}{}", path.extension().string(),
                         kTable);
    }
    if (!signature.command.empty()) {
      return fmt::format("{}{}", signature.what, piped(signature.command, name));
    }
    return fmt::format("{}{}", signature.what, signature.note);
  }
  return {};
}

// UTF-16 and UTF-32 by their byte order mark, or by the zeros of Latin letters.
std::string wide_encoding(std::string_view text) {
  if (text.starts_with("\xFF\xFE\0\0"sv) || text.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (text.starts_with("\xFF\xFE"sv)) return "UTF-16";
  if (text.starts_with("\xFE\xFF"sv)) return "UTF-16";
  std::array<std::size_t, 2> zeros{};
  for (std::size_t i = 0; i < text.size(); ++i) zeros[i % 2] += text[i] == '\0' ? 1 : 0;
  const std::size_t pairs = text.size() / 2;
  if (pairs < 2) return {};
  if (zeros[1] > pairs * 2 / 3 && zeros[0] <= pairs / 20) return "UTF-16LE";
  if (zeros[0] > pairs * 2 / 3 && zeros[1] <= pairs / 20) return "UTF-16BE";
  return {};
}

// Without the character that the end of the beginning cuts.
std::string_view whole_characters(std::string_view text, bool is_whole) {
  if (is_whole) return text;
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte >= 0xC0) {
      const bool is_cut = utf8_character_size(text.substr(text.size() - back)) == 0;
      return is_cut ? text.substr(0, text.size() - back) : text;
    }
    if (byte < 0x80) break;
  }
  return text;
}

// A filter of plain text on the file; `name` is a word of a shell.
std::string filtered(std::string_view command, bool was_gzip, std::string_view name) {
  const std::string filter =
      was_gzip ? fmt::format("zcat {} | {}", name, command) : fmt::format("{} {}", command, name);
  return filter + " | gda ... --input -";
}

std::string bytes_refusal(std::string_view text, bool is_whole, bool was_gzip,
                          std::string_view name) {
  if (const std::string encoding = wide_encoding(text); !encoding.empty()) {
    return fmt::format("text in {}; convert it: {}", encoding,
                       filtered(fmt::format("iconv -f {} -t UTF-8", encoding), was_gzip, name));
  }
  const std::string_view whole = whole_characters(text, is_whole);
  const std::int64_t odd = count_odd_bytes(whole);
  if (odd * 1000 <= kMostOddOfThousand * static_cast<std::int64_t>(whole.size())) return {};
  return fmt::format(
      "no text in UTF-8: {} of its first {} bytes are of no character; if it is text in another "
      "encoding, convert it: {}",
      odd, whole.size(), filtered("iconv -f ENCODING -t UTF-8", was_gzip, name));
}

// The first line that is not blank, cut off from the text; with its line end if that is there.
std::string_view take_filled_line(std::string_view& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return text = {};
  text.remove_prefix(first);
  const std::size_t newline = text.find('\n');
  const std::string_view line = text.substr(0, newline == text.npos ? text.size() : newline + 1);
  text.remove_prefix(line.size());
  return line;
}

// A line that the beginning cuts need only begin as an object does.
bool is_json_line(std::string_view line, bool is_whole) {
  if (!line.starts_with('{')) return false;
  const JsonShape shape = json_shape(line);
  const bool is_cut = !line.ends_with('\n') && !is_whole;
  return shape == JsonShape::object || (shape == JsonShape::begun && is_cut);
}

bool is_json_over_lines(std::string_view text) {
  if (!text.starts_with('{') && !text.starts_with('[')) return false;
  const std::size_t next = text.find_first_not_of(" \t\r\n", 1);
  const char expected = text.front() == '{' ? '"' : '{';
  if (next == std::string_view::npos || text[next] != expected) return false;
  return json_shape(text) != JsonShape::none;
}

Content text_or_json(std::string_view text, bool is_whole, bool was_gzip,
                     std::string_view extension, std::string_view name) {
  if (extension == ".jsonl" || extension == ".ndjson") return {CorpusFormat::jsonl};
  std::string_view rest = text;
  const std::string_view first = take_filled_line(rest);
  const std::string_view from_first(first.data(), first.size() + rest.size());
  const std::string_view second = take_filled_line(rest);
  if (is_json_line(first, is_whole) && (second.empty() || is_json_line(second, is_whole))) {
    return {CorpusFormat::jsonl};
  }
  if (is_json_over_lines(from_first)) {
    const bool is_list = first.starts_with('[');
    return {.refusal = fmt::format(
                "{}; make lines of it: {}",
                is_list ? "a JSON list, not an object a line" : "a JSON object over several lines",
                filtered(is_list ? "jq -c '.[]'" : "jq -c .", was_gzip, name))};
  }
  if (extension != ".json") return {CorpusFormat::text_file};
  if (first.starts_with('{')) return {CorpusFormat::jsonl};
  return {.refusal = "no JSON objects, as its name says; --format text-file takes it for a text"};
}

}  // namespace

std::string content_extension(const fs::path& path) {
  const auto lower = [](std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
  };
  const std::string extension = lower(path.extension().string());
  return extension == ".gz" ? lower(path.stem().extension().string()) : extension;
}

std::int64_t count_odd_bytes(std::string_view text) {
  std::int64_t odd = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte < 0x7F) {
      ++i;
      continue;
    }
    const bool is_control = byte < 0x20 && (byte < 7 || (byte > 13 && byte != 0x1B));
    const std::size_t size = is_control ? 0 : utf8_character_size(text.substr(i));
    odd += size == 0 ? 1 : 0;
    i += std::max<std::size_t>(size, 1);
  }
  return odd;
}

Content told_by_content(std::string_view beginning, bool is_whole, bool was_gzip,
                        const fs::path& path, std::string_view format) {
  const std::string name = shell_word(path.string());
  if (was_gzip && beginning.starts_with("\x1F\x8B")) {
    return {.refusal = fmt::format("compressed twice with gzip{}", piped("zcat {} | zcat", name))};
  }
  std::string refusal = signature_refusal(beginning, path, name);
  if (refusal.empty()) refusal = bytes_refusal(beginning, is_whole, was_gzip, name);
  if (!refusal.empty()) return {.refusal = std::move(refusal)};
  if (beginning.starts_with(kByteOrderMark)) beginning.remove_prefix(kByteOrderMark.size());
  if (format == "jsonl") return {CorpusFormat::jsonl};
  if (format == "text-line") return {CorpusFormat::text_line};
  if (format == "text-file") return {CorpusFormat::text_file};
  return text_or_json(beginning, is_whole, was_gzip, content_extension(path), name);
}

}  // namespace gda
