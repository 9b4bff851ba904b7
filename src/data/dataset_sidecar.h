// The file beside a dataset that says what it is: PREFIX.gda.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gda/data/dataset_identity.h"

namespace gda {

// By what a file is known again without reading it.
struct FileStamp {
  std::string name;  // without its folder
  std::int64_t bytes = 0;
  std::int64_t modified_ns = 0;  // time of change, of the file system's clock
  std::string sample;            // hash of kSampledBlocks blocks spread over it

  bool operator==(const FileStamp&) const = default;
};

// A file that was swapped for another of its size and time differs in one of its blocks, or hardly
// anywhere: eight of them cost eight reads however long the file is.
inline constexpr std::int64_t kSampledBlocks = 8;
inline constexpr std::int64_t kSampledBytes = 4096;

FileStamp stamp_of(const std::filesystem::path& file);
std::vector<FileStamp> stamps_of(const std::vector<std::filesystem::path>& files);

struct DatasetSidecar {
  DatasetIdentity identity;
  std::vector<FileStamp> files;
};

// Beside the file that holds a dataset's tokens.
std::filesystem::path sidecar_beside(const std::filesystem::path& tokens);
// In the user's cache folder; nothing if the environment names none.
std::optional<std::filesystem::path> sidecar_in_cache(const std::filesystem::path& tokens);

// Nothing if the file is not there, or is no sidecar, which is warned of. Throws FormatError if it
// is of a newer version.
std::optional<DatasetSidecar> read_sidecar(const std::filesystem::path& file);
// Throws IoError.
void write_sidecar(const std::filesystem::path& file, const DatasetSidecar& sidecar);

}  // namespace gda
