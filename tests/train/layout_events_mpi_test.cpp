// What may happen to a run, where its ranks have parts of the model.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/train/trainer.h"
#include "support/layout_run.h"
#include "support/mpi.h"
#include "support/shared_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using test::Layout;

class LayoutEventsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::world().is_root()) test::write_tiny_data(root_);
    test::world().barrier();
  }

  // Of the number of ranks.
  static std::vector<Layout> layouts() {
    switch (test::world().size()) {
      case 2:
        return {{.name = "tensor", .tensor = 2},
                {.name = "pipeline", .pipeline = 2},
                {.name = "context", .context = 2},
                {.name = "zero 3", .data = 2, .zero = 3}};
      case 4:
        return {{.name = "pipeline and tensor", .tensor = 2, .pipeline = 2},
                {.name = "context and zero 3", .data = 2, .context = 2, .zero = 3}};
      default:
        return {};
    }
  }

  RunConfig config(const Layout& layout, const std::string& name) const {
    RunConfig run = test::layout_run(layout, root_, root_ / name);
    run.train.steps = 6;
    run.train.skip = {};
    return run;
  }

  const test::SharedFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(LayoutEventsTest, OneRankIsAskedToStop) {
  for (const Layout& layout : layouts()) {
    RunConfig run = config(layout, layout.name);
    test::cut(run, layout);
    const StopRequest stop;
    Trainer trainer(run, test::world());
    trainer.begin();
    if (test::world().rank() == test::world().size() - 1) std::raise(SIGUSR1);
    const RunOutcome outcome = trainer.run(stop);
    EXPECT_EQ(outcome.stopped_by, StopReason::sigusr1) << layout.name;
    EXPECT_EQ(outcome.step, 0) << layout.name;
    const auto reader =
        newest_whole_checkpoint(fs::path(run.run_dir) / "checkpoints", &test::world());
    ASSERT_TRUE(reader.has_value());
    EXPECT_EQ(reader->step(), 0) << layout.name;
  }
}

// Some ranks read the bad tokens of the second half of a source, which a rank alone would notice as
// well; all of them save before they end, and go on once the data is as it was.
TEST_F(LayoutEventsTest, DamagedDataEndsAllSaved) {
  for (const Layout& layout : layouts()) {
    RunConfig run = config(layout, layout.name);
    test::cut(run, layout);
    const fs::path file = root_ / "two.bin";
    const fs::path kept = root_ / "two.kept";
    Trainer trainer(run, test::world());
    trainer.begin();
    test::world().barrier();
    if (test::world().is_root()) {
      fs::copy_file(file, kept, fs::copy_options::overwrite_existing);
      std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
      for (std::uintmax_t at = fs::file_size(file) / 2; at + 2 <= fs::file_size(file); at += 2) {
        stream.seekp(static_cast<std::streamoff>(at));
        stream.write("\x4d", 2);
      }
    }
    test::world().barrier();
    EXPECT_THROW(trainer.run(StopRequest{}), FormatError) << layout.name;
    const auto reader =
        newest_whole_checkpoint(fs::path(run.run_dir) / "checkpoints", &test::world());
    EXPECT_TRUE(reader.has_value()) << layout.name;
    test::world().barrier();
    if (test::world().is_root()) fs::copy_file(kept, file, fs::copy_options::overwrite_existing);
    test::world().barrier();
  }
}

// A folder of a model as others write it: configuration and tensors, no more.
TEST_F(LayoutEventsTest, BeginsFromAModelFolder) {
  for (const Layout& layout : layouts()) {
    RunConfig alone = config(layout, std::string(layout.name) + " alone");
    alone.train.micro_batch_size = layout.data;
    const fs::path model = root_ / (std::string(layout.name) + " model");
    alone.train.init_from = model.string();
    if (test::world().is_root()) {
      RunConfig origin = config(layout, std::string(layout.name) + " origin");
      origin.train.steps = 1;
      const auto self = make_self_communicator();
      Trainer first(origin, *self);
      test::train(first);
      fs::create_directories(model);
      for (const auto& entry :
           fs::directory_iterator(fs::path(origin.run_dir) / "checkpoints" / "step-00000001")) {
        const std::string name = entry.path().filename().string();
        if (name == "config.json" || name.starts_with("model")) {
          fs::copy(entry.path(), model / name);
        }
      }
      Trainer trainer(alone, *self);
      test::train(trainer);
    }
    test::world().barrier();
    RunConfig together = alone;
    together.run_dir = (root_ / layout.name).string();
    together.train.micro_batch_size = 1;
    test::cut(together, layout);
    {
      Trainer trainer(together, test::world());
      test::train(trainer);
    }
    test::world().barrier();
    if (!test::world().is_root()) continue;
    test::expect_same_metrics(together, alone);
    test::expect_same_checkpoint(together, alone);
  }
}

}  // namespace
}  // namespace gda
