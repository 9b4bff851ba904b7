#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <sstream>

#include "checkpoint/names.h"
#include "checkpoint/retention.h"
#include "checkpoint/save_plan.h"
#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/dist/agreement.h"

namespace gda::checkpoint_internal {
namespace fs = std::filesystem;
namespace {

fs::path final_path(const SaveOptions& options, StepName name) {
  return options.directory / step_folder_name(name);
}

fs::path temporary_path(const SaveOptions& options, StepName name) {
  return options.directory / (step_folder_name(name) + kTemporarySuffix);
}

std::string failure_context(const SaveOptions& options, StepName name) {
  return fmt::format("cannot save checkpoint {}", final_path(options, name).string());
}

// One line a file, to travel between ranks.
std::string to_lines(const std::vector<WrittenFile>& files) {
  std::string lines;
  for (const WrittenFile& file : files) {
    lines += fmt::format("{} {} {}\n", file.name, file.size, file.hash);
  }
  return lines;
}

std::vector<WrittenFile> from_lines(const std::vector<std::string>& texts) {
  std::vector<WrittenFile> files;
  for (const std::string& text : texts) {
    std::istringstream lines(text);
    WrittenFile file;
    while (lines >> file.name >> file.size >> file.hash) files.push_back(file);
  }
  std::sort(files.begin(), files.end(),
            [](const WrittenFile& a, const WrittenFile& b) { return a.name < b.name; });
  return files;
}

// From a temporary folder with all files to a checkpoint; by rank 0.
void publish(const SaveOptions& options, StepName name, const Manifest& manifest) {
  const fs::path temporary = temporary_path(options, name);
  const fs::path path = final_path(options, name);
  write_manifest(temporary, manifest);
  // A folder of this step may be there: a damaged one that was passed over. A folder can't replace
  // one that is not empty.
  if (fs::exists(path)) set_aside(path);
  rename_durably(temporary, path);
  write_text_file_atomically(options.directory / kLatestFile, path.filename().string() + "\n");
  remove_leftovers(options.directory);
  apply_retention(options, name);
}

}  // namespace

fs::path begin_save(Communicator& group, const SaveOptions& options, StepName name) {
  fs::path temporary = temporary_path(options, name);
  together(group, failure_context(options, name), [&] {
    if (!group.is_root()) return;
    make_directories(options.directory);
    remove_leftovers(options.directory);
    make_directories(temporary);
  });
  return temporary;
}

SavedCheckpoint commit_save(Communicator& group, const SaveOptions& options, const SavePlan& plan,
                            const std::vector<WrittenFile>& files,
                            const std::exception_ptr& error) {
  const std::string context = failure_context(options, plan.name);
  try {
    together(group, context, [&] {
      if (error) std::rethrow_exception(error);
    });
    Manifest manifest;
    manifest.format_version = plan.has_boxes ? 2 : 1;
    manifest.step = plan.name.step;
    manifest.world_size = group.size();
    manifest.parameter_count = plan.parameter_count;
    manifest.unhealthy = plan.unhealthy;
    manifest.files = from_lines(gather_texts(group, to_lines(files)));
    together(group, context, [&] {
      if (group.is_root()) publish(options, plan.name, manifest);
    });
    return {final_path(options, plan.name), manifest.total_bytes()};
  } catch (const Error&) {
    abandon_save(group, options, plan.name);
    throw;
  }
}

void abandon_save(const Communicator& group, const SaveOptions& options, StepName name) {
  std::error_code ignored;
  if (group.is_root()) fs::remove_all(temporary_path(options, name), ignored);
}

}  // namespace gda::checkpoint_internal
