// Layouts of the ranks of a test run.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sharded_model.h"
#include "support/mpi.h"

namespace gda::test {

// The groups of one layout on all ranks of this run; tensor innermost.
struct Layout {
  Layout(int tensor_size, int context_size)
      : tensor(world().split(world().rank() / tensor_size, "tensor")),
        context(world().split(world().rank() % tensor_size, "context")) {
    EXPECT_EQ(tensor->size(), tensor_size);
    EXPECT_EQ(context->size(), context_size);
  }
  std::string str() const {
    return "tensor " + std::to_string(tensor->size()) + " context " +
           std::to_string(context->size());
  }
  StageGroups groups(ContextMethod method) const {
    return {.tensor = tensor.get(), .context = context.get(), .method = method};
  }
  std::unique_ptr<Communicator> tensor, context;
};

// Those that use every rank of this run: {tensor, context}.
inline std::vector<std::pair<int, int>> layouts() {
  std::vector<std::pair<int, int>> result;
  for (int tensor = 1; tensor <= world().size(); ++tensor) {
    if (world().size() % tensor == 0) {
      result.emplace_back(tensor, world().size() / tensor);
    }
  }
  return result;
}

inline bool is_possible(const ShardedCase& which, int context_size) {
  return which.method == ContextMethod::automatic || context_size > 1;
}

}  // namespace gda::test
