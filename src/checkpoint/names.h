// The names of files and folders in a checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/checkpoint/run_folder.h"

namespace gda {

inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kModelIndexFile = "model.safetensors.index.json";
inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kTrainerFile = "trainer.json";
inline constexpr const char* kGrowthFile = "growth.json";
inline constexpr const char* kLatestFile = "latest";
inline constexpr const char* kTemporarySuffix = ".tmp";

// "model.safetensors" for one file, else "model-00001-of-00002.safetensors".
std::string model_file_name(std::size_t index, std::size_t count);
// "optimizer-00001-of-00008.safetensors" of rank 0 of 8.
std::string optimizer_file_name(int rank, int world_size);
bool is_optimizer_file(std::string_view name);

// The step of "step-00001000"; nothing for any other name.
std::optional<StepName> parse_step_folder(std::string_view name);

// Elements [offset, ...) of one state of one parameter, as a tensor's name in an optimizer file:
// "exp_avg:model.norm.weight:4096".
struct PieceName {
  std::string state;
  std::string name;
  std::int64_t offset = 0;

  std::string str() const;
};
std::optional<PieceName> parse_piece_name(std::string_view text);

// A file's name without folders.
bool is_plain_name(std::string_view name);

}  // namespace gda
