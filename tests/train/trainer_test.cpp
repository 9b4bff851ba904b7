#include "gda/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "gda/core/error.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override { test::write_tiny_data(root_ / "data"); }

  RunConfig config(const std::string& name) const {
    return test::tiny_run(root_ / "data", root_ / name);
  }

  // A run's end: values, m and v as they lie in memory, and the last step's loss.
  struct End {
    std::vector<std::byte> bytes;
    double loss = 0;
    double gradient_norm = 0;
  };
  static End end_of(const Trainer& trainer) {
    End end;
    const auto append = [&](const Tensor& tensor) {
      const std::vector<std::byte> bytes = test::bytes_of(tensor);
      end.bytes.insert(end.bytes.end(), bytes.begin(), bytes.end());
    };
    for (const Bucket& bucket : trainer.parameters().buckets()) append(bucket.values);
    for (const OptimizerPiece& piece : trainer.optimizer().pieces()) {
      for (const OptimizerState& state : piece.states) append(state.tensor);
    }
    end.loss = trainer.last_step().loss;
    end.gradient_norm = trainer.last_step().gradient_norm;
    return end;
  }

  static End run(const RunConfig& config, bool resume = false) {
    const auto world = make_self_communicator();
    Trainer trainer(config, *world);
    test::train(trainer, resume);
    return end_of(trainer);
  }

  const test::TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(TrainerTest, LearnsAndIsReproducible) {
  const End first = run(config("a"));
  const End second = run(config("b"));
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.bytes, second.bytes);
  EXPECT_LT(first.loss, 0.9 * std::log(19.0));  // the uniform guess
  EXPECT_TRUE(fs::exists(root_ / "a" / "metrics.jsonl"));
  EXPECT_TRUE(fs::exists(root_ / "a" / "checkpoints" / "latest"));
}

// Interrupted at step 8 and resumed, in every precision: the same bits as without interruption.
TEST_F(TrainerTest, ResumingChangesNothing) {
  for (const char* compute : {"fp32", "fp64"}) {
    RunConfig whole = config(std::string("whole-") + compute);
    whole.precision.compute = from_word<ComputePrecision>(compute).value();
    whole.train.steps = 14;
    const End expected = run(whole);

    RunConfig half = whole;
    half.run_dir = (root_ / (std::string("half-") + compute)).string();
    half.checkpoint.every_steps = 8;
    // The schedule belongs to 14 steps; the interruption is a checkpoint taken on the way.
    run(half);
    fs::remove_all(fs::path(half.run_dir) / "checkpoints" / "step-00000014");
    const End resumed = run(half, true);
    EXPECT_EQ(resumed.loss, expected.loss) << compute;
    EXPECT_EQ(resumed.bytes, expected.bytes) << compute;
  }
}

// Four micro-batches of one against one of four: sums in another order, so equal but for rounding.
// Each gradient element is a sum of n = 12 * 16 terms; f64 arithmetic leaves n * 2^-53 relative,
// and 20 steps of Adam amplify it by no more than a few powers of ten.
TEST_F(TrainerTest, AccumulationEqualsABigBatch) {
  RunConfig big = config("big");
  big.precision.compute = ComputePrecision::fp64;
  big.train.micro_batch_size = 12;
  RunConfig small = config("small");
  small.precision.compute = ComputePrecision::fp64;
  small.train.micro_batch_size = 3;
  EXPECT_NEAR(run(big).loss, run(small).loss, 1e-9);
}

TEST_F(TrainerTest, RecomputationIsBitEqual) {
  const End none = run(config("none"));
  for (const char* policy : {"selective", "full"}) {
    RunConfig again = config(policy);
    again.train.recompute = from_word<Recompute>(policy).value();
    EXPECT_EQ(run(again).bytes, none.bytes) << policy;
  }
}

TEST_F(TrainerTest, AsynchronousCheckpointsAreTheSame) {
  RunConfig async = config("async");
  async.checkpoint.every_steps = 5;
  async.checkpoint.keep_last = 10;
  RunConfig sync = async;
  sync.run_dir = (root_ / "sync").string();
  sync.checkpoint.async = false;
  EXPECT_EQ(run(async).bytes, run(sync).bytes);
  const auto manifest = [](const RunConfig& config, std::int64_t step) {
    return CheckpointReader(fs::path(config.run_dir) / "checkpoints" / step_folder_name({step}))
        .manifest();
  };
  for (const std::int64_t step : {5, 10, 15, 20}) {
    const Manifest a = manifest(async, step);
    const Manifest b = manifest(sync, step);
    for (std::size_t i = 0; i < a.files.size(); ++i) {
      if (a.files[i].name == "config.yaml") continue;  // names the run folder
      EXPECT_EQ(a.files[i].hash, b.files[i].hash) << step << " " << a.files[i].name;
    }
  }
}

TEST_F(TrainerTest, BatchRampTakesEverySampleOnce) {
  RunConfig ramp = config("ramp");
  ramp.train.steps = 9;
  ramp.train.batch_ramp = {
      {.step = 0, .value = 3}, {.step = 4, .value = 6}, {.step = 7, .value = 12}};
  const auto world = make_self_communicator();
  Trainer trainer(ramp, *world);
  test::train(trainer);
  EXPECT_EQ(trainer.state().samples, 4 * 3 + 3 * 6 + 2 * 12);
}

// A learning rate that blows the model up: updates are skipped, counted, and the run ends with the
// reason, its last checkpoint whole.
TEST_F(TrainerTest, EndsWhenTheLossIsNotFinite) {
  RunConfig wild = config("wild");
  wild.optimizer.lr = 1e30;
  wild.optimizer.grad_clip = 0;
  wild.schedule.warmup_steps = 0;
  wild.checkpoint.every_steps = 1;
  wild.train.skip.max_consecutive_skips = 3;
  try {
    run(wild);
    FAIL() << "expected Error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("3 updates in a row were skipped"), std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(newest_whole_checkpoint(fs::path(wild.run_dir) / "checkpoints").has_value());
}

TEST_F(TrainerTest, RefusesToBeginOverAnotherRun) {
  run(config("a"));
  try {
    run(config("a"));
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("already holds the checkpoints of a run: resume it with "
                        "`gda resume"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(TrainerTest, RefusesACheckpointOfAnotherModel) {
  run(config("a"));
  RunConfig other = config("a");
  other.model.intermediate_size = 24;
  EXPECT_THROW(run(other, true), ConfigError);
}

TEST_F(TrainerTest, BeginsFromAModelFolder) {
  const End first = run(config("a"));
  RunConfig next = config("b");
  next.train.init_from = (root_ / "a" / "checkpoints" / "step-00000020").string();
  next.train.steps = 1;
  next.optimizer.lr = 0;
  const auto world = make_self_communicator();
  Trainer trainer(next, *world);
  test::train(trainer);
  std::vector<std::byte> values;
  for (const Bucket& bucket : trainer.parameters().buckets()) {
    const std::vector<std::byte> bytes = test::bytes_of(bucket.values);
    values.insert(values.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(std::memcmp(values.data(), first.bytes.data(), values.size()), 0);
}

TEST_F(TrainerTest, FallsBackFromADamagedCheckpoint) {
  RunConfig damaged = config("a");
  damaged.checkpoint.every_steps = 10;
  const End expected = run(damaged);
  const fs::path newest = root_ / "a" / "checkpoints" / "step-00000020" / "model.safetensors";
  {
    std::fstream file(newest, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('\x7f');
  }
  const End resumed = run(damaged, true);  // from step 10
  EXPECT_EQ(resumed.bytes, expected.bytes);
}

}  // namespace
}  // namespace gda
