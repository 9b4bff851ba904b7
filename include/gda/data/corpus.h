// Text files as documents: where `gda tokenize` and `gda tokenizer train` read from.
//
// What a file is, is told by its content: plain text or JSON lines, in UTF-8, perhaps in gzip.
// Anything else is refused with the way to convert it. Memory is bounded: text is read in chunks of
// about kChunkBytes, and a document that is longer is handed on in pieces. A piece ends after a
// newline, else before a space, else between two characters; only in the last case, more than
// kChunkBytes without either, may the tokens differ from those of the uncut text. A byte order mark
// at the beginning of a document or of a line of JSON is no part of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gda {

class InputFile;

enum class CorpusFormat {
  text_file,  // a document a file
  text_line,  // a document a line; blank lines are skipped
  jsonl,      // a JSON object a line; the document is the string under a key
};

struct CorpusFile {
  std::filesystem::path path;  // "-": standard input
  // Of a stream, a guess until it is opened: then TextChunk tells.
  CorpusFormat format = CorpusFormat::text_file;
  std::int64_t bytes = 0;  // on disk; 0 for a stream
  bool is_gzip = false;
  // A pipe or another thing that can be read once; `asked` says what format was asked for.
  bool is_stream = false;
  std::string asked = "auto";
};

// A file or folder among the inputs that is not read.
struct LeftOut {
  std::filesystem::path path;
  std::string why;
};

struct Corpus {
  std::vector<CorpusFile> files;
  std::vector<LeftOut> left_out;
};

// Looks into files and, recursively, in the order of names and through links, into folders.
//
// `format` is "text-file", "text-line", "jsonl" or "auto": JSON lines where the content is that (or
// the name ends in .jsonl or .ndjson), else a document a file. A file that is named and cannot be
// read as text is a FormatError. In a folder it is left out, and so are hidden files, empty files,
// a second way to the same file, and text under an extension that is not .txt, .text, .md, .jsonl,
// .ndjson, .json (each also with .gz, large or small) unless it is JSON lines. Throws ConfigError,
// IoError where nothing is there to be read, FormatError where all is empty.
Corpus find_corpus(const std::vector<std::string>& inputs, std::string_view format);

// The files alone.
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

  // `give_up` ends a wait for a pipe; see input_file.h.
  explicit CorpusReader(std::vector<CorpusFile> files, const std::atomic<bool>* give_up = nullptr);
  ~CorpusReader();
  CorpusReader(const CorpusReader&) = delete;
  CorpusReader& operator=(const CorpusReader&) = delete;

  // The next chunk, file after file; false at the end. Throws IoError, or FormatError for damaged
  // gzip and for a stream that is no text.
  bool next(TextChunk& chunk);
  const std::vector<CorpusFile>& files() const { return files_; }
  // Bytes read so far, as they are on disk.
  std::int64_t bytes_on_disk() const;

 private:
  void open(const CorpusFile& file);
  bool take(TextChunk& chunk);

  std::vector<CorpusFile> files_;
  const std::atomic<bool>* give_up_;
  std::size_t file_ = 0;
  std::unique_ptr<InputFile> open_;
  CorpusFormat format_ = CorpusFormat::text_file;  // of the open file
  std::string carry_;                              // read, but not yet handed on
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

// What was passed over, or is doubtful, in what was read.
struct CorpusDoubts {
  static constexpr std::size_t kPlaces = 5;

  std::int64_t skipped_lines = 0;             // of JSON, without a text
  std::int64_t empty_documents = 0;           // of JSON: the text is ""
  std::int64_t odd_bytes = 0;                 // that are of no UTF-8 character; they are kept
  std::vector<std::string> skipped_places{};  // the first kPlaces, "FILE:LINE: why"
  std::string odd_file{};                     // the first file with odd bytes

  void add(const CorpusDoubts& more);
};

// Calls f with the pieces of documents in a chunk. A line of JSON that is not an object with a
// string under the key (json_text.h: or under a path of keys) is a FormatError that names file and
// line, or is skipped.
CorpusDoubts for_each_document(const TextChunk& chunk, const CorpusFile& file,
                               const JsonlOptions& options,
                               const std::function<void(const DocumentPiece&)>& f);

}  // namespace gda
