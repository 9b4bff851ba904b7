#include "cli/corpus_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>

#include "gda/core/text.h"

namespace gda::cli {
namespace {

constexpr std::size_t kMostLines = 20;

std::string format_of(const CorpusFile& file) {
  const std::string packed = file.is_gzip ? ", gzip" : "";
  if (file.is_stream) return "stream";
  switch (file.format) {
    case CorpusFormat::text_file:
      return "text-file" + packed;
    case CorpusFormat::text_line:
      return "text-line" + packed;
    case CorpusFormat::jsonl:
      return "jsonl" + packed;
  }
  return {};
}

std::string name_of(const std::filesystem::path& path) {
  return path == "-" ? "standard input" : path.string();
}

void print_some(std::size_t count, const std::function<std::string(std::size_t)>& line) {
  for (std::size_t i = 0; i < std::min(count, kMostLines); ++i) fmt::print("  {}\n", line(i));
  if (count > kMostLines) fmt::print("  and {} more (--json lists all)\n", count - kMostLines);
}

}  // namespace

void print_corpus(const Corpus& corpus, const CorpusDoubts& doubts) {
  fmt::print("read {}:\n", counted(corpus.files.size(), "file"));
  print_some(corpus.files.size(), [&](std::size_t i) {
    return fmt::format("{} ({})", name_of(corpus.files[i].path), format_of(corpus.files[i]));
  });
  if (!corpus.left_out.empty()) {
    fmt::print("left out {}:\n", counted(corpus.left_out.size(), "path"));
    print_some(corpus.left_out.size(), [&](std::size_t i) {
      return fmt::format("{}: {}", corpus.left_out[i].path.string(), corpus.left_out[i].why);
    });
  }
  if (doubts.skipped_lines > 0) {
    fmt::print("{} skipped, first:\n", counted(doubts.skipped_lines, "bad line"));
    for (const std::string& place : doubts.skipped_places) fmt::print("  {}\n", place);
  }
  if (doubts.empty_documents > 0) {
    fmt::print("no document of {} with an empty text\n",
               counted(doubts.empty_documents, "JSON line"));
  }
  if (doubts.odd_bytes > 0) {
    fmt::print("{} kept that {} no UTF-8, or control characters; first in {}\n",
               counted(doubts.odd_bytes, "byte"), doubts.odd_bytes == 1 ? "is" : "are",
               doubts.odd_file);
  }
}

void add_corpus(nlohmann::ordered_json& json, const Corpus& corpus, const CorpusDoubts& doubts) {
  json["files"] = corpus.files.size();
  json["read"] = nlohmann::ordered_json::array();
  for (const CorpusFile& file : corpus.files) {
    json["read"].push_back({{"path", name_of(file.path)}, {"format", format_of(file)}});
  }
  json["left_out"] = nlohmann::ordered_json::array();
  for (const LeftOut& out : corpus.left_out) {
    json["left_out"].push_back({{"path", out.path.string()}, {"why", out.why}});
  }
  json["skipped_lines"] = doubts.skipped_lines;
  json["skipped"] = doubts.skipped_places;
  json["empty_documents"] = doubts.empty_documents;
  json["odd_bytes"] = doubts.odd_bytes;
}

void print_json(const nlohmann::ordered_json& json) {
  fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace gda::cli
