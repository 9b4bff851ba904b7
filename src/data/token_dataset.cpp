#include "gda/data/token_dataset.h"

#include <algorithm>

#include "data/llmc_dataset.h"
#include "data/megatron_dataset.h"
#include "gda/core/error.h"

namespace gda {
namespace {
namespace fs = std::filesystem;

// "x.bin" and "x.idx" become "x".
std::string prefix_of(const std::string& path) {
  const fs::path extension = fs::path(path).extension();
  return extension == ".bin" || extension == ".idx" ? path.substr(0, path.size() - 4) : path;
}

std::unique_ptr<TokenDataset> open_one(const std::string& path, std::int64_t vocab_size) {
  const std::string prefix = prefix_of(path);
  const bool has_bin = fs::is_regular_file(prefix + ".bin");
  const bool has_idx = fs::is_regular_file(prefix + ".idx");
  if (has_bin && has_idx) return std::make_unique<MegatronDataset>(prefix, vocab_size);
  if (has_bin && LlmcDataset::has_magic(prefix + ".bin")) {
    return std::make_unique<LlmcDataset>(prefix + ".bin", vocab_size);
  }
  if (fs::is_regular_file(path) && !has_idx && !has_bin) {
    return std::make_unique<LlmcDataset>(path, vocab_size);
  }
  require<IoError>(!has_bin && !has_idx,
                   "{0}{1} is missing beside {0}{2}: copy both files of the dataset, or run "
                   "gda tokenize again if it was interrupted",
                   prefix, has_bin ? ".idx" : ".bin", has_bin ? ".bin" : ".idx");
  fail<IoError>(
      "no token dataset at {}: expected {}.bin and {}.idx, an llm.c shard, or a folder of them; "
      "gda tokenize makes one from text",
      path, prefix, prefix);
}

std::vector<std::string> prefixes_in(const fs::path& folder) {
  std::vector<std::string> prefixes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".bin") prefixes.push_back(prefix_of(entry.path().string()));
  }
  std::sort(prefixes.begin(), prefixes.end());
  return prefixes;
}

}  // namespace

std::vector<std::unique_ptr<TokenDataset>> open_token_datasets(const std::string& path,
                                                               std::int64_t vocab_size) {
  std::vector<std::unique_ptr<TokenDataset>> datasets;
  if (!fs::is_directory(path)) {
    datasets.push_back(open_one(path, vocab_size));
    return datasets;
  }
  for (const auto& prefix : prefixes_in(path)) datasets.push_back(open_one(prefix, vocab_size));
  require<IoError>(!datasets.empty(), "no token dataset in folder {}: it holds no .bin file", path);
  return datasets;
}

}  // namespace gda
