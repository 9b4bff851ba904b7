// The configurations of the largest models train: their files, with toy sizes and as many ranks of
// each axis as make eight together.
#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "gda/train/run.h"
#include "support/metrics.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct LargeConfiguration {
  const char* name;
  const char* file;
  std::vector<std::string> sizes;
  std::vector<std::string> axes;  // the rest of eight ranks is data
};

[[maybe_unused]] std::ostream& operator<<(std::ostream& out,
                                          const LargeConfiguration& configuration) {
  return out << configuration.name;
}

// Head counts stay: they are what tensor-parallel ranks divide. The vocabulary does not divide.
const std::vector<std::string> kToySizes = {
    "model.hidden_size=32",     "model.intermediate_size=48",   "model.vocab_size=31",
    "model.rope.theta=100",     "model.attention.head_dim=4",   "model.max_position_embeddings=32",
    "data.sequence_length=32",  "train.global_batch_size=24",   "train.steps=3",
    "schedule.warmup_steps=1",  "data.validation_fraction=0.1", "logging.every_steps=1",
    "logging.tensorboard=false"};

class LargeConfigurationTest : public ::testing::TestWithParam<LargeConfiguration> {
 protected:
  static constexpr int kRanks = 8;

  void SetUp() override {
    if (test::world().size() != kRanks) GTEST_SKIP() << "takes " << kRanks << " ranks";
    if (test::world().is_root()) test::write_tiny_data(folder_.path());
    test::world().barrier();
  }

  RunConfig toy(const std::vector<std::string>& more, int ranks, const std::string& run) const {
    std::vector<std::string> overrides = kToySizes;
    const std::vector<std::string>& sizes = GetParam().sizes;
    overrides.insert(overrides.end(), sizes.begin(), sizes.end());
    overrides.insert(overrides.end(), more.begin(), more.end());
    RunConfig config =
        load_run_config(fs::path(GDA_CONFIGS_DIR) / GetParam().file, overrides, ranks);
    config.data.tokenizer.clear();
    config.data.sources.at(0).path = (folder_.path() / "one").string();
    config.data.sources.at(1).path = (folder_.path() / "two").string();
    config.device = WantedDevice::cpu;
    config.run_dir = (folder_.path() / run).string();
    return config;
  }

  const test::SharedFolder folder_;
};

// Sums over the 768 tokens of a step are in another order: n u of them in f32. In bf16 a gradient
// has passed through some 64 products, each rounded by 2^-9 of itself to either side: eight times
// that.
double rounding_of(const RunConfig& config) {
  return supported_compute_type(config.precision, {}) == DType::bf16 ? 0x1p-6 : 768 * 0x1p-24;
}

TEST_P(LargeConfigurationTest, TrainsAsToy) {
  const RunConfig alone =
      toy({"parallel.tensor=1", "parallel.pipeline=1", "parallel.virtual_stages=1",
           "parallel.schedule=1f1b", "parallel.zero_stage=1"},
          1, "alone");
  const RunConfig together = toy(GetParam().axes, kRanks, "together");
  if (test::world().is_root()) {
    const auto self = make_self_communicator();
    Trainer trainer(alone, *self);
    test::train(trainer);
  }
  test::world().barrier();
  {
    Trainer trainer(together, test::world());
    test::train(trainer);
  }
  test::world().barrier();
  if (!test::world().is_root()) return;
  const std::vector<Json> found = test::metrics_of(together.run_dir);
  const std::vector<Json> expected = test::metrics_of(alone.run_dir);
  ASSERT_EQ(found.size(), expected.size());
  ASSERT_GE(found.size(), 3U);
  for (std::size_t i = 0; i < found.size(); ++i) {
    test::expect_near(found[i], expected[i], rounding_of(together), "line " + std::to_string(i));
  }
}

INSTANTIATE_TEST_SUITE_P(
    EightRanks, LargeConfigurationTest,
    ::testing::Values(
        // 64 ranks are tensor 2 and data 32.
        LargeConfiguration{.name = "motif_2_12_7b",
                           .file = "motif-2-12.7b.yaml",
                           .sizes = {"model.num_hidden_layers=2",
                                     "train.batch_ramp=[{step: 0, value: 8}, {step: 1, value: 16}, "
                                     "{step: 2, value: 24}]",
                                     "optimizer.qk_clip={threshold: 0.05, every_steps: 2}"},
                           .axes = {}},
        // 512 ranks are pipeline 4, data 16 and tensor 8.
        LargeConfiguration{.name = "llama_3_motif_102b",
                           .file = "llama-3-motif-102b.yaml",
                           .sizes = {"model.num_hidden_layers=6"},
                           .axes = {"parallel.tensor=2", "parallel.pipeline=2"}}),
    [](const ::testing::TestParamInfo<LargeConfiguration>& configuration) {
      return configuration.param.name;
    });

}  // namespace
}  // namespace gda
