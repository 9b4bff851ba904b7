// Layout of checkpoint folders.
//
//   checkpoints/step-00001000/
//     model.safetensors | model-0000i-of-0000N.safetensors + model.safetensors.index.json
//     config.json                            with the above a Hugging Face model folder
//     optimizer-0000r-of-0000W.safetensors   flat pieces "state:parameter:offset" of W ranks, and
//                                            "state:parameter:[0:64,32:64]:offset" of the box of
//                                            these rows and columns, whose elements it counts
//     trainer.json, config.yaml              the trainer's counters, the run's configuration
//     growth.json                            step counts and masks of a grown model, if it has any
//     manifest.json                          written last: every file's size and hash, and whether
//                                            the state is healthy ("unhealthy": the reason)
//   checkpoints/step-00001000-grown/         the second one of a step, after the model grew there
//   checkpoints/latest                       text: the name of the newest one
//
// A folder is written as step-00001000.tmp and renamed when it is whole.
//
// How many files there are: the model's parameters, in forward order, fill one file after another
// up to a size (SaveOptions::max_file_bytes), so these files and their bytes do not depend on the
// ranks or their layout. Their writers are the first rank of each host, then the second of each,
// and so on, around: the load and the memory of an asynchronous save's copy are shared by the
// hosts. Every rank that has any optimizer state that no other speaks for writes one file of it.
// What a rank wrote nobody else reads by its number: any layout reads any other's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "gda/checkpoint/safetensors.h"

namespace gda {

// Identifies a checkpoint of a run; later ones are greater.
struct StepName {
  std::int64_t step = 0;
  bool grown = false;  // the model was made bigger between this one and the other of the step
  // clang-tidy 14 takes the 0 that the compiler compares with for one of ours.
  auto operator<=>(const StepName&) const = default;  // NOLINT(modernize-use-nullptr)
};

// "step-00001000", "step-00001000-grown".
std::string step_folder_name(StepName name);

struct StepFolder {
  StepName name;
  std::filesystem::path path;
  bool has_manifest = false;
};

// The step folders in a folder of checkpoints, oldest first; unfinished ones (.tmp) are not
// listed. Empty if there is no such folder.
std::vector<StepFolder> list_step_folders(const std::filesystem::path& checkpoints);

// Contents of manifest.json.
struct Manifest {
  // 2 if the optimizer's pieces are of boxes, which readers of version 1 do not know, else 1.
  std::int64_t format_version = 1;
  std::int64_t step = 0;
  std::int64_t world_size = 1;  // ranks that wrote it
  std::int64_t parameter_count = 0;
  // Why the run should not go on from here, such as weights that are not finite; empty: healthy,
  // as is a checkpoint from before there was such a mark.
  std::string unhealthy;
  std::vector<WrittenFile> files;  // all but manifest.json, by name

  std::uint64_t total_bytes() const;
};

// Throws FormatError when there is no manifest (the checkpoint was never finished) or it is damaged
// (it carries a hash of itself) or of a later format.
Manifest read_manifest(const std::filesystem::path& folder);

// Replaces manifest.json, synced.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

// Why a checkpoint is unhealthy by its manifest; empty if it is healthy, or has no manifest that
// can be read: it is damaged then, which opening it tells.
std::string fault_of_state(const StepFolder& folder);

// Marks a finished checkpoint as one that a run should not go on from.
void mark_unhealthy(const std::filesystem::path& folder, const std::string& reason);

}  // namespace gda
