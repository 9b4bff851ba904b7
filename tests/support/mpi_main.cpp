#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "gda/core/log.h"
#include "support/mpi.h"

namespace gda::test {
namespace {

Communicator* group = nullptr;

// Lets only rank 0 tell how the tests go; the others tell of failures.
class FailuresOnly final : public ::testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", world().rank(),
                 result.file_name() == nullptr ? "unknown file" : result.file_name(),
                 result.line_number(), result.message());
  }
};

int run_tests() {
  const MpiSession session;
  // Long enough for ranks that take turns on few cores, short enough for a test run.
  const auto communicator = session.world(std::chrono::seconds(60));
  group = communicator.get();
  log::set_rank(group->rank(), group->size());
  // Ranks of a test share a GPU, which NCCL allows those of different hosts.
  ::setenv("NCCL_HOSTID", std::to_string(group->rank()).c_str(), 0);
  if (group->rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  const int failed = RUN_ALL_TESTS();
  return group->any(failed != 0) ? 1 : 0;
}

}  // namespace

Communicator& world() {
  return *group;
}

}  // namespace gda::test

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  try {
    return gda::test::run_tests();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    gda::MpiSession::abort(1);
  }
}
