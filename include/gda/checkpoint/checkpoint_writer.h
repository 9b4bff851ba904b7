// Saving checkpoints (layout: checkpoint_folder.h), by all ranks together.
//
// Every rank writes its own files into step-NNNNNNNN.tmp and syncs them; the hashes are gathered;
// rank 0 writes the manifest, renames the folder, updates `latest` and removes what retention does
// not keep. If any rank fails (a full disk, say), the temporary folder is removed and every rank
// throws the same IoError, which names the rank and the reason; older checkpoints are untouched.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gda/checkpoint/safetensors.h"
#include "gda/checkpoint/tensor_source.h"
#include "gda/dist/communicator.h"
#include "gda/model/growth_state.h"
#include "gda/model/model_config.h"

namespace gda {

struct SaveOptions {
  std::filesystem::path directory;  // holds the step folders: runs/my-run/checkpoints
  // The newest ones that are kept; 0 keeps all. So many healthy ones are kept, whatever unhealthy
  // ones were saved after them.
  std::int64_t keep_last = 0;
  // Steps that are a multiple of it are kept for good; 0: none.
  std::int64_t keep_every = 0;
  // Model files are cut at this size.
  std::uint64_t max_file_bytes = 4'000'000'000;
  // Rows of parameters that travel to the rank that writes them, at a time.
  std::size_t block_bytes = std::size_t{16} << 20;
  // The number of this rank among those of its host; none: they find out.
  std::optional<int> rank_on_host = std::nullopt;
};

struct CheckpointContents {
  std::int64_t step = 0;
  bool grown = false;  // the model grew since the other checkpoint of this step
  ModelConfig model;
  // All parameters of the model: the same list on every rank, with what each gives of them. Where
  // several ranks give the same box it is taken from one; otherwise boxes do not overlap.
  std::vector<ParameterSource> parameters;
  // The optimizer state that this rank owns. Of all ranks together, each state that a parameter
  // lists is covered once. "master" need not be listed where the parameter itself is f32 or f64.
  std::vector<TensorPiece> pieces;
  std::string trainer_json;  // stored as it is; empty: no file
  std::string run_config;    // YAML, stored as it is; empty: no file
  std::string unhealthy;     // why a run should not go on from this state; empty: it may
  GrowthState growth;        // no file if it is empty
};

struct SavedCheckpoint {
  std::filesystem::path path;
  std::uint64_t bytes = 0;  // of all ranks
};

// Writes a checkpoint and returns when it is on the disk. Throws FormatError that names tensor,
// state, box and ranks where something is given by nobody or twice. What a rank writes of
// parameters that others have, it receives in blocks while it writes. Collective.
SavedCheckpoint save_checkpoint(Communicator& group, const SaveOptions& options,
                                const CheckpointContents& contents);

namespace checkpoint_internal {
struct SavePlan;
}

// Writes checkpoints in the background, one at a time, from a copy in memory of what this rank
// writes: its optimizer pieces and its share of the model files, to which other ranks contribute
// while start() copies. The copy's memory is allocated by the first save and used again. Only the
// calling thread communicates.
class AsyncCheckpointWriter {
 public:
  // `group` must outlive it.
  AsyncCheckpointWriter(Communicator& group, SaveOptions options);
  // Waits for the background thread. A save that was not finished by finish() stays a temporary
  // folder, which the next save removes.
  ~AsyncCheckpointWriter();
  AsyncCheckpointWriter(const AsyncCheckpointWriter&) = delete;
  AsyncCheckpointWriter& operator=(const AsyncCheckpointWriter&) = delete;

  // Copies the contents and starts writing; tensors may change when it returns. Finishes the save
  // before it first, and throws that one's error before anything is copied. Collective.
  void start(const CheckpointContents& contents);
  // Whether a save is under way; the same on every rank.
  bool busy() const { return busy_; }
  // Whether every rank has written its files. One small all-reduce; none when not busy. Collective.
  bool poll();
  // Waits for the files of every rank and makes the checkpoint whole, or throws as save_checkpoint
  // does. Nothing if no save is under way. Collective.
  std::optional<SavedCheckpoint> finish();
  // Memory that the copy holds on this rank.
  std::size_t staging_bytes() const { return staging_bytes_; }

 private:
  void stage();

  Communicator& group_;
  SaveOptions options_;
  bool busy_ = false;
  std::unique_ptr<checkpoint_internal::SavePlan> plan_;
  std::unique_ptr<std::byte[]> staging_;
  std::size_t staging_bytes_ = 0;
  std::thread thread_;
  std::atomic<bool> written_{false};
  // Of the background thread; read after it was joined.
  std::vector<WrittenFile> files_;
  std::exception_ptr error_;
};

}  // namespace gda
