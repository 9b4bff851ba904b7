// Whole runs in every kind of layout beside the run of one rank: losses and everything else that
// the metrics tell, parameters and optimizer states.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "gda/train/trainer.h"
#include "support/layout_run.h"
#include "support/shared_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using enum PipelineSchedule;
using test::Layout;

class LayoutTest : public ::testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    if (GetParam().ranks() != test::world().size()) GTEST_SKIP() << "of another number of ranks";
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
  const Layout& layout = GetParam();
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

std::string name_of_layout(const ::testing::TestParamInfo<Layout>& layout) {
  return layout.param.name;
}

constexpr auto kFull = Recompute::full;
constexpr auto kSelective = Recompute::selective;
constexpr auto kUlysses = ContextMethod::ulysses;
constexpr auto kGather = ContextMethod::gather;

INSTANTIATE_TEST_SUITE_P(
    TwoRanks, LayoutTest,
    ::testing::Values(
        Layout{.name = "tensor", .tensor = 2, .attention = "softmax"},
        Layout{.name = "tensor_tied_poly",
               .tensor = 2,
               .activation = "poly_norm",
               .tied = true,
               .recompute = kFull},
        Layout{.name = "tensor_v2_muon",
               .tensor = 2,
               .attention = "differential_v2",
               .recompute = kSelective,
               .feature = "muon"},
        Layout{
            .name = "tensor_ramp", .tensor = 2, .activation = "poly_norm", .feature = "ramp_units"},
        Layout{.name = "pipeline_tied", .pipeline = 2, .tied = true},
        Layout{.name = "pipeline_interleaved",
               .pipeline = 2,
               .schedule = interleaved,
               .chunks = 2,
               .attention = "softmax",
               .activation = "poly_norm",
               .document_mask = false},
        Layout{.name = "pipeline_zero_bubble_frozen",
               .pipeline = 2,
               .schedule = zero_bubble,
               .attention = "differential",
               .recompute = kSelective,
               .feature = "frozen"},
        Layout{.name = "pipeline_growth",
               .pipeline = 2,
               .tied = true,
               .feature = "growth",
               .stage_layers = {}},
        Layout{.name = "ulysses", .context = 2, .method = kUlysses, .activation = "poly_norm"},
        Layout{.name = "ulysses_v2",
               .context = 2,
               .method = kUlysses,
               .attention = "differential_v2",
               .tied = true,
               .recompute = kFull,
               .feature = "muon"},
        Layout{.name = "gather",
               .context = 2,
               .method = kGather,
               .attention = "softmax",
               .document_mask = false},
        Layout{.name = "gather_ramp",
               .context = 2,
               .method = kGather,
               .recompute = kSelective,
               .feature = "ramp_heads"},
        Layout{.name = "zero_2",
               .data = 2,
               .zero = 2,
               .attention = "differential",
               .recompute = kSelective},
        Layout{.name = "zero_3_tied_frozen",
               .data = 2,
               .zero = 3,
               .attention = "differential_v2",
               .tied = true,
               .feature = "frozen"},
        Layout{.name = "zero_3_muon",
               .data = 2,
               .zero = 3,
               .activation = "poly_norm",
               .recompute = kFull,
               .feature = "muon"},
        Layout{.name = "zero_3_growth",
               .data = 2,
               .zero = 3,
               .attention = "softmax",
               .feature = "growth"}),
    name_of_layout);

INSTANTIATE_TEST_SUITE_P(
    ThreeRanks, LayoutTest,
    ::testing::Values(
        Layout{.name = "pipeline_uneven", .pipeline = 3, .tied = true, .recompute = kSelective},
        Layout{.name = "pipeline_listed",
               .pipeline = 3,
               .schedule = zero_bubble,
               .activation = "poly_norm",
               .stage_layers = {1, 2, 1}},
        Layout{.name = "gather_of_three", .context = 3, .attention = "differential", .tied = true},
        Layout{.name = "zero_3_of_three",
               .data = 3,
               .zero = 3,
               .recompute = kSelective,
               .feature = "ramp"}),
    name_of_layout);

INSTANTIATE_TEST_SUITE_P(
    FourRanks, LayoutTest,
    ::testing::Values(
        Layout{.name = "tensor_of_four", .tensor = 4, .activation = "poly_norm", .tied = true},
        Layout{.name = "data_tensor", .data = 2, .tensor = 2, .feature = "muon"},
        Layout{.name = "zero_3_tensor",
               .data = 2,
               .tensor = 2,
               .zero = 3,
               .attention = "differential_v2",
               .tied = true},
        Layout{.name = "zero_2_pipeline",
               .data = 2,
               .pipeline = 2,
               .zero = 2,
               .activation = "poly_norm",
               .tied = true},
        Layout{.name = "zero_3_zero_bubble",
               .data = 2,
               .pipeline = 2,
               .zero = 3,
               .schedule = zero_bubble,
               .attention = "softmax"},
        Layout{.name = "pipeline_tensor",
               .tensor = 2,
               .pipeline = 2,
               .schedule = interleaved,
               .chunks = 2,
               .tied = true,
               .feature = "frozen"},
        Layout{.name = "pipeline_of_four",
               .pipeline = 4,
               .attention = "differential",
               .tied = true,
               .feature = "muon"},
        Layout{.name = "ulysses_tensor",
               .tensor = 2,
               .context = 2,
               .activation = "poly_norm",
               .feature = "ramp_heads"},
        Layout{.name = "gather_of_four",
               .context = 4,
               .method = kGather,
               .attention = "differential_v2"},
        Layout{.name = "zero_3_context",
               .data = 2,
               .context = 2,
               .zero = 3,
               .method = kGather,
               .tied = true,
               .recompute = kFull},
        Layout{.name = "pipeline_context",
               .pipeline = 2,
               .context = 2,
               .attention = "softmax",
               .activation = "poly_norm",
               .feature = "growth"}),
    name_of_layout);

INSTANTIATE_TEST_SUITE_P(EightRanks, LayoutTest,
                         ::testing::Values(Layout{.name = "all_but_context",
                                                  .data = 2,
                                                  .tensor = 2,
                                                  .pipeline = 2,
                                                  .zero = 2,
                                                  .schedule = zero_bubble,
                                                  .tied = true,
                                                  .feature = "muon"},
                                           Layout{.name = "all_but_data",
                                                  .tensor = 2,
                                                  .pipeline = 2,
                                                  .context = 2,
                                                  .method = kGather,
                                                  .activation = "poly_norm"},
                                           Layout{.name = "all_but_pipeline",
                                                  .data = 2,
                                                  .tensor = 2,
                                                  .context = 2,
                                                  .zero = 3,
                                                  .attention = "differential_v2",
                                                  .feature = "frozen"}),
                         name_of_layout);

}  // namespace
}  // namespace gda
