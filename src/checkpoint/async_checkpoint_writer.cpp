#include <cstring>
#include <system_error>
#include <utility>

#include "checkpoint/save_plan.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/core/error.h"
#include "gda/core/text.h"
#include "gda/dist/agreement.h"

namespace gda {

namespace internal = checkpoint_internal;

AsyncCheckpointWriter::AsyncCheckpointWriter(Communicator& group, SaveOptions options)
    : group_(group), options_(std::move(options)) {}

AsyncCheckpointWriter::~AsyncCheckpointWriter() {
  if (thread_.joinable()) thread_.join();
}

void AsyncCheckpointWriter::start(const CheckpointContents& contents) {
  finish();
  plan_ = std::make_unique<internal::SavePlan>(internal::plan_save(group_, options_, contents));
  const std::filesystem::path folder = internal::begin_save(group_, options_, plan_->name);
  try {
    const std::exception_ptr error = internal::produce_all(*plan_, [&] { stage(); });
    plan_->exchange.reset();  // the background thread does not communicate
    together(group_, "cannot copy the state for a checkpoint", [&] {
      if (error) std::rethrow_exception(error);
    });
  } catch (const Error&) {
    internal::abandon_save(group_, options_, plan_->name);
    throw;
  }
  files_.clear();
  error_ = nullptr;
  written_ = false;
  busy_ = true;
  const auto write = [this, folder] {
    try {
      files_ = internal::write_files(*plan_, folder);
    } catch (...) {
      error_ = std::current_exception();
    }
    written_ = true;
  };
  try {
    thread_ = std::thread(write);
  } catch (const std::system_error&) {
    write();  // no thread to be had: the save takes place all the same
  }
}

// Copies the plan's tensors and makes the copies their sources.
void AsyncCheckpointWriter::stage() {
  const std::size_t needed = plan_->tensor_bytes();
  if (needed > staging_bytes_) {
    staging_.reset();
    staging_bytes_ = 0;
    staging_ = std::make_unique_for_overwrite<std::byte[]>(needed);
    staging_bytes_ = needed;
  }
  std::byte* next = staging_.get();
  for (internal::TensorFile& file : plan_->tensor_files) {
    for (TensorSource& tensor : file.tensors) {
      const std::span<const std::byte> copy(next, tensor.bytes());
      std::byte* const end = next + tensor.bytes();
      tensor.produce([&](std::span<const std::byte> bytes) {
        require<FormatError>(bytes.size() <= static_cast<std::size_t>(end - next),
                             "the source of tensor {} gave more than the {} it declared",
                             tensor.name, counted(tensor.bytes(), "byte"));
        std::memcpy(next, bytes.data(), bytes.size());
        next += bytes.size();
      });
      require<FormatError>(
          next == end, "the source of tensor {} gave {}, it declared {}", tensor.name,
          counted(copy.size() - static_cast<std::size_t>(end - next), "byte"), copy.size());
      tensor.produce = [copy](const ByteSink& sink) { sink(copy); };
    }
  }
}

bool AsyncCheckpointWriter::poll() {
  if (!busy_) return true;
  return group_.all_reduce(std::int64_t{written_.load()}, Reduction::min) == 1;
}

std::optional<SavedCheckpoint> AsyncCheckpointWriter::finish() {
  if (!busy_) return std::nullopt;
  busy_ = false;
  if (thread_.joinable()) thread_.join();
  return internal::commit_save(group_, options_, *plan_, files_, error_);
}

}  // namespace gda
