// Whole runs in every kind of layout beside the run of one rank: losses and everything else that
// the metrics tell, parameters and optimizer states.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "gda/train/trainer.h"
#include "support/metrics.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using enum PipelineSchedule;

struct Layout {
  const char* name;
  int data = 1;
  int tensor = 1;
  int pipeline = 1;
  int context = 1;
  int zero = 1;
  PipelineSchedule schedule = one_forward_one_backward;
  int chunks = 1;
  ContextMethod method = ContextMethod::automatic;
  const char* attention = "grouped_differential";
  const char* activation = "silu";
  bool tied = false;
  bool document_mask = true;
  Recompute recompute = Recompute::none;
  const char* feature = "";  // see add_feature
  std::vector<std::int64_t> stage_layers = {};

  int ranks() const { return data * tensor * pipeline * context; }
};

[[maybe_unused]] std::ostream& operator<<(std::ostream& out, const Layout& layout) {
  return out << layout.name;
}

// Four K/V groups, for up to four tensor-parallel ranks, and a vocabulary that does not divide.
ModelConfig layout_model(const Layout& layout) {
  ModelConfig model = test::tiny_config(layout.attention, layout.activation, layout.tied);
  model.num_hidden_layers = 4;
  model.max_position_embeddings = 64;
  model.initializer_range = 0.05;
  model.intermediate_size = 24;
  AttentionConfig& attention = model.attention;
  attention.num_key_value_heads = attention.is_differential() ? 8 : 4;
  if (attention.is_differential()) {
    attention.noise_heads = 4;
    attention.signal_heads = attention.type == AttentionType::differential ? 4 : 8;
  }
  return model;
}

void add_feature(RunConfig& config, const std::string& feature) {
  const auto grow = [&](const GrowthStep& step) {
    config.growth.stages.resize(1);
    config.growth.stages[0].step = 5;
    config.growth.stages[0].plan = GrowthPlan{};
    config.growth.stages[0].plan->steps.push_back(step);
  };
  if (feature == "frozen") {
    config.train.trainable.word.clear();
    config.train.trainable.list = {"model.layers.2.*", "model.layers.3.mlp*", "model.norm.weight"};
  } else if (feature == "ramp") {
    grow({Masked{.hidden_size = 16, .ramp_steps = 10}});
  } else if (feature == "ramp_units") {
    grow({Masked{.intermediate_size = 32, .ramp_steps = 10}});
  } else if (feature == "ramp_heads") {
    grow({Masked{.heads = config.model.attention.is_differential() ? 16 : 8, .ramp_steps = 10}});
  } else if (feature == "growth") {
    grow({Depth{.every = 1}});
  } else if (feature == "muon") {
    config.optimizer.name = OptimizerName::muon;
    config.optimizer.qk_clip = QkClipConfig{.threshold = 0.05, .every_steps = 2};
  }
}

RunConfig layout_run(const Layout& layout, const fs::path& data, const fs::path& folder) {
  RunConfig config = test::tiny_run(data, folder, layout.attention);
  config.model = layout_model(layout);
  config.data.sequence_length = 24;
  config.data.document_mask = layout.document_mask;
  config.precision.compute = ComputePrecision::fp64;
  config.device = WantedDevice::cpu;
  config.optimizer.lr = 2e-3;
  config.optimizer.weight_decay = 0.5;
  // Where a gradient is nearly 0, rounding would decide the direction of Adam's step.
  config.optimizer.eps = 1e-4;
  config.optimizer.grad_clip = 0.8;
  config.train.steps = 20;
  config.train.recompute = layout.recompute;
  config.train.skip.spike_sigmas = 2.5;
  config.train.skip.window = 4;
  config.train.skip.max_consecutive_skips = 100;
  config.checkpoint.keep_last = 100;
  config.eval.every_steps = 8;
  config.eval.steps = 1;
  config.logging.every_steps = 1;
  add_feature(config, layout.feature);
  return config;
}

