#include <sstream>

#include "checkpoint/agreement.h"
#include "checkpoint/names.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/error.h"
#include "gda/core/log.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

// The step folders, newest first, as rank 0 sees them.
std::vector<fs::path> list_newest_first(const fs::path& checkpoints, Communicator& group) {
  std::string names;
  together(group, "", [&] {
    if (group.rank() != 0) return;
    const std::vector<StepFolder> listed = list_step_folders(checkpoints);
    for (auto folder = listed.rbegin(); folder != listed.rend(); ++folder) {
      names += folder->path.filename().string() + "\n";
    }
  });
  std::istringstream lines(group.broadcast(names, 0));
  std::vector<fs::path> folders;
  for (std::string name; std::getline(lines, name);) folders.push_back(checkpoints / name);
  return folders;
}

}  // namespace

std::optional<CheckpointReader> newest_whole_checkpoint(const fs::path& checkpoints,
                                                        Communicator* group) {
  const std::unique_ptr<Communicator> alone = group != nullptr ? nullptr : make_self_communicator();
  Communicator& ranks = group != nullptr ? *group : *alone;
  const std::vector<fs::path> folders = list_newest_first(checkpoints, ranks);
  std::string reasons;
  for (const fs::path& folder : folders) {
    std::string reason;
    try {
      CheckpointReader reader(folder, Verification::everything, &ranks);
      if (!reasons.empty()) log::warning("using {} instead", folder.string());
      return reader;
    } catch (const FormatError& error) {
      reason = error.what();
    } catch (const IoError& error) {
      reason = error.what();
    }
    log::warning("a checkpoint is passed over: {}", reason);
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  require<FormatError>(folders.empty(), "no checkpoint in {} is whole: {}", checkpoints.string(),
                       reasons);
  return std::nullopt;
}

CheckpointReader open_checkpoint(const fs::path& path, Communicator* group) {
  const fs::path checkpoints = path / "checkpoints";
  if (fs::exists(path / kManifestFile) || parse_step_folder(path.filename().string())) {
    return CheckpointReader(path, Verification::everything, group);
  }
  std::optional<CheckpointReader> newest =
      newest_whole_checkpoint(fs::is_directory(checkpoints) ? checkpoints : path, group);
  require<FormatError>(newest.has_value(),
                       "{} is neither a checkpoint (no manifest.json) nor a run folder (no "
                       "checkpoints/step-... inside)",
                       path.string());
  return std::move(*newest);
}

}  // namespace gda
