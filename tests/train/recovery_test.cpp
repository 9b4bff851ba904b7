// What a run leaves behind when it diverges or meets bad data, and how it goes on from there.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/error.h"
#include "gda/data/token_writer.h"
#include "support/hidden_damage.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

class RecoveryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::write_tiny_data(folder_.path());
    config_ = test::tiny_run(folder_.path(), folder_ / "run");
    config_.checkpoint.every_steps = 1;
    config_.train.steps = 6;
    config_.schedule.steps = 100;  // also of the runs that go on
  }

  // A learning rate at which the first update breaks the model.
  static void break_model(RunConfig& config) {
    config.optimizer.lr = 1e30;
    config.optimizer.weight_decay = 0;
    config.schedule.warmup_steps = 0;
    config.train.steps = 60;
    config.train.skip.max_consecutive_skips = 4;
  }

  static std::int64_t go(const RunConfig& config, std::optional<ResumePoint> point) {
    const auto world = make_self_communicator();
    Trainer trainer(config, *world);
    const StopRequest stop;
    point ? trainer.resume(*point) : trainer.begin();
    return trainer.run(stop).first_step;
  }

  template <class E>
  static std::string error_of(const RunConfig& config, const std::optional<ResumePoint>& point) {
    try {
      go(config, point);
    } catch (const E& error) {
      return error.what();
    }
    ADD_FAILURE() << "no error of the expected kind";
    return {};
  }

  fs::path checkpoints() const { return fs::path(config_.run_dir) / "checkpoints"; }
  std::string fault_of(std::int64_t step) const {
    return read_manifest(checkpoints() / step_folder_name({step})).unhealthy;
  }
  bool has(std::int64_t step) const { return fs::exists(checkpoints() / step_folder_name({step})); }

  const test::TemporaryFolder folder_;
  RunConfig config_;
};

class DivergenceTest : public RecoveryTest,
                       public ::testing::WithParamInterface<std::pair<int, int>> {};

// However often it is saved and however few are kept.
TEST_P(DivergenceTest, LeavesACheckpointFromBefore) {
  go(config_, std::nullopt);
  RunConfig wild = config_;
  break_model(wild);
  wild.checkpoint.every_steps = GetParam().first;
  wild.checkpoint.keep_last = GetParam().second;
  const std::string error = error_of<Error>(wild, ResumePoint{});
  EXPECT_NE(error.find("4 updates in a row were skipped"), std::string::npos) << error;
  EXPECT_NE(error.find("gda resume " + config_.run_dir + " --step "), std::string::npos) << error;
  EXPECT_NE(error.find("--skip-steps "), std::string::npos) << error;
  for (const StepFolder& folder : list_step_folders(checkpoints())) {
    EXPECT_LE(folder.name.step, 7) << "saved while updates were skipped";
  }
  config_.train.steps = 12;
  EXPECT_EQ(go(config_, ResumePoint{}), 6);
}

INSTANTIATE_TEST_SUITE_P(Savings, DivergenceTest,
                         ::testing::Values(std::pair(1, 1), std::pair(1, 2), std::pair(2, 1),
                                           std::pair(3, 3), std::pair(0, 1)));

TEST_F(RecoveryTest, AnEndWhileUpdatesAreSkippedIsSavedAsUnhealthy) {
  go(config_, std::nullopt);
  RunConfig wild = config_;
  break_model(wild);
  wild.train.steps = 9;  // the first update breaks the model, two are skipped
  go(wild, ResumePoint{});
  EXPECT_NE(fault_of(9).find("2 updates in a row were skipped"), std::string::npos) << fault_of(9);
  EXPECT_EQ(fault_of(6), "");
  config_.train.steps = 12;
  EXPECT_EQ(go(config_, ResumePoint{}), 6);
}

TEST_F(RecoveryTest, WeightsThatAreNotFiniteAreUnhealthy) {
  go(config_, std::nullopt);
  RunConfig wild = config_;
  break_model(wild);
  wild.optimizer.lr = std::numeric_limits<double>::infinity();
  wild.train.steps = 7;
  go(wild, ResumePoint{});
  EXPECT_NE(fault_of(7), "");
  config_.train.steps = 12;
  EXPECT_EQ(go(config_, ResumePoint{}), 6);
}

TEST_F(RecoveryTest, GoesOnFromTheStepThatWasAskedFor) {
  config_.checkpoint.keep_last = 10;
  go(config_, std::nullopt);
  RunConfig other = config_;
  other.train.steps = 5;
  EXPECT_EQ(go(other, ResumePoint{.step = 4}), 4);
  // 5 is new, 6 is of the way that was left.
  EXPECT_EQ(fault_of(5), "");
  EXPECT_EQ(fault_of(6), "the run went on from step 4 instead");
  EXPECT_EQ(go(config_, ResumePoint{}), 5);
  EXPECT_EQ(fault_of(6), "");
  const std::string error = error_of<ConfigError>(config_, ResumePoint{.step = 9});
  EXPECT_NE(error.find("no checkpoint of step 9; the steps that are there: 1, 2, 3, 4, 5, 6"),
            std::string::npos)
      << error;
}

TEST_F(RecoveryTest, LeavesSamplesOut) {
  go(config_, std::nullopt);
  config_.train.steps = 8;
  const auto world = make_self_communicator();
  Trainer trainer(config_, *world);
  const StopRequest stop;
  trainer.resume({.step = 6, .skip_steps = 3});
  trainer.run(stop);
  EXPECT_EQ(trainer.state().samples, (8 + 3) * config_.train.global_batch_size);
}

// Ids beyond the vocabulary where nobody looked before: what was trained until then is saved.
TEST_F(RecoveryTest, BadDataIsMetSaved) {
  {
    TokenDatasetWriter writer((folder_ / "bad").string(), 19);
    for (int document = 0; document < 200; ++document) {
      writer.append(std::vector<std::int32_t>(20, document % 19));
      writer.end_document();
    }
    writer.finish();
    const auto bin = folder_ / "bad.bin";
    std::string bytes = read_text_file(bin);
    bytes[bytes.size() / 2] = 77;
    write_text_file_atomically(bin, bytes);
    test::hide_damage((folder_ / "bad").string());
  }
  config_.data.sources = {{.name = "bad", .path = (folder_ / "bad").string(), .weight = {}}};
  config_.data.validation_fraction = 0;
  config_.train.steps = 100;  // 250 windows, 12 a step
  config_.checkpoint.every_steps = 0;
  const std::string error = error_of<FormatError>(config_, std::nullopt);
  EXPECT_NE(error.find("token id 77"), std::string::npos) << error;
  EXPECT_NE(error.find("--skip-steps 1"), std::string::npos) << error;
  const auto reader = newest_whole_checkpoint(checkpoints());
  ASSERT_TRUE(reader.has_value());
  EXPECT_NE(error.find("Step " + std::to_string(reader->step()) + " is saved"), std::string::npos)
      << error;
  config_.train.steps = reader->step() + 2;
  EXPECT_EQ(go(config_, ResumePoint{.step = {}, .skip_steps = 1}), reader->step());
}

TEST_F(RecoveryTest, EachSaveHasItsLine) {
  config_.checkpoint.keep_last = 10;
  ::testing::internal::CaptureStderr();
  go(config_, std::nullopt);
  const std::string text = ::testing::internal::GetCapturedStderr();
  for (std::int64_t step = 1; step <= 6; ++step) {
    const std::string line = "saved " + (checkpoints() / step_folder_name({step})).string();
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
}

}  // namespace
}  // namespace gda
