// Plan of a save: the files that a rank writes, and the steps that make them a checkpoint.
#pragma once

#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/row_exchange.h"
#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/checkpoint/checkpoint_writer.h"

namespace gda::checkpoint_internal {

// A file of tensors.
struct TensorFile {
  std::string name;
  std::vector<TensorSource> tensors;
};

// A small file whose content is known.
struct TextFile {
  std::string name;
  std::string text;
};

struct SavePlan {
  StepName name;
  std::int64_t parameter_count = 0;
  std::string unhealthy;
  bool has_boxes = false;                // among the optimizer's pieces
  std::vector<TensorFile> tensor_files;  // of this rank; the optimizer's last
  std::vector<TextFile> text_files;      // of this rank
  // Brings what the model files need of other ranks; null where they need nothing.
  std::shared_ptr<RowExchange> exchange;

  std::size_t tensor_bytes() const;
};

// The plan of this rank of `group`. Throws FormatError for pieces that do not fit the parameters,
// and for elements that no rank has or that two have. Collective.
SavePlan plan_save(Communicator& group, const SaveOptions& options,
                   const CheckpointContents& contents);

// Runs `body`, which produces the tensors of tensor_files in FileOrder, file by file, and carries
// out what it leaves of the messages. Returns why this rank failed; null if it did not. Collective
// where there is an exchange.
std::exception_ptr produce_all(const SavePlan& plan, const std::function<void()>& body);

// Writes and syncs the plan's files into a folder.
std::vector<WrittenFile> write_files(const SavePlan& plan, const std::filesystem::path& folder);

// Removes what earlier saves left unfinished and makes the temporary folder. Collective.
std::filesystem::path begin_save(Communicator& group, const SaveOptions& options, StepName name);

// Makes the temporary folder a checkpoint. `files` are what this rank has written, `error` why it
// could not. Collective.
SavedCheckpoint commit_save(Communicator& group, const SaveOptions& options, const SavePlan& plan,
                            const std::vector<WrittenFile>& files, const std::exception_ptr& error);

// Gives up: removes the temporary folder, if it can. Call on every rank.
void abandon_save(const Communicator& group, const SaveOptions& options, StepName name);

}  // namespace gda::checkpoint_internal
