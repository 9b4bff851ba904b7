// A run that is saved and goes on in another layout behind every step is the run of one rank.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gda/checkpoint/model_folder.h"
#include "gda/train/trainer.h"
#include "support/layout_run.h"
#include "support/mpi.h"
#include "support/shared_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using test::Layout;

// Layouts of four ranks.
std::vector<Layout> five_layouts() {
  return {{.name = "data and tensor", .data = 2, .tensor = 2},
          {.name = "interleaved pipeline and tensor",
           .tensor = 2,
           .pipeline = 2,
           .schedule = PipelineSchedule::interleaved,
           .chunks = 2},
          {.name = "context and ZeRO 3",
           .data = 2,
           .context = 2,
           .zero = 3,
           .method = ContextMethod::gather},
          {.name = "ZeRO 2", .data = 4, .zero = 2},
          {.name = "zero bubble", .pipeline = 4, .schedule = PipelineSchedule::zero_bubble}};
}

// A way over `count` places that takes every step from one to another once (Hierholzer).
std::vector<std::size_t> every_change(std::size_t count) {
  std::vector<std::size_t> next(count, 1);  // each place goes on to place + 1, then place + 2, ...
  std::vector<std::size_t> way;
  std::vector<std::size_t> open = {0};
  while (!open.empty()) {
    const std::size_t place = open.back();
    if (next[place] < count) {
      open.push_back((place + next[place]++) % count);
    } else {
      way.push_back(place);
      open.pop_back();
    }
  }
  return {way.rbegin(), way.rend()};
}

class LayoutChangesTest : public ::testing::TestWithParam<const char*> {
 protected:
  // One rank begins and ends.
  static std::vector<Layout> way() {
    std::vector<Layout> way = {{.name = "one rank"}};
    const std::vector<Layout> layouts = five_layouts();
    for (const std::size_t place : every_change(layouts.size())) way.push_back(layouts[place]);
    way.push_back(way.front());
    return way;
  }

  // With more signal heads from step 6 on, and a mask that rises from step 10 to step 19.
  RunConfig config(const std::string& folder, std::int64_t steps) const {
    RunConfig run = test::layout_run(
        {.name = "", .activation = "poly_norm", .tied = true, .feature = GetParam()},
        folder_.path(), folder_.path() / folder);
    run.train.global_batch_size = 8;
    run.train.micro_batch_size = 4;
    run.train.skip = {};  // what is skipped is not saved
    run.train.steps = run.schedule.steps.emplace(steps);
    run.eval.every_steps = 1;
    run.growth.stages.resize(2);
    run.growth.stages[0].step = 6;
    run.growth.stages[0].plan = GrowthPlan{};
    run.growth.stages[0].plan->steps.push_back({SignalHeads{.factor = 2}});
    run.growth.stages[1].step = 10;
    run.growth.stages[1].plan = GrowthPlan{};
    run.growth.stages[1].plan->steps.push_back({Masked{.hidden_size = 16, .ramp_steps = 9}});
    return run;
  }

  static void go_on(const RunConfig& config, Communicator& ranks, bool resume) {
    Trainer trainer(config, ranks);
    test::train(trainer, resume);
  }
  // By the root.
  static void go_on_alone(const RunConfig& config, bool resume) {
    if (!test::world().is_root()) return;
    const auto self = make_self_communicator();
    go_on(config, *self, resume);
  }

  // What growth began from, and made, in checkpoints of some layout, as any reader of models opens
  // them.
  static void expect_same_models(const RunConfig& found, const RunConfig& expected) {
    for (const char* name : {"step-00000006", "step-00000006-grown", "step-00000010"}) {
      const ModelFolder many(fs::path(found.run_dir) / "checkpoints" / name);
      const ModelFolder one(fs::path(expected.run_dir) / "checkpoints" / name);
      ASSERT_EQ(many.config(), one.config());
      ASSERT_EQ(many.parameter_count(), one.parameter_count());
      for (const ParameterSpec& spec : parameter_specs(one.config())) {
        const OwnedTensor a(DType::f64, spec.shape);
        const OwnedTensor b(DType::f64, spec.shape);
        many.read_parameter(spec.name, a.tensor);
        one.read_parameter(spec.name, b.tensor);
        test::expect_same_numbers(a.tensor, b.tensor, spec.name + " in " + name);
      }
    }
  }

  const test::SharedFolder folder_;
};

TEST_P(LayoutChangesTest, AreTheRunOfOneRank) {
  if (test::world().size() != 4) GTEST_SKIP() << "of another number of ranks";
  if (test::world().is_root()) test::write_tiny_data(folder_.path());
  const std::vector<Layout> layouts = way();
  const auto steps = static_cast<std::int64_t>(layouts.size());
  const RunConfig alone = config("alone", steps);
  go_on_alone(alone, false);
  test::world().barrier();
  RunConfig changing = config("changing", steps);
  for (std::int64_t step = 0; step < steps; ++step) {
    const Layout& layout = layouts[static_cast<std::size_t>(step)];
    SCOPED_TRACE(layout.name);
    test::cut(changing, layout);
    changing.train.micro_batch_size = 4 / layout.data;
    changing.train.steps = step + 1;
    if (layout.ranks() == 1) {
      go_on_alone(changing, step > 0);
    } else {
      go_on(changing, test::world(), true);
    }
    test::world().barrier();
  }
  if (!test::world().is_root()) return;
  test::expect_same_metrics(changing, alone);
  test::expect_same_checkpoint(changing, alone);
  expect_same_models(changing, alone);
}

INSTANTIATE_TEST_SUITE_P(Rules, LayoutChangesTest, ::testing::Values("", "muon"),
                         [](const auto& feature) {
                           return std::string(*feature.param == 0 ? "adamw" : feature.param);
                         });

}  // namespace
}  // namespace gda
