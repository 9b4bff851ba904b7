// Text files as documents: where `gda tokenize` and `gda tokenizer train` read from.
//
// Each format may be compressed with gzip (.gz). Memory is bounded: text is read in chunks of about
// kChunkBytes, and a document that is longer is handed on in pieces. A piece ends after a newline,
// else before a space, else between two characters; only in the last case, more than kChunkBytes
// without either, may the tokens differ from those of the uncut text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gda {

enum class CorpusFormat {
  text_file,  // a document a file
  text_line,  // a document a line; blank lines are skipped
  jsonl,      // a JSON object a line; the document is the string under a key
};

struct CorpusFile {
  std::filesystem::path path;
  CorpusFormat format = CorpusFormat::text_file;
  std::int64_t bytes = 0;  // on disk
};

// Lists files and, recursively and in the order of their names, the texts in folders: .txt, .text,
// .md, .jsonl, .ndjson, each also with .gz. `format` is "text-file", "text-line", "jsonl" or
// "auto": jsonl for .jsonl and .ndjson, text-file for the rest. Throws ConfigError or IoError.
std::vector<CorpusFile> find_corpus_files(const std::vector<std::string>& inputs,
                                          std::string_view format);

// A part of one file: whole lines of it, or a piece of a document that is too long.
struct TextChunk {
  std::size_t file = 0;
  CorpusFormat format = CorpusFormat::text_file;
  std::int64_t first_line = 1;  // text_line and jsonl
  std::string text;
  bool continues = false;  // begins inside a document
  bool ends = true;        // its last document ends with it
};

class CorpusReader {
 public:
  static constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  // A line of JSON has to be parsed whole.
  static constexpr std::size_t kLongestJsonLine = std::size_t{256} << 20;

  explicit CorpusReader(std::vector<CorpusFile> files);
  ~CorpusReader();
  CorpusReader(const CorpusReader&) = delete;
  CorpusReader& operator=(const CorpusReader&) = delete;

  // The next chunk, file after file; false at the end. Throws IoError, or FormatError for damaged
  // gzip.
  bool next(TextChunk& chunk);
  const std::vector<CorpusFile>& files() const { return files_; }
  // Bytes read so far, as they are on disk.
  std::int64_t bytes_on_disk() const;

 private:
  class File;
  bool take(TextChunk& chunk);

  std::vector<CorpusFile> files_;
  std::size_t file_ = 0;
  std::unique_ptr<File> open_;
  std::string carry_;  // read, but not yet handed on
  bool inside_document_ = false;
  std::int64_t line_ = 1;
  std::int64_t finished_bytes_ = 0;
};

// A piece of a document's text.
struct DocumentPiece {
  std::string_view text;
  bool continues = false;
  bool ends = true;
};

struct JsonlOptions {
  std::string key = "text";
  bool skip_bad_lines = false;
};

// Calls f with the pieces of documents in a chunk. A line of JSON that is not an object with a
// string under the key is a FormatError that names file and line, or is skipped. Returns how many
// were.
std::int64_t for_each_document(const TextChunk& chunk, const CorpusFile& file,
                               const JsonlOptions& options,
                               const std::function<void(const DocumentPiece&)>& f);

}  // namespace gda
