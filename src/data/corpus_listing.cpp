// Which files a corpus is made of.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <utility>

#include "data/content.h"
#include "data/input_file.h"
#include "gda/core/error.h"
#include "gda/core/shell.h"
#include "gda/data/corpus.h"

namespace gda {
namespace {
namespace fs = std::filesystem;

constexpr std::array<std::string_view, 6> kTextExtensions{".txt",   ".text",   ".md",
                                                          ".jsonl", ".ndjson", ".json"};

// A file, by whatever path.
using Identity = std::pair<dev_t, ino_t>;

Identity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino};
}

template <class List>
bool contains(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Extensions begin with a letter: the ends of part.00001 and of c4.00000-of-01024 do not.
bool is_named_otherwise(const fs::path& path) {
  const std::string extension = content_extension(path);
  return extension.size() > 1 && std::isalpha(static_cast<unsigned char>(extension[1])) != 0 &&
         !contains(kTextExtensions, extension);
}

class Listing {
 public:
  explicit Listing(std::string_view format) : format_(format) {}

  void add_input(const std::string& input) {
    const fs::path path = input == "-" || fs::exists(input) ? input : expand_path(input);
    if (path != "-") {
      require<IoError>(fs::exists(path), "cannot open {}: no such file or folder", path.string());
    }
    if (path != "-" && fs::is_directory(path)) {
      const std::size_t before = corpus_.files.size();
      const std::size_t left_out_before = corpus_.left_out.size();
      // So that a link inside that leads back here is seen.
      struct stat status {};
      if (::stat(path.c_str(), &status) == 0) seen_.try_emplace(identity_of(status), path);
      add_folder(path);
      require<IoError>(corpus_.files.size() > before, "no text in folder {}{}", path.string(),
                       first_left_out(left_out_before));
    } else {
      add_named(path);
    }
  }

  Corpus take() { return std::move(corpus_); }

  // "; not read: a.zst: compressed ...".
  std::string first_left_out(std::size_t from) const {
    constexpr std::size_t kMost = 3;
    const std::size_t count = corpus_.left_out.size() - from;
    std::string text;
    for (std::size_t i = from; i < from + std::min(count, kMost); ++i) {
      const LeftOut& out = corpus_.left_out[i];
      text += fmt::format("; not read: {}: {}", out.path.string(), out.why);
    }
    return text + (count > kMost ? fmt::format("; and {} more", count - kMost) : "");
  }

 private:
  static bool is_stream(const fs::path& path) { return path == "-" || !fs::is_regular_file(path); }

  void add_named(const fs::path& path) {
    if (is_stream(path)) {
      require<ConfigError>(streams_.insert(path.string()).second,
                           "{} is given twice, but can be read once", input_name(path));
      corpus_.files.push_back({.path = path, .is_stream = true, .asked = std::string(format_)});
      return;
    }
    const std::string refusal = look_into(path);
    require<FormatError>(refusal.empty(), "{}: {}", path.string(), refusal);
  }

  void leave_out(const fs::path& path, std::string why) {
    corpus_.left_out.push_back({path, std::move(why)});
  }

  // Adds a regular file, or returns why it cannot be read as text.
  std::string look_into(const fs::path& path, bool is_in_folder = false) {
    InputFile file(path);
    std::string beginning;
    const bool is_whole = file.read_beginning(beginning);
    if (beginning.empty()) {
      leave_out(path, "empty");
      return {};
    }
    Content content = told_by_content(beginning, is_whole, file.is_gzip(), path, format_);
    if (!content.refusal.empty()) return content.refusal;
    if (is_in_folder && content.format != CorpusFormat::jsonl && is_named_otherwise(path)) {
      leave_out(path, fmt::format("text under the extension {}; name the file to have it read",
                                  content_extension(path)));
      return {};
    }
    corpus_.files.push_back({.path = path,
                             .format = content.format,
                             .bytes = static_cast<std::int64_t>(fs::file_size(path)),
                             .is_gzip = file.is_gzip()});
    return {};
  }

  void add_folder(const fs::path& folder) {
    std::vector<fs::path> entries;
    std::error_code code;
    for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
         entry.increment(code)) {
      entries.push_back(entry->path());
    }
    if (code) return leave_out(folder, code.message());
    std::sort(entries.begin(), entries.end());
    for (const fs::path& path : entries) add_entry(path);
  }

  void add_entry(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      return leave_out(path, fs::is_symlink(path) ? "a link to nothing" : "cannot be looked at");
    }
    if (path.filename().string().starts_with('.')) return leave_out(path, "hidden");
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
      return leave_out(path, "neither a file nor a folder");
    }
    const auto [first, is_new] = seen_.try_emplace(identity_of(status), path);
    if (!is_new) {
      return leave_out(path, fmt::format("the same as {}", first->second.string()));
    }
    if (S_ISDIR(status.st_mode)) return add_folder(path);
    try {
      std::string refusal = look_into(path, true);
      if (!refusal.empty()) leave_out(path, std::move(refusal));
    } catch (const IoError& error) {
      leave_out(path, error.what());
    }
  }

  std::string_view format_;
  Corpus corpus_;
  std::map<Identity, fs::path> seen_;  // of folders
  std::set<std::string> streams_;
};

}  // namespace

Corpus find_corpus(const std::vector<std::string>& inputs, std::string_view format) {
  constexpr std::array<std::string_view, 4> kFormats{"auto", "text-file", "text-line", "jsonl"};
  require<ConfigError>(contains(kFormats, format),
                       "format: expected auto, text-file, text-line or jsonl, found {}", format);
  require<ConfigError>(!inputs.empty(), "no input files");
  Listing listing(format);
  for (const std::string& input : inputs) listing.add_input(input);
  const std::string left_out = listing.first_left_out(0);
  Corpus corpus = listing.take();
  require<FormatError>(!corpus.files.empty(), "no text in the input{}", left_out);
  return corpus;
}

std::vector<CorpusFile> find_corpus_files(const std::vector<std::string>& inputs,
                                          std::string_view format) {
  return find_corpus(inputs, format).files;
}

}  // namespace gda
