// A run is the same whenever the background sends gradients and fetches parameters: each wait that
// is missing, and each operation that begins too early, changes numbers here.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "gda/core/file.h"
#include "gda/train/trainer.h"
#include "support/mpi.h"
#include "support/ordered_communicator.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using test::OperationOrder;

class OrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = test::world().broadcast("gda-order-" + std::to_string(::getpid()), 0);
    root_ = fs::path(::testing::TempDir()) / name;
    if (test::world().rank() == 0) test::write_tiny_data(root_ / "data");
    test::world().barrier();
  }
  void TearDown() override {
    test::world().barrier();
    if (test::world().rank() == 0) fs::remove_all(root_);
    test::world().barrier();
  }

  // A head of its own, several micro-batches, evaluations, and a growth in the middle.
  RunConfig config(const std::string& name) const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / name);
    config.model.tie_word_embeddings = false;
    config.train.steps = 6;
    config.eval.every_steps = 2;
    config.checkpoint.every_steps = 1;
    config.checkpoint.keep_last = 100;
    config.growth.stages.resize(1);
    config.growth.stages[0].step = 4;
    GrowthPlan plan;
    plan.steps.push_back({SignalHeads{.factor = 2}});
    config.growth.stages[0].plan = plan;
    return config;
  }

  // What the checkpoints of a run hold, by the files' paths in it.
  std::map<std::string, std::string> run(Communicator& group, const std::string& name) const {
    {
      Trainer trainer(config(name), group);
      test::train(trainer, false);
    }
    test::world().barrier();
    std::map<std::string, std::string> files;
    const fs::path folder = root_ / name / "checkpoints";
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
      const fs::path& path = entry.path();
      if (path.extension() != ".safetensors" && path.filename() != "trainer.json") continue;
      files[fs::relative(path, folder).string()] = read_text_file(path);
    }
    return files;
  }

  fs::path root_;
};

TEST_F(OrderTest, OperationsMayRunAtOnceOrWhenTheyAreWaitedFor) {
  const auto expected = run(test::world(), "plain");
  for (const OperationOrder order : {OperationOrder::at_once, OperationOrder::when_waited_for}) {
    const bool at_once = order == OperationOrder::at_once;
    test::OrderedCommunicator group(test::world(), order);
    const auto files = run(group, at_once ? "at-once" : "waited-for");
    ASSERT_EQ(files.size(), expected.size());
    for (const auto& [path, bytes] : expected) {
      const auto found = files.find(path);
      ASSERT_NE(found, files.end()) << path;
      EXPECT_TRUE(found->second == bytes) << path << (at_once ? " at once" : " when waited for");
    }
  }
}

}  // namespace
}  // namespace gda
