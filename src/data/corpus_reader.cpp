#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "data/utf8.h"
#include "gda/core/error.h"
#include "gda/data/corpus.h"

namespace gda {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 18;

bool is_blank(char c) {
  return c == ' ' || c == '\n';
}

// Where to end a piece of a document: see the head of corpus.h. In (0, text.size()].
std::size_t piece_end(std::string_view text) {
  const std::size_t newline = text.rfind('\n');
  if (newline != std::string_view::npos) return newline + 1;
  for (std::size_t i = text.size() - 1; i > 0; --i) {
    if (text[i] == ' ' && !is_blank(text[i - 1])) return i;
  }
  // At most three bytes belong to a character that is not whole yet.
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size() - 1); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte >= 0xC0 && utf8_character_size(text.substr(text.size() - back)) == 0) {
      return text.size() - back;
    }
  }
  return text.size();
}

}  // namespace

// A file that may be compressed.
class CorpusReader::File {
 public:
  explicit File(const CorpusFile& file)
      : path_(file.path.string()), handle_(gzopen(path_.c_str(), "rb")) {
    require<IoError>(handle_ != nullptr, "cannot open {}: {}", path_, std::strerror(errno));
    gzbuffer(handle_, kReadBytes);
    try {
      check_magic(file);
    } catch (...) {
      gzclose(handle_);
      throw;
    }
  }
  ~File() { gzclose(handle_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Appends up to kReadBytes; false at the end of the file.
  bool read(std::string& text) {
    const std::size_t before = text.size();
    text.resize(before + kReadBytes);
    const int count = gzread(handle_, text.data() + before, static_cast<unsigned>(kReadBytes));
    int code = Z_OK;
    const char* reason = gzerror(handle_, &code);
    text.resize(before + static_cast<std::size_t>(std::max(count, 0)));
    require<IoError>(code != Z_ERRNO, "cannot read {}: {}", path_, std::strerror(errno));
    // Z_BUF_ERROR: the file ended inside a compressed block.
    require<FormatError>(count >= 0 && code == Z_OK, "{}: damaged gzip file: {}", path_,
                         code == Z_BUF_ERROR ? "truncated" : reason);
    return count > 0;
  }

  std::int64_t offset() const { return std::max<std::int64_t>(gzoffset(handle_), 0); }

 private:
  // zlib hands on a file as it is if it does not begin like gzip.
  void check_magic(const CorpusFile& file) {
    const bool is_plain = gzdirect(handle_) == 1;
    require<FormatError>(file.path.extension() != ".gz" || !is_plain || file.bytes == 0,
                         "{}: named .gz but not compressed with gzip", path_);
  }

  std::string path_;
  gzFile handle_;
};

CorpusReader::CorpusReader(std::vector<CorpusFile> files) : files_(std::move(files)) {}

CorpusReader::~CorpusReader() = default;

std::int64_t CorpusReader::bytes_on_disk() const {
  return finished_bytes_ + (open_ ? open_->offset() : 0);
}

bool CorpusReader::next(TextChunk& chunk) {
  while (file_ < files_.size()) {
    if (!open_) {
      open_ = std::make_unique<File>(files_[file_]);
      inside_document_ = false;
      line_ = 1;
    }
    if (take(chunk)) return true;
    finished_bytes_ += files_[file_].bytes;
    open_.reset();
    ++file_;
  }
  return false;
}

// Takes whole lines while they fit in a chunk, else a piece of a document.
bool CorpusReader::take(TextChunk& chunk) {
  const CorpusFile& file = files_[file_];
  const bool by_line = file.format != CorpusFormat::text_file;
  bool at_end = false;
  std::size_t last_newline = by_line ? carry_.rfind('\n') : std::string::npos;
  while (carry_.size() < kChunkBytes ||
         (file.format == CorpusFormat::jsonl && last_newline == std::string::npos)) {
    require<FormatError>(carry_.size() <= kLongestJsonLine,
                         "{}:{}: the line is longer than {} MiB, the most that is parsed as one "
                         "JSON object",
                         file.path.string(), line_, kLongestJsonLine >> 20);
    const std::size_t before = carry_.size();
    at_end = !open_->read(carry_);
    if (at_end) break;
    const std::size_t newline = std::string_view(carry_).substr(before).rfind('\n');
    if (by_line && newline != std::string_view::npos) last_newline = before + newline;
  }
  if (carry_.empty() && !inside_document_) return false;
  std::size_t size = carry_.size();
  if (!at_end) size = last_newline == std::string::npos ? piece_end(carry_) : last_newline + 1;

  chunk.file = file_;
  chunk.format = file.format;
  chunk.first_line = line_;
  chunk.continues = inside_document_;
  chunk.ends = at_end || last_newline != std::string::npos;
  chunk.text.assign(carry_, 0, size);
  carry_.erase(0, size);
  if (by_line) line_ += std::count(chunk.text.begin(), chunk.text.end(), '\n');
  inside_document_ = !chunk.ends;
  return true;
}

}  // namespace gda
