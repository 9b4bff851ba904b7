#include <algorithm>
#include <utility>

#include "core/utf8.h"
#include "data/content.h"
#include "data/input_file.h"
#include "gda/core/error.h"
#include "gda/data/corpus.h"

namespace gda {
namespace {

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

CorpusReader::CorpusReader(std::vector<CorpusFile> files, const std::atomic<bool>* give_up)
    : files_(std::move(files)), give_up_(give_up) {}

CorpusReader::~CorpusReader() = default;

std::int64_t CorpusReader::bytes_on_disk() const {
  return finished_bytes_ + (open_ ? open_->offset() : 0);
}

bool CorpusReader::next(TextChunk& chunk) {
  while (file_ < files_.size()) {
    if (!open_) {
      open(files_[file_]);
      inside_document_ = false;
      line_ = 1;
    }
    if (take(chunk)) return true;
    finished_bytes_ += open_->offset();
    open_.reset();
    ++file_;
  }
  return false;
}

void CorpusReader::open(const CorpusFile& file) {
  open_ = std::make_unique<InputFile>(file.path, give_up_);
  format_ = file.format;
  if (!file.is_stream) return;
  const bool is_whole = open_->read_beginning(carry_);
  const Content content =
      told_by_content(carry_, is_whole, open_->is_gzip(), file.path, file.asked);
  require<FormatError>(content.refusal.empty(), "{}: {}", open_->name(), content.refusal);
  format_ = content.format;
}

// Takes whole lines while they fit in a chunk, else a piece of a document.
bool CorpusReader::take(TextChunk& chunk) {
  const bool by_line = format_ != CorpusFormat::text_file;
  bool at_end = false;
  std::size_t last_newline = by_line ? carry_.rfind('\n') : std::string::npos;
  while (carry_.size() < kChunkBytes ||
         (format_ == CorpusFormat::jsonl && last_newline == std::string::npos)) {
    require<FormatError>(carry_.size() <= kLongestJsonLine,
                         "{}:{}: the line is longer than {} MiB, the most that is parsed as one "
                         "JSON object",
                         open_->name(), line_, kLongestJsonLine >> 20);
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
  chunk.format = format_;
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
