// Layout of a run folder.
#pragma once

#include <filesystem>
#include <utility>

namespace gda {

// The resolved configuration, in the folder of a run and in each of its checkpoints.
inline constexpr const char* kRunConfigFile = "config.yaml";

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  // The configuration of the process that wrote here last.
  std::filesystem::path config() const { return path_ / kRunConfigFile; }
  // A JSON object a line for everything that the run reports.
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  // A folder with a file of each rank.
  std::filesystem::path log() const { return path_ / "log"; }
  // A folder of each step that was saved (checkpoint_folder.h).
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  // Names the process that writes there, while it does (output_lock.h).
  std::filesystem::path lock() const { return path_ / "lock"; }

 private:
  std::filesystem::path path_;
};

}  // namespace gda
