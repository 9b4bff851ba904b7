// Reading checkpoints (layout: checkpoint_folder.h), written at any world size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/checkpoint/model_folder.h"
#include "gda/dist/communicator.h"
#include "gda/model/growth_state.h"
#include "gda/model/parameters.h"
#include "gda/model/region.h"

namespace gda {

// When the hashes of the manifest are compared with the files.
enum class Verification {
  everything,    // on opening, all files
  on_first_use,  // model and optimizer files when something is first read from them
  model,         // on opening, all but the optimizer's files, which are not looked at: no state
};

// A checkpoint that is whole by its manifest. Of each parameter that has a state, the pieces of
// that state hold every element once, which is checked on opening. Throws FormatError or IoError
// naming the checkpoint, the file and the fault. One thread at a time.
class CheckpointReader {
 public:
  // With a group, its ranks share the hashing, and what one finds wrong every one throws: then
  // opening is collective. Reading never is.
  explicit CheckpointReader(const std::filesystem::path& path,
                            Verification verification = Verification::everything,
                            Communicator* group = nullptr);
  // A Hugging Face model folder as a checkpoint of step 0, without hashes, states and a run.
  static CheckpointReader of_model_folder(const std::filesystem::path& path);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&& other) noexcept;
  CheckpointReader& operator=(CheckpointReader&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  const Manifest& manifest() const { return manifest_; }
  std::int64_t step() const { return manifest_.step; }
  const ModelConfig& config() const { return model_->config(); }
  // The model's files; reading from them here does not verify.
  const ModelFolder& model() const { return *model_; }
  // As given to the writer; empty if there is none.
  const std::string& trainer_json() const { return trainer_json_; }
  const std::string& run_config() const { return run_config_; }
  // Empty if nothing has grown; checked against the model.
  const GrowthState& growth() const { return growth_; }
  // Throws ConfigError that says how to finish it if a growth mask is rising at the checkpoint's
  // step, for what cannot go on with one. `action` completes "... takes a finished model".
  void check_fully_grown(std::string_view action) const;
  // The optimizer states that are there: "exp_avg", ...
  std::vector<std::string> states() const;
  bool has_state(std::string_view state) const;
  // Whether there is any of this state of a parameter. Frozen parameters have no moments.
  bool has_state(std::string_view state, std::string_view name) const;

  // Throws FormatError that lists the first differences unless the names and shapes of the
  // checkpoint's parameters are exactly these.
  void check_matches(const std::vector<ParameterSpec>& specs) const;

  // As ModelFolder's, verified.
  void read_parameter(std::string_view name, const Tensor& to) const;
  void read_range(std::string_view name, std::int64_t offset, const Tensor& to) const;
  void read_range(std::string_view name, const Region& region, std::int64_t offset,
                  const Tensor& to) const;

  // Elements [offset, offset + to.elements()), row-major in the box `region`, of a state of a
  // parameter, put together from whatever pieces of whatever boxes hold them and converted to the
  // type of `to` (dense). "master" of a parameter that has no such pieces is the parameter itself
  // where that is f32 or f64. Throws FormatError naming the parameter where there is none, or the
  // range where it lies outside.
  void read_piece(std::string_view state, std::string_view name, const Region& region,
                  std::int64_t offset, const Tensor& to) const;
  // Of the whole parameter.
  void read_piece(std::string_view state, std::string_view name, std::int64_t offset,
                  const Tensor& to) const;

  // Bytes of parameters and states that were read so far, hashing aside.
  std::uint64_t bytes_read() const { return model_->bytes_read() + piece_bytes_read_; }

  // Compares all files that were not compared yet with their hashes.
  void verify_all() const;

 private:
  struct Piece {
    Region box;
    std::int64_t offset = 0;  // in the box
    std::size_t file = 0;     // index into optimizer_files_
    const StoredTensor* tensor = nullptr;
  };
  using PieceKey = std::pair<std::string, std::string>;  // state, parameter

  CheckpointReader() = default;
  void check_files(Verification verification, Communicator& group);
  void open_optimizer_files();
  void add_piece(const StoredTensor& tensor, std::size_t file);
  void check_coverage() const;
  std::string file_name(std::size_t file) const;
  void verify(const std::filesystem::path& file) const;
  std::string read_text(std::string_view name) const;

  std::filesystem::path path_;
  Manifest manifest_;
  std::unique_ptr<ModelFolder> model_;
  std::vector<SafetensorsFile> optimizer_files_;
  std::map<PieceKey, std::vector<Piece>> pieces_;
  std::string trainer_json_;
  std::string run_config_;
  GrowthState growth_;
  mutable std::map<std::string, bool, std::less<>> verified_;  // by file name
  mutable std::uint64_t piece_bytes_read_ = 0;
};

// The newest whole and healthy checkpoint in a folder of checkpoints, verified; the newest whole
// one if none is healthy. One that is unhealthy, damaged or was not finished is passed over with a
// warning that names it and the fault. Nothing when there is no checkpoint at all; FormatError when
// there are some and none is whole. Collective with a group.
std::optional<CheckpointReader> newest_whole_checkpoint(
    const std::filesystem::path& checkpoints, Communicator* group = nullptr,
    Verification verification = Verification::everything);

// The checkpoint of a step, healthy or not, verified; after growth if there are two of the step.
// ConfigError that lists the steps that are there if that one is not. Collective with a group.
CheckpointReader checkpoint_of_step(const std::filesystem::path& checkpoints, std::int64_t step,
                                    Communicator* group = nullptr);

// For commands that are given a path: a checkpoint folder itself, else the newest whole one of a
// folder of checkpoints or of a run folder. Throws FormatError when it is none of these.
CheckpointReader open_checkpoint(const std::filesystem::path& path, Communicator* group = nullptr,
                                 Verification verification = Verification::everything);

// The same; also a Hugging Face model folder.
CheckpointReader open_checkpoint_or_model(const std::filesystem::path& path,
                                          Communicator* group = nullptr);

}  // namespace gda
