// Descriptions of operations between processes, for errors and the log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "gda/core/tensor.h"
#include "gda/dist/communicator.h"

namespace gda {

struct OperationInfo {
  enum class Kind {
    collective,  // numbered over the group: the same on all ranks
    message,     // numbered over those of this rank in the group
  };

  std::string what;  // "all_reduce fp32[1024]"
  std::size_t bytes = 0;
  std::int64_t step = -1;  // negative: before the first step
  std::int64_t number = 0;
  std::string group = {};  // its name; empty for the group of all processes
  Kind kind = Kind::collective;
};

// "all_reduce fp32[1024] (4096 bytes, operation 7 of the tensor group, step 3)".
std::string describe(const OperationInfo& info);

// "send fp32[8] to rank 1, receive fp32[4] from rank 3", as far as there is somebody. The ranks are
// those of the group.
std::string describe_message(const Communicator& group, const Tensor& send, int to,
                             const Tensor& receive, int from);

// The bytes that one rank has to do with in it.
std::size_t message_bytes(const Tensor& send, int to, const Tensor& receive, int from);

}  // namespace gda
