#include "data/dataset_sidecar.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gda/core/checksum.h"
#include "gda/core/environment.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kSidecarFormat = "gda dataset";
constexpr int kSidecarVersion = 1;

std::string sample_of(const fs::path& path, std::int64_t bytes) {
  std::ifstream file(path, std::ios::binary);
  require<IoError>(file.is_open(), "cannot open {}", path.string());
  ContentHash hash;
  std::array<char, kSampledBytes> block{};
  const std::int64_t last = std::max<std::int64_t>(bytes - kSampledBytes, 0);
  for (std::int64_t i = 0; i < kSampledBlocks; ++i) {
    const auto at = static_cast<std::int64_t>(static_cast<double>(last) * static_cast<double>(i) /
                                              (kSampledBlocks - 1));
    file.clear();
    file.seekg(at);
    file.read(block.data(), std::min(kSampledBytes, bytes - at));
    require<IoError>(!file.bad(), "cannot read {}", path.string());
    hash.update(std::as_bytes(std::span(block)).first(static_cast<std::size_t>(file.gcount())));
    if (last == 0) break;
  }
  return hash.hex();
}

}  // namespace

FileStamp stamp_of(const fs::path& file) {
  struct stat info {};
  require<IoError>(::stat(file.c_str(), &info) == 0, "cannot read {}: {}", file.string(),
                   std::strerror(errno));
  constexpr std::int64_t kSecond = 1'000'000'000;
  return {.name = file.filename().string(),
          .bytes = info.st_size,
          .modified_ns = info.st_mtim.tv_sec * kSecond + info.st_mtim.tv_nsec,
          .sample = sample_of(file, info.st_size)};
}

std::vector<FileStamp> stamps_of(const std::vector<fs::path>& files) {
  std::vector<FileStamp> stamps;
  stamps.reserve(files.size());
  for (const fs::path& file : files) stamps.push_back(stamp_of(file));
  return stamps;
}

fs::path sidecar_beside(const fs::path& tokens) {
  fs::path path = tokens;
  if (path.extension() == ".bin") path.replace_extension();
  return path += ".gda.json";
}

std::optional<fs::path> sidecar_in_cache(const fs::path& tokens) {
  const char* cache = environment("XDG_CACHE_HOME");
  const char* home = environment("HOME");
  if (cache == nullptr && home == nullptr) return std::nullopt;
  const fs::path folder = cache != nullptr ? fs::path(cache) : fs::path(home) / ".cache";
  const std::string place = fs::weakly_canonical(tokens).string();
  return folder / "gda" / "datasets" /
         fmt::format("{}-{:016x}.json", tokens.stem().string(), hash_name(place));
}

std::optional<DatasetSidecar> read_sidecar(const fs::path& file) {
  if (!fs::is_regular_file(file)) return std::nullopt;
  try {
    const Json json = Json::parse(read_text_file(file));
    require<FormatError>(json.at("format") == kSidecarFormat, "{}: its format is {}", file.string(),
                         json.at("format").dump());
    const int version = json.at("version").get<int>();
    require<ConfigError>(version <= kSidecarVersion,
                         "{}: of version {}, which a newer gda wrote; this one knows {}: use the "
                         "newer one, or remove the file, and the dataset is read anew",
                         file.string(), version, kSidecarVersion);
    DatasetSidecar sidecar{.identity = parse_dataset_identity(json.dump(), file.string()),
                           .files = {}};
    for (const Json& entry : json.at("files")) {
      sidecar.files.push_back({.name = entry.at("name").get<std::string>(),
                               .bytes = entry.at("bytes").get<std::int64_t>(),
                               .modified_ns = entry.at("modified_ns").get<std::int64_t>(),
                               .sample = entry.at("sample").get<std::string>()});
    }
    return sidecar;
  } catch (const nlohmann::json::exception& reason) {
    log::warning("{} is not what gda writes beside a dataset ({}): the dataset is read anew",
                 file.string(), reason.what());
  } catch (const FormatError& reason) {
    log::warning("{}: the dataset is read anew", reason.what());
  }
  return std::nullopt;
}

void write_sidecar(const fs::path& file, const DatasetSidecar& sidecar) {
  Json json{{"format", kSidecarFormat}, {"version", kSidecarVersion}};
  json.update(Json::parse(identity_json(sidecar.identity)));
  json["files"] = Json::array();
  for (const FileStamp& stamp : sidecar.files) {
    json["files"].push_back({{"name", stamp.name},
                             {"bytes", stamp.bytes},
                             {"modified_ns", stamp.modified_ns},
                             {"sample", stamp.sample}});
  }
  write_text_file_atomically(file, json.dump(2) + "\n");
}

}  // namespace gda
