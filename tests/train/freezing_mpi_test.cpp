// A run that trains a part of its model, on several ranks.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "gda/train/trainer.h"
#include "support/mpi.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

bool is_upper(const std::string& name) {
  return name.starts_with("model.layers.1.");
}

class FreezingRanksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::world().rank() == 0) test::write_tiny_data(root_ / "data");
    test::world().barrier();
  }

  RunConfig config(const std::string& name, bool frozen, std::int64_t steps) const {
    RunConfig config = test::tiny_run(root_ / "data", root_ / name);
    if (frozen) config.train.trainable = {.word = "", .list = {"model.layers.1.*"}};
    config.schedule.steps = config.train.steps;  // also of shorter runs, and of those that go on
    config.train.steps = steps;
    return config;
  }

  // A copy of a run folder for this rank alone.
  void copy(const std::string& from, const std::string& to) const {
    fs::create_directories(root_ / to);
    fs::copy(root_ / from, root_ / to, fs::copy_options::recursive);
  }
  std::string mine(const std::string& name) const {
    return name + "-" + std::to_string(test::world().rank());
  }

  static std::unique_ptr<Trainer> run(Communicator& group, const RunConfig& config, bool resume) {
    auto trainer = std::make_unique<Trainer>(config, group);
    if (resume) {
      trainer->resume();
    } else {
      trainer->begin();
    }
    trainer->run(StopRequest());
    return trainer;
  }

  const test::SharedFolder folder_;
  const fs::path root_ = folder_.path();
};

// Frozen parameters are those of one rank, to the bit; the loss is within what the order of sums
// makes of it (trainer_mpi_test.cpp).
TEST_F(FreezingRanksTest, OneRankOrMany) {
  const auto self = make_self_communicator();
  const auto alone = run(*self, config(mine("alone"), true, 20), false);
  const auto together = run(test::world(), config("together", true, 20), false);
  EXPECT_NEAR(together->last_step().loss, alone->last_step().loss, 2e-4 * alone->last_step().loss);
  EXPECT_NEAR(together->last_step().gradient_norm, alone->last_step().gradient_norm,
              2e-3 * alone->last_step().gradient_norm);
  for (const Parameter& parameter : together->parameters().all()) {
    const std::string& name = parameter.spec.name;
    const Tensor& other = alone->parameters().at(name).value;
    if (is_upper(name)) continue;
    EXPECT_EQ(std::memcmp(parameter.value.raw(), other.raw(), other.bytes()), 0) << name;
  }
}

// Frozen by all ranks, unfrozen by one and by all: the same counts of updates, and the first loss
// within rounding.
TEST_F(FreezingRanksTest, UnfreezesAtAnotherWorldSize) {
  run(test::world(), config("run", true, 6), false);
  test::world().barrier();
  copy("run", mine("copy"));
  test::world().barrier();
  const auto self = make_self_communicator();
  const auto alone = run(*self, config(mine("copy"), false, 7), true);
  const auto together = run(test::world(), config("run", false, 7), true);
  EXPECT_EQ(alone->growth(), together->growth());
  EXPECT_EQ(together->growth().origins.size(), 17U);
  EXPECT_NEAR(together->last_step().loss, alone->last_step().loss, 1e-6 * alone->last_step().loss);
}

}  // namespace
}  // namespace gda
