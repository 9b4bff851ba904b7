#include "gda/data/corpus.h"

#include <fmt/format.h>

#include <utility>

#include "data/content.h"
#include "data/input_file.h"
#include "data/json_text.h"
#include "gda/core/error.h"

namespace gda {
namespace {

std::string_view without_line_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

std::string_view without_mark(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

// Cuts off and returns the first line, with its newline.
std::string_view take_line(std::string_view& text) {
  const std::size_t newline = text.find('\n');
  const std::size_t size = newline == std::string_view::npos ? text.size() : newline + 1;
  const std::string_view line = text.substr(0, size);
  text.remove_prefix(size);
  return line;
}

// The documents of a chunk; `f` gets their pieces.
class Documents {
 public:
  using Use = std::function<void(const DocumentPiece&)>;

  Documents(const CorpusFile& file, const JsonlOptions& options, const Use& f)
      : file_(input_name(file.path)), options_(options), f_(f) {}

  void hand_on(std::string_view text, bool continues, bool ends) {
    if (!continues) text = without_mark(text);
    if (const std::int64_t odd = count_odd_bytes(text); odd > 0) {
      if (doubts_.odd_bytes == 0) doubts_.odd_file = file_;
      doubts_.odd_bytes += odd;
    }
    f_({text, continues, ends});
  }

  void hand_on_json(std::string_view line, std::int64_t number) {
    const JsonText document = find_json_text(without_mark(line), options_.key);
    if (document.problem.empty()) {
      if (without_mark(document.text).empty()) {
        ++doubts_.empty_documents;
      } else {
        hand_on(document.text, false, true);
      }
      return;
    }
    const std::string place = fmt::format("{}:{}: {}", file_, number, document.problem);
    require<FormatError>(options_.skip_bad_lines, "{}: {}--skip-bad-lines", place,
                         document.is_json ? "name the key of the text with --key, or use "
                                          : "to leave such lines out, use ");
    doubts_.skipped_lines += 1;
    if (doubts_.skipped_places.size() < CorpusDoubts::kPlaces) {
      doubts_.skipped_places.push_back(place);
    }
  }

  CorpusDoubts take_doubts() { return std::move(doubts_); }

 private:
  std::string file_;
  const JsonlOptions& options_;
  const Use& f_;
  CorpusDoubts doubts_;
};

}  // namespace

void CorpusDoubts::add(const CorpusDoubts& more) {
  skipped_lines += more.skipped_lines;
  empty_documents += more.empty_documents;
  odd_bytes += more.odd_bytes;
  if (odd_file.empty()) odd_file = more.odd_file;
  for (const std::string& place : more.skipped_places) {
    if (skipped_places.size() < kPlaces) skipped_places.push_back(place);
  }
}

CorpusDoubts for_each_document(const TextChunk& chunk, const CorpusFile& file,
                               const JsonlOptions& options,
                               const std::function<void(const DocumentPiece&)>& f) {
  Documents documents(file, options, f);
  if (chunk.format == CorpusFormat::text_file) {
    documents.hand_on(chunk.text, chunk.continues, chunk.ends);
    return documents.take_doubts();
  }
  std::int64_t line_number = chunk.first_line;
  std::string_view rest = chunk.text;
  bool continues = chunk.continues;
  if (rest.empty()) documents.hand_on(rest, continues, true);
  for (; !rest.empty(); ++line_number) {
    const std::string_view line = take_line(rest);
    const bool ends = !rest.empty() || chunk.ends;
    if (chunk.format == CorpusFormat::text_line) {
      const bool is_whole = ends && !continues;
      if (!is_whole || !is_blank(without_mark(line))) {
        documents.hand_on(ends ? without_line_end(line) : line, continues, ends);
      }
      continues = false;
    } else if (!is_blank(without_mark(line))) {
      documents.hand_on_json(line, line_number);
    }
  }
  return documents.take_doubts();
}

}  // namespace gda