void cut(RunConfig& config, const Layout& layout) {
  config.parallel.tensor = layout.tensor;
  config.parallel.pipeline = layout.pipeline;
  config.parallel.context = layout.context;
  config.parallel.zero_stage = layout.zero;
  config.parallel.schedule = layout.schedule;
  config.parallel.virtual_stages = layout.chunks;
  config.parallel.context_method = layout.method;
  config.parallel.stage_layers = layout.stage_layers;
}

// Losses and gradients are sums of 12 * 24 terms in another order: they differ by up to n u = 3e-14
// of the terms' sizes. With eps = 1e-4 and gradients of 1e-3 an update of at most lr = 2e-3 differs
// by 1e-12 of itself, twenty by less than 20 * 2e-3 * 1e-12 / 0.05 of parameters of size 0.05.
constexpr double kLayoutRounding = 1e-11;

void expect_same_numbers(const Tensor& found, const Tensor& expected, const std::string& what) {
  double largest = 0;
  for (std::int64_t i = 0; i < expected.elements(); ++i) {
    largest = std::max(largest, std::abs(expected.data<double>()[i]));
  }
  double difference = 0;
  for (std::int64_t i = 0; i < expected.elements(); ++i) {
    difference =
        std::max(difference, std::abs(found.data<double>()[i] - expected.data<double>()[i]));
  }
  EXPECT_LE(difference, kLayoutRounding * largest) << what;
}

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

  static void expect_same_metrics(const RunConfig& found, const RunConfig& expected) {
    const std::vector<Json> lines = test::metrics_of(found.run_dir);
    const std::vector<Json> one = test::metrics_of(expected.run_dir);
    ASSERT_EQ(lines.size(), one.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      test::expect_near(lines[i], one[i], kLayoutRounding, "line " + std::to_string(i + 1));
      if (::testing::Test::HasFailure()) return;
    }
  }

  static void expect_same_checkpoint(const RunConfig& found, const RunConfig& expected) {
    const auto newest = [](const RunConfig& config) {
      return newest_whole_checkpoint(fs::path(config.run_dir) / "checkpoints").value();
    };
    const CheckpointReader many = newest(found);
    const CheckpointReader one = newest(expected);
    ASSERT_EQ(many.config(), one.config());
    EXPECT_EQ(many.growth(), one.growth());
    for (const ParameterSpec& spec : parameter_specs(one.config())) {
      const OwnedTensor a(DType::f64, spec.shape);
      const OwnedTensor b(DType::f64, spec.shape);
      many.read_parameter(spec.name, a.tensor);
      one.read_parameter(spec.name, b.tensor);
      expect_same_numbers(a.tensor, b.tensor, spec.name);
      for (const std::string& state : one.states()) {
        ASSERT_EQ(many.has_state(state, spec.name), one.has_state(state, spec.name)) << spec.name;
        if (!one.has_state(state, spec.name)) continue;
        const Tensor flat_a = a.tensor.reshape({spec.shape.elements()});
        const Tensor flat_b = b.tensor.reshape({spec.shape.elements()});
        many.read_piece(state, spec.name, Region::whole(spec.shape), 0, flat_a);
        one.read_piece(state, spec.name, Region::whole(spec.shape), 0, flat_b);
        expect_same_numbers(flat_a, flat_b, state + " of " + spec.name);
      }
    }
  }

  const test::SharedFolder folder_;
};

TEST_P(LayoutTest, IsTheRunOfOneRank) {
  const Layout& layout = GetParam();
  RunConfig alone = layout_run(layout, folder_.path(), folder_.path() / "alone");
  // Has the rows of all data-parallel ranks: growth reports the loss of the first.
  alone.train.micro_batch_size = layout.data;
  train_alone(alone);
  RunConfig together = alone;
  together.train.micro_batch_size = 1;
  together.run_dir = (folder_.path() / "together").string();
  cut(together, layout);
  train_together(together);
  if (!test::world().is_root()) return;
  expect_same_metrics(together, alone);
  expect_same_checkpoint(together, alone);
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
