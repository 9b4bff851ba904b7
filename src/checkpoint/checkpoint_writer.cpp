#include "gda/checkpoint/checkpoint_writer.h"

#include "checkpoint/save_plan.h"

namespace gda {

namespace internal = checkpoint_internal;

SavedCheckpoint save_checkpoint(Communicator& group, const SaveOptions& options,
                                const CheckpointContents& contents) {
  const internal::SavePlan plan = internal::plan_save(group, options, contents);
  const std::filesystem::path folder = internal::begin_save(group, options, plan.name);
  std::vector<WrittenFile> files;
  const std::exception_ptr error =
      internal::produce_all(plan, [&] { files = internal::write_files(plan, folder); });
  return internal::commit_save(group, options, plan, files, error);
}

}  // namespace gda
