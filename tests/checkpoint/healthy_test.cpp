// Which checkpoint a run goes on from, and which are kept, when some are unhealthy.
#include <filesystem>

#include "checkpoint/names.h"
#include "checkpoint/sample.h"
#include "checkpoint/scratch.h"
#include "gda/core/file.h"

namespace gda::test {
namespace {
namespace fs = std::filesystem;

class HealthTest : public ::testing::Test {
 protected:
  void save(std::int64_t step, const std::string& unhealthy = {}, bool grown = false) {
    Sample sample(step, DType::f32, 0, 1);
    sample.contents().unhealthy = unhealthy;
    sample.contents().grown = grown;
    save_checkpoint(*alone_, options_, sample.contents());
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> steps;
    for (const StepFolder& folder : list_step_folders(options_.directory)) {
      steps.push_back(folder.name.step);
    }
    return steps;
  }
  fs::path path(std::int64_t step) const { return options_.directory / step_folder_name({step}); }

  const Scratch scratch_;
  const std::unique_ptr<Communicator> alone_ = make_self_communicator();
  SaveOptions options_{.directory = scratch_ / "checkpoints"};
};

using Steps = std::vector<std::int64_t>;

TEST_F(HealthTest, IsInTheManifest) {
  save(1);
  save(2, "its weights are not finite");
  EXPECT_EQ(read_manifest(path(1)).unhealthy, "");
  EXPECT_EQ(read_manifest(path(2)).unhealthy, "its weights are not finite");
  // As checkpoints from before the mark are.
  EXPECT_EQ(read_text_file(path(1) / "manifest.json").find("healthy"), std::string::npos);
  mark_unhealthy(path(1), "so");
  EXPECT_EQ(CheckpointReader(path(1)).manifest().unhealthy, "so");
}

TEST_F(HealthTest, TheNewestHealthyOneIsTaken) {
  save(1);
  save(2);
  save(3, "bad");
  save(4, "bad");
  EXPECT_EQ(newest_whole_checkpoint(options_.directory)->step(), 2);
  EXPECT_EQ(open_checkpoint(options_.directory).step(), 2);
  fs::remove(path(2) / "model.safetensors");
  EXPECT_EQ(newest_whole_checkpoint(options_.directory)->step(), 1);
  fs::remove(path(1) / "manifest.json");
  EXPECT_EQ(newest_whole_checkpoint(options_.directory)->step(), 4) << "better than none";
}

TEST_F(HealthTest, UnhealthyOnesEvictNoHealthyOne) {
  options_.keep_last = 2;
  save(1);
  save(2);
  save(3);
  EXPECT_EQ(steps(), (Steps{2, 3}));
  for (const std::int64_t step : {4, 5, 6, 7}) save(step, "bad");
  EXPECT_EQ(steps(), (Steps{2, 3, 6, 7}));
  save(8);
  EXPECT_EQ(steps(), (Steps{3, 7, 8}));
  save(9);
  EXPECT_EQ(steps(), (Steps{8, 9}));
}

TEST_F(HealthTest, KeepingOneKeepsTheHealthyOne) {
  options_.keep_last = 1;
  save(1);
  save(2, "bad");
  save(3, "bad");
  EXPECT_EQ(steps(), (Steps{1, 3}));
  EXPECT_EQ(newest_whole_checkpoint(options_.directory)->step(), 1);
  // Marked later, when nothing is left to go back to: it stays.
  save(4);
  EXPECT_EQ(steps(), (Steps{4}));
  mark_unhealthy(path(4), "bad");
  EXPECT_EQ(newest_whole_checkpoint(options_.directory)->step(), 4);
}

TEST_F(HealthTest, AStepThatWasAskedForIsTaken) {
  save(1);
  save(2, "bad");
  save(3);
  save(3, "", /*grown=*/true);
  EXPECT_EQ(checkpoint_of_step(options_.directory, 1).step(), 1);
  EXPECT_EQ(checkpoint_of_step(options_.directory, 2).step(), 2);
  EXPECT_EQ(checkpoint_of_step(options_.directory, 3).path().filename(), "step-00000003-grown");
  EXPECT_EQ(message_of<ConfigError>([&] { checkpoint_of_step(options_.directory, 5); }),
            options_.directory.string() +
                " holds no checkpoint of step 5; the steps that are there: 1, 2 (bad), 3, 3");
  EXPECT_EQ(message_of<ConfigError>([&] { checkpoint_of_step(scratch_ / "none", 5); }),
            (scratch_ / "none").string() + " holds no checkpoint of step 5; there is none at all");
}

}  // namespace
}  // namespace gda::test
