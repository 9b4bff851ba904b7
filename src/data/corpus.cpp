#include "gda/data/corpus.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "gda/core/error.h"

namespace gda {
namespace {
namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kTextExtensions{".txt", ".text", ".md"};
constexpr std::array<std::string_view, 2> kJsonExtensions{".jsonl", ".ndjson"};

// The extension that tells the format: that of "a.txt.gz" is ".txt".
std::string content_extension(const fs::path& path) {
  return (path.extension() == ".gz" ? path.stem() : path).extension().string();
}

template <class List>
bool contains(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

CorpusFile describe(const fs::path& path, std::string_view format) {
  CorpusFile file{path, CorpusFormat::text_file, 0};
  std::error_code code;
  file.bytes = static_cast<std::int64_t>(fs::file_size(path, code));
  require<IoError>(!code, "cannot read {}: {}", path.string(), code.message());
  if (format == "text-line") {
    file.format = CorpusFormat::text_line;
  } else if (format == "jsonl" ||
             (format == "auto" && contains(kJsonExtensions, content_extension(path)))) {
    file.format = CorpusFormat::jsonl;
  }
  return file;
}

std::vector<fs::path> texts_in(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string extension = content_extension(entry.path());
    if (entry.is_regular_file() &&
        (contains(kTextExtensions, extension) || contains(kJsonExtensions, extension))) {
      paths.push_back(entry.path());
    }
  }
  require<IoError>(!paths.empty(),
                   "no text in folder {}: expected .txt, .text, .md, .jsonl or .ndjson, each also "
                   "with .gz; name other files one by one",
                   folder.string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string_view without_line_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return line;
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

// The string under the key, or why there is none.
struct Extracted {
  std::string text;
  std::string problem;
};

Extracted extract(std::string_view line, const std::string& key) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (json.is_discarded()) return {"", "not valid JSON (or not UTF-8)"};
  if (!json.is_object()) return {"", "expected a JSON object"};
  const auto found = json.find(key);
  if (found == json.end()) {
    std::string keys;
    for (const auto& item : json.items()) keys += (keys.empty() ? "" : ", ") + item.key();
    return {"",
            fmt::format("no key \"{}\"; the object has: {}", key, keys.empty() ? "none" : keys)};
  }
  if (!found->is_string()) {
    return {"", fmt::format("expected a string under \"{}\", found {}", key, found->type_name())};
  }
  return {found->get<std::string>(), ""};
}

}  // namespace

std::vector<CorpusFile> find_corpus_files(const std::vector<std::string>& inputs,
                                          std::string_view format) {
  constexpr std::array<std::string_view, 4> kFormats{"auto", "text-file", "text-line", "jsonl"};
  require<ConfigError>(contains(kFormats, format),
                       "format: expected auto, text-file, text-line or jsonl, found {}", format);
  std::vector<CorpusFile> files;
  for (const auto& input : inputs) {
    require<IoError>(fs::exists(input), "cannot open {}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      files.push_back(describe(input, format));
      continue;
    }
    for (const auto& path : texts_in(input)) files.push_back(describe(path, format));
  }
  require<ConfigError>(!files.empty(), "no input files");
  return files;
}

std::int64_t for_each_document(const TextChunk& chunk, const CorpusFile& file,
                               const JsonlOptions& options,
                               const std::function<void(const DocumentPiece&)>& f) {
  if (chunk.format == CorpusFormat::text_file) {
    f({chunk.text, chunk.continues, chunk.ends});
    return 0;
  }
  std::int64_t skipped = 0;
  std::int64_t line_number = chunk.first_line;
  std::string_view rest = chunk.text;
  bool continues = chunk.continues;
  if (rest.empty()) f({rest, continues, true});
  for (; !rest.empty(); ++line_number) {
    const std::string_view line = take_line(rest);
    const bool ends = !rest.empty() || chunk.ends;
    if (chunk.format == CorpusFormat::text_line) {
      const bool is_whole = ends && !continues;
      if (!is_whole || !is_blank(line)) f({ends ? without_line_end(line) : line, continues, ends});
      continues = false;
    } else if (!is_blank(line)) {
      const Extracted document = extract(line, options.key);
      require<FormatError>(document.problem.empty() || options.skip_bad_lines,
                           "{}:{}: {}: name the key of the text with --key, or use "
                           "--skip-bad-lines",
                           file.path.string(), line_number, document.problem);
      if (!document.problem.empty()) {
        ++skipped;
      } else if (!document.text.empty()) {
        f({document.text, false, true});
      }
    }
  }
  return skipped;
}

}  // namespace gda
