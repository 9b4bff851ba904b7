// Runs in every kind of layout, small enough for plain loops: the layout, the model and the run of
// it, and how near they come to the run of one rank.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "gda/train/trainer.h"
#include "support/metrics.h"
#include "support/tiny_run.h"

namespace gda::test {

struct Layout {
  const char* name;
  int data = 1;
  int tensor = 1;
  int pipeline = 1;
  int context = 1;
  int zero = 1;
  PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
  int chunks = 1;
  ContextMethod method = ContextMethod::automatic;
  const char* attention = "grouped_differential";
  const char* activation = "silu";
  bool tied = false;
  bool document_mask = true;
  Recompute recompute = Recompute::none;
  std::string feature = {};  // see add_feature
  std::vector<std::int64_t> stage_layers = {};

  int ranks() const { return data * tensor * pipeline * context; }
};

inline std::ostream& operator<<(std::ostream& out, const Layout& layout) {
  return out << layout.name;
}

// "data2 interleaved4 gather2 zero3 softmax poly_norm tied unmasked full muon": axes with their
// sizes, and words for everything that is not as above.
inline Layout layout_of(const char* text) {
  Layout layout{.name = text};
  std::istringstream words(text);
  const auto pipeline = [&](int ranks, PipelineSchedule schedule, int chunks) {
    layout.pipeline = ranks;
    layout.schedule = schedule;
    layout.chunks = chunks;
  };
  const auto context = [&](int ranks, ContextMethod method) {
    layout.context = ranks;
    layout.method = method;
  };
  for (std::string word; words >> word;) {
    const std::string axis = word.substr(0, word.find_last_not_of("0123456789") + 1);
    const int ranks = axis == word ? 0 : std::stoi(word.substr(axis.size()));
    if (const auto attention = from_word<AttentionType>(word)) {
      layout.attention = word_of(*attention).data();
    } else if (const auto activation = from_word<Activation>(word)) {
      layout.activation = word_of(*activation).data();
    } else if (const auto recompute = from_word<Recompute>(word)) {
      layout.recompute = *recompute;
    } else if (axis == "data") {
      layout.data = ranks;
    } else if (axis == "tensor") {
      layout.tensor = ranks;
    } else if (axis == "pipeline") {
      pipeline(ranks, PipelineSchedule::one_forward_one_backward, 1);
    } else if (axis == "interleaved") {
      pipeline(ranks, PipelineSchedule::interleaved, 2);
    } else if (axis == "zero_bubble") {
      pipeline(ranks, PipelineSchedule::zero_bubble, 1);
    } else if (axis == "ulysses") {
      context(ranks, ContextMethod::ulysses);
    } else if (axis == "gather") {
      context(ranks, ContextMethod::gather);
    } else if (axis == "zero") {
      layout.zero = ranks;
    } else if (word == "tied") {
      layout.tied = true;
    } else if (word == "unmasked") {
      layout.document_mask = false;
    } else if (word == "listed") {
      layout.stage_layers = {1, 2, 1};
    } else {
      layout.feature = word;
    }
  }
  return layout;
}

// Four K/V groups, for up to four tensor-parallel ranks, and a vocabulary that does not divide.
inline ModelConfig layout_model(const Layout& layout) {
  ModelConfig model = tiny_config(layout.attention, layout.activation, layout.tied);
  model.num_hidden_layers = std::max(4, layout.pipeline * layout.chunks);
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

inline void add_feature(RunConfig& config, const std::string& feature) {
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
  } else {
    ASSERT_EQ(feature, "") << "is no feature";
  }
}

inline RunConfig layout_run(const Layout& layout, const std::filesystem::path& data,
                            const std::filesystem::path& folder) {
  RunConfig config = tiny_run(data, folder, layout.attention);
  config.model = layout_model(layout);
  // A multiple of what the layout cuts it into.
  config.data.sequence_length = 2 * layout.context * layout.tensor > 8 ? 32 : 24;
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
  config.eval.steps = 3;  // all samples: the last batch is a short one
  config.logging.every_steps = 1;
  add_feature(config, layout.feature);
  return config;
}

inline void cut(RunConfig& config, const Layout& layout) {
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

inline void expect_same_numbers(const Tensor& found, const Tensor& expected,
                                const std::string& what) {
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

inline void expect_same_metrics(const RunConfig& found, const RunConfig& expected) {
  const std::vector<nlohmann::json> lines = metrics_of(found.run_dir);
  const std::vector<nlohmann::json> one = metrics_of(expected.run_dir);
  ASSERT_EQ(lines.size(), one.size());
  ASSERT_GE(lines.size(), static_cast<std::size_t>(found.train.steps));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    expect_near(lines[i], one[i], kLayoutRounding, "line " + std::to_string(i + 1));
    if (::testing::Test::HasFailure()) return;
  }
}

inline void expect_same_checkpoint(const RunConfig& found, const RunConfig& expected) {
  const auto newest = [](const RunConfig& config) {
    return newest_whole_checkpoint(std::filesystem::path(config.run_dir) / "checkpoints").value();
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

}  // namespace gda::test
