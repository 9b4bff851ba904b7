// The names of files and folders in a checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/model/region.h"

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
// "optimizer-00001-of-00008.safetensors" for the first of 8.
std::string optimizer_file_name(std::size_t index, std::size_t count);
bool is_optimizer_file(std::string_view name);

// The step of "step-00001000"; nothing for any other name.
std::optional<StepName> parse_step_folder(std::string_view name);

// Elements [offset, ...) of one state of one parameter, as a tensor's name in an optimizer file:
// "exp_avg:model.norm.weight:4096". Of a box of rows 0-63 and columns 32-63, counted in the box:
// "exp_avg:model.layers.0.mlp.down_proj.weight:[0:64,32:64]:1024".
struct PieceName {
  std::string state;
  std::string name;
  std::optional<Region> box;  // none: the whole tensor
  std::int64_t offset = 0;

  std::string str() const;
};
// Nothing if it is not such a name; a box in it is not empty.
std::optional<PieceName> parse_piece_name(std::string_view text);

// A file's name without folders.
bool is_plain_name(std::string_view name);

}  // namespace gda
