// Whole runs in every kind of layout beside the run of one rank: losses and everything else that
// the metrics tell, parameters and optimizer states.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "gda/train/trainer.h"
#include "support/layout_run.h"
#include "support/shared_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using test::Layout;

class LayoutTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (test::layout_of(GetParam()).ranks() != test::world().size())
      GTEST_SKIP() << "of another number of ranks";
    if (test::world().is_root()) test::write_tiny_data(folder_.path());
    test::world().barrier();
  }

  // By the root alone.
  void train_alone(const RunConfig& config, bool resume = false) {
    if (test::world().is_root()) {
      const auto self = make_self_communicator();
      Trainer trainer(config, *self);
      test::train(trainer, resume);
    }
    test::world().barrier();
  }
  static void train_together(const RunConfig& config, bool resume = false) {
    {
      Trainer trainer(config, test::world());
      test::train(trainer, resume);
    }
    test::world().barrier();
  }

  const test::SharedFolder folder_;
};

TEST_P(LayoutTest, IsTheRunOfOneRank) {
  const Layout layout = test::layout_of(GetParam());
  RunConfig alone = test::layout_run(layout, folder_.path(), folder_.path() / "alone");
  // Has the rows of all data-parallel ranks: growth reports the loss of the first.
  alone.train.micro_batch_size = layout.data;
  train_alone(alone);
  RunConfig together = alone;
  together.train.micro_batch_size = 1;
  together.run_dir = (folder_.path() / "together").string();
  test::cut(together, layout);
  train_together(together);
  if (!test::world().is_root()) return;
  test::expect_same_metrics(together, alone);
  test::expect_same_checkpoint(together, alone);
}

std::string name_of_layout(const ::testing::TestParamInfo<const char*>& layout) {
  std::string name = layout.param;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

// Every pair of one thing and another that up to eight ranks can have: axes and their sizes,
// schedules, methods, ZeRO stages, types of attention, activations, tied or not, documents,
// recomputation, and what happens to the run.
INSTANTIATE_TEST_SUITE_P(
    TwoRanks, LayoutTest,
    ::testing::Values("ulysses2 differential poly_norm unmasked selective muon",
                      "data2 zero3 differential_v2 poly_norm tied unmasked selective",
                      "interleaved2 differential poly_norm tied frozen",
                      "pipeline2 grouped_differential poly_norm tied unmasked selective ramp_units",
                      "interleaved2 differential unmasked muon",
                      "zero_bubble2 differential_v2 tied unmasked frozen"),
    name_of_layout);

INSTANTIATE_TEST_SUITE_P(ThreeRanks, LayoutTest,
                         ::testing::Values("pipeline3 grouped_differential tied selective",
                                           "zero_bubble3 grouped_differential poly_norm listed",
                                           "gather3 differential tied",
                                           "data3 zero3 grouped_differential selective ramp"),
                         name_of_layout);

INSTANTIATE_TEST_SUITE_P(
    FourRanks, LayoutTest,
    ::testing::Values("data2 interleaved2 zero3 softmax tied ramp_heads",
                      "tensor2 gather2 zero2 grouped_differential full growth",
                      "interleaved4 grouped_differential tied selective frozen",
                      "pipeline2 ulysses2 grouped_differential poly_norm tied selective",
                      "pipeline4 differential poly_norm tied unmasked growth",
                      "interleaved4 differential unmasked growth",
                      "pipeline4 softmax poly_norm tied unmasked muon",
                      "tensor4 differential tied unmasked selective ramp",
                      "pipeline4 softmax tied selective frozen",
                      "interleaved4 differential_v2 unmasked selective ramp_units",
                      "gather4 differential_v2",
                      // A rank's first chunk trains nothing, its second one does.
                      "data2 interleaved2 grouped_differential frozen"),
    name_of_layout);

INSTANTIATE_TEST_SUITE_P(
    SixRanks, LayoutTest,
    ::testing::Values("data3 zero_bubble2 zero3 differential_v2 tied unmasked selective growth",
                      "data3 ulysses2 zero2 softmax frozen",
                      "data3 pipeline2 zero3 grouped_differential poly_norm unmasked full muon",
                      "data3 interleaved2 differential poly_norm full",
                      "data3 tensor2 zero2 softmax poly_norm selective ramp_heads",
                      "data3 gather2 zero2 differential_v2 tied muon"),
    name_of_layout);

INSTANTIATE_TEST_SUITE_P(
    EightRanks, LayoutTest,
    ::testing::Values(
        "data2 tensor2 pipeline2 zero2 differential_v2 poly_norm tied unmasked full frozen",
        "tensor4 zero_bubble2 grouped_differential poly_norm tied",
        "interleaved4 gather2 zero3 softmax poly_norm unmasked full",
        "tensor2 pipeline4 differential_v2 poly_norm selective ramp",
        "tensor2 pipeline2 gather2 differential tied muon",
        "data2 interleaved2 ulysses2 grouped_differential poly_norm unmasked growth",
        "data2 tensor4 zero2 differential tied unmasked selective muon",
        "tensor2 zero_bubble2 ulysses2 zero3 differential poly_norm unmasked full ramp_units",
        "pipeline4 ulysses2 zero3 differential_v2 tied",
        "tensor2 interleaved2 gather2 zero2 differential_v2 poly_norm selective",
        "tensor4 pipeline2 softmax poly_norm unmasked full growth",
        "tensor4 gather2 zero3 differential_v2 poly_norm unmasked frozen",
        "data2 zero_bubble2 gather2 zero2 softmax tied unmasked selective muon",
        "pipeline4 gather2 zero2 grouped_differential unmasked full ramp_heads",
        "interleaved4 ulysses2 zero2 differential_v2 poly_norm tied muon",
        "data2 pipeline4 differential_v2 poly_norm unmasked ramp",
        "tensor2 interleaved4 differential poly_norm tied selective growth",
        "tensor4 interleaved2 differential_v2 tied selective"),
    name_of_layout);

}  // namespace
}  // namespace gda
