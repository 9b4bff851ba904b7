// Runs in f32 along each axis of the mesh, on the device under test and with its communication,
// beside the run of one rank there.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "gda/train/trainer.h"
#include "support/layout_run.h"
#include "support/mpi.h"
#include "support/shared_folder.h"

namespace gda {
namespace {

using enum PipelineSchedule;
using test::Layout;

class DeviceLayoutTest : public ::testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    if (GetParam().ranks() != test::world().size()) GTEST_SKIP() << "of another number of ranks";
    if (test::world().is_root()) test::write_tiny_data(folder_.path());
    test::world().barrier();
  }

  RunConfig config(const std::string& name) const {
    RunConfig run = test::layout_run(GetParam(), folder_.path(), folder_.path() / name);
    const RunConfig tiny = test::tiny_run(folder_.path(), folder_.path() / name);
    run.device = tiny.device;
    run.precision.compute = ComputePrecision::fp32;
    run.train.steps = 4;
    run.train.global_batch_size = 4;
    run.train.skip = {};
    run.eval.every_steps = 0;
    return run;
  }

  // The losses and norms of all steps; a step takes no memory that was not planned for.
  static std::vector<double> run(const RunConfig& config, Communicator& ranks) {
    std::vector<double> told;
    Trainer trainer(config, ranks);
    trainer.begin();
    const std::size_t planned = trainer.scratch().capacity();
    trainer.run(StopRequest());
    if (test::on_cuda()) {
      EXPECT_GT(planned, 0U);
      EXPECT_EQ(trainer.scratch().capacity(), planned);
      EXPECT_LE(trainer.scratch().peak(), planned);
    }
    if (!ranks.is_root()) return told;
    for (const nlohmann::json& line : test::metrics_of(config.run_dir)) {
      if (!line.contains("grad_norm")) continue;
      told.push_back(line.at("loss"));
      told.push_back(line.at("grad_norm"));
    }
    return told;
  }

  const test::SharedFolder folder_;
};

// Gradients are sums of 4 * 24 terms in another order, which differ by up to 96 * 2^-24 < 1e-5 of
// the terms' size. A step moves a parameter by that of its own size more or less, so four steps
// leave losses within 4e-5. A norm, of gradients that go through the layers, within ten times that.
TEST_P(DeviceLayoutTest, IsTheRunOfOneRank) {
  const RunConfig alone = config("alone");
  std::vector<double> expected;
  if (test::world().is_root()) {
    const auto self = make_self_communicator();
    expected = run(alone, *self);
  }
  test::world().barrier();
  RunConfig together = config("together");
  test::cut(together, GetParam());
  const std::vector<double> found = run(together, test::world());
  ASSERT_EQ(found.size(), expected.size());
  if (test::world().is_root()) {
    ASSERT_EQ(found.size(), 8U);
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double bound = (i % 2 == 0 ? 4e-5 : 4e-4) * expected[i];
    EXPECT_NEAR(found[i], expected[i], bound)
        << (i % 2 == 0 ? "loss" : "norm") << " of step " << i / 2 + 1;
  }
}

std::string name_of_device_layout(const ::testing::TestParamInfo<Layout>& layout) {
  return layout.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    TwoRanks, DeviceLayoutTest,
    ::testing::Values(
        Layout{.name = "tensor", .tensor = 2, .activation = "poly_norm", .tied = true},
        Layout{.name = "pipeline", .pipeline = 2, .tied = true, .recompute = Recompute::full},
        Layout{.name = "zero_bubble", .pipeline = 2, .schedule = zero_bubble},
        Layout{.name = "ulysses",
               .context = 2,
               .method = ContextMethod::ulysses,
               .attention = "differential_v2"},
        Layout{.name = "gather", .context = 2, .method = ContextMethod::gather},
        Layout{.name = "zero_2", .data = 2, .zero = 2, .recompute = Recompute::selective},
        Layout{.name = "zero_3", .data = 2, .zero = 3, .tied = true}),
    name_of_device_layout);

INSTANTIATE_TEST_SUITE_P(FourRanks, DeviceLayoutTest,
                         ::testing::Values(Layout{.name = "pipeline_tensor",
                                                  .tensor = 2,
                                                  .pipeline = 2,
                                                  .schedule = interleaved,
                                                  .chunks = 2,
                                                  .tied = true},
                                           Layout{.name = "zero_3_gather",
                                                  .data = 2,
                                                  .context = 2,
                                                  .zero = 3,
                                                  .method = ContextMethod::gather}),
                         name_of_device_layout);

}  // namespace
}  // namespace gda
