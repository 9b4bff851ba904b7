#include "checkpoint/retention.h"

#include "checkpoint/names.h"
#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"

namespace gda::checkpoint_internal {
namespace fs = std::filesystem;
namespace {

fs::path aside_path(const fs::path& folder) {
  return folder.string() + ".old" + kTemporarySuffix;
}

void remove_folder(const fs::path& folder) {
  std::error_code code;
  fs::remove_all(folder, code);
  if (code) log::warning("cannot remove {}: {}", folder.string(), code.message());
}

bool is_leftover(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (parse_step_folder(name)) return !fs::exists(folder / kManifestFile);
  // "step-00000010.tmp", "step-00000010.old.tmp"
  const std::size_t dot = name.find('.');
  return dot != std::string::npos && name.ends_with(kTemporarySuffix) &&
         parse_step_folder(std::string_view(name).substr(0, dot)).has_value();
}

}  // namespace

void set_aside(const fs::path& folder) {
  const fs::path aside = aside_path(folder);
  remove_folder(aside);
  rename_durably(folder, aside);
}

void remove_leftovers(const fs::path& directory) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool is_half_of_latest =
        name.starts_with(std::string(kLatestFile) + ".") && name.ends_with(kTemporarySuffix);
    const bool is_half_of_folder = entry.is_directory() && is_leftover(entry.path());
    if (is_half_of_latest || is_half_of_folder) leftovers.push_back(entry.path());
  }
  for (const fs::path& folder : leftovers) remove_folder(folder);
}

void apply_retention(const SaveOptions& options, StepName newest) {
  if (options.keep_last <= 0) return;
  const std::vector<StepFolder> folders = list_step_folders(options.directory);
  std::int64_t seen = 0;
  std::int64_t healthy = 0;
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    if (folder->name > newest) continue;
    const bool for_good = options.keep_every > 0 && folder->name.step % options.keep_every == 0;
    const bool is_recent = seen++ < options.keep_last;
    const bool is_healthy = folder->has_manifest && fault_of_state(*folder).empty();
    const bool is_needed = is_healthy && healthy++ < options.keep_last;
    if (is_recent || is_needed || for_good) continue;
    try {
      set_aside(folder->path);
      remove_folder(aside_path(folder->path));
    } catch (const IoError& error) {
      log::warning("the checkpoint {} is not removed: {}", folder->path.string(), error.what());
    }
  }
}

}  // namespace gda::checkpoint_internal
