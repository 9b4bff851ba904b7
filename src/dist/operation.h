// What messages say of an operation between processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gda {

struct OperationInfo {
  std::string what;  // "all_reduce f32[1024]"
  std::size_t bytes = 0;
  std::int64_t step = -1;   // negative: before the first step
  std::int64_t number = 0;  // of all operations of the group; the same on all ranks
};

// "all_reduce f32[1024] (4096 bytes, operation 7, step 3)".
std::string describe(const OperationInfo& info);

}  // namespace gda
