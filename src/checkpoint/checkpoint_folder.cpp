#include "gda/checkpoint/checkpoint_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "checkpoint/json.h"
#include "checkpoint/names.h"
#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "gda/core/file.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr std::uint64_t kNewestFormat = 2;
constexpr const char* kFormatName = "gda checkpoint";

// Hash of the manifest without its own hash. Objects are sorted by key, so the text is canonical.
std::string hash_of(json manifest) {
  if (!manifest.is_object()) return {};
  manifest.erase("manifest_xxh3");
  const std::string text = manifest.dump();
  ContentHash hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.hex();
}

bool has_text(const json& object, const char* key, const std::string& text) {
  return object.is_object() && object.contains(key) && object[key] == text;
}

Manifest parse_manifest(const json& object) {
  Manifest manifest;
  manifest.format_version = object.at("format_version").get<std::int64_t>();
  manifest.step = object.at("step").get<std::int64_t>();
  manifest.world_size = object.at("world_size").get<std::int64_t>();
  manifest.parameter_count = object.at("parameter_count").get<std::int64_t>();
  manifest.unhealthy = object.value("unhealthy", std::string());
  for (const json& file : object.at("files")) {
    manifest.files.push_back({file.at("name").get<std::string>(),
                              file.at("size").get<std::uint64_t>(),
                              file.at("xxh3").get<std::string>()});
    require<FormatError>(is_plain_name(manifest.files.back().name), "file name \"{}\"",
                         manifest.files.back().name);
  }
  return manifest;
}

}  // namespace

std::vector<StepFolder> list_step_folders(const fs::path& checkpoints) {
  std::vector<StepFolder> folders;
  if (!fs::exists(checkpoints)) return folders;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
      const std::optional<StepName> name = parse_step_folder(entry.path().filename().string());
      if (!name || !entry.is_directory()) continue;
      folders.push_back({*name, entry.path(), fs::exists(entry.path() / kManifestFile)});
    }
  } catch (const fs::filesystem_error& error) {
    fail<IoError>("cannot list {}: {}", checkpoints.string(), error.code().message());
  }
  std::sort(folders.begin(), folders.end(),
            [](const StepFolder& a, const StepFolder& b) { return a.name < b.name; });
  return folders;
}

std::uint64_t Manifest::total_bytes() const {
  std::uint64_t bytes = 0;
  for (const WrittenFile& file : files) bytes += file.size;
  return bytes;
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestFile;
  require<FormatError>(fs::is_directory(folder), "there is no checkpoint folder {}",
                       folder.string());
  require<FormatError>(fs::exists(path),
                       "{} is not a complete checkpoint: it has no manifest.json, which is written "
                       "last",
                       folder.string());
  const json object = parse_json(read_text_file(path), path.string());
  require<FormatError>(has_text(object, "format", kFormatName) && object.contains("format_version"),
                       "{} is not the manifest of a checkpoint", path.string());
  const json& version = object["format_version"];
  require<FormatError>(version.is_number_unsigned() && version.get<std::uint64_t>() >= 1 &&
                           version.get<std::uint64_t>() <= kNewestFormat,
                       "{} has format version {}, this program reads versions 1 to {}",
                       path.string(), version.dump(), kNewestFormat);
  require<FormatError>(has_text(object, "manifest_xxh3", hash_of(object)),
                       "{} is damaged: it does not match its own checksum", path.string());
  try {
    return parse_manifest(object);
  } catch (const std::exception& error) {
    fail<FormatError>("{} is damaged: {}", path.string(), error.what());
  }
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  json object = {{"format", kFormatName},
                 {"format_version", manifest.format_version},
                 {"step", manifest.step},
                 {"world_size", manifest.world_size},
                 {"parameter_count", manifest.parameter_count},
                 {"files", json::array()}};
  if (!manifest.unhealthy.empty()) object["unhealthy"] = manifest.unhealthy;
  for (const WrittenFile& file : manifest.files) {
    object["files"].push_back({{"name", file.name}, {"size", file.size}, {"xxh3", file.hash}});
  }
  object["manifest_xxh3"] = hash_of(object);
  write_text_file_atomically(folder / kManifestFile, object.dump(kJsonIndent) + "\n");
}

std::string fault_of_state(const StepFolder& folder) {
  if (!folder.has_manifest) return {};
  try {
    return read_manifest(folder.path).unhealthy;
  } catch (const Error&) {
    return {};
  }
}

void mark_unhealthy(const fs::path& folder, const std::string& reason) {
  Manifest manifest = read_manifest(folder);
  manifest.unhealthy = reason;
  write_manifest(folder, manifest);
}

}  // namespace gda
