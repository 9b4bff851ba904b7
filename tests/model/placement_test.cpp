#include "gda/model/placement.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "gda/core/error.h"
#include "gda/model/parameters.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

// Seven layers, so that three stages differ in size.
ModelConfig config_of(const std::string& attention, bool tied) {
  ModelConfig config = test::tiny_config(attention, "poly_norm", tied);
  config.num_hidden_layers = 7;
  config.vocab_size = 20;
  return config;
}

constexpr const char* kTypes[] = {"softmax", "differential", "grouped_differential",
                                  "differential_v2"};

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(Stages, LaterOnesHaveALayerMoreButTheLast) {
  const std::vector<Stage> stages = cut_into_stages(config_of("softmax", false), 3);
  ASSERT_EQ(stages.size(), 3U);
  EXPECT_EQ(stages[0], (Stage{.layers = {0, 2}, .has_embedding = true, .has_head = false}));
  EXPECT_EQ(stages[1], (Stage{.layers = {2, 5}, .has_embedding = false, .has_head = false}));
  EXPECT_EQ(stages[2], (Stage{.layers = {5, 7}, .has_embedding = false, .has_head = true}));
}

TEST(Stages, EveryCountCoversTheLayersInOrder) {
  const ModelConfig config = config_of("softmax", false);
  for (std::int64_t count = 1; count <= 7; ++count) {
    std::int64_t next = 0;
    for (const Stage& stage : cut_into_stages(config, count)) {
      EXPECT_EQ(stage.layers.begin, next);
      EXPECT_GE(stage.layers.size(), 1);
      next = stage.layers.end;
    }
    EXPECT_EQ(next, 7) << count;
  }
  EXPECT_EQ(cut_into_stages(config, 1).front(), whole_model(config));
  EXPECT_EQ(error_of([&] { cut_into_stages(config, 8); }),
            "a model of 7 layers cannot be cut into 8 stages: give at most 7");
}

// The place of tensor coordinate 1 of 2 in stage 2 of 3.
TEST(Placement, HoldsExactlyItsBoxes) {
  const ModelConfig config = config_of("grouped_differential", false);
  const Placement middle{.stage = cut_into_stages(config, 3)[1], .tensor = 1, .tensor_size = 2};
  std::map<std::string, Region> found;
  for (const PlacedSpec& part : place(parameter_specs(config), middle)) {
    found.emplace(part.spec.name, part.region);
    EXPECT_GE(part.spec.layer, 2) << part.spec.name;
    EXPECT_LT(part.spec.layer, 5) << part.spec.name;
    EXPECT_EQ(part.is_primary, part.spec.cut != Cut::none) << part.spec.name;
  }
  const auto at = [&](const std::string& name) { return found.at("model.layers.3." + name); };
  EXPECT_EQ(at("self_attn.q_proj.weight"), (Region{{16, 32}, {0, 12}}));
  EXPECT_EQ(at("self_attn.k_proj.weight"), (Region{{8, 16}, {0, 12}}));
  EXPECT_EQ(at("self_attn.v_proj.weight"), (Region{{8, 16}, {0, 12}}));
  EXPECT_EQ(at("self_attn.o_proj.weight"), (Region{{0, 12}, {24, 48}}));
  EXPECT_EQ(at("mlp.gate_proj.weight"), (Region{{10, 20}, {0, 12}}));
  EXPECT_EQ(at("mlp.down_proj.weight"), (Region{{0, 12}, {10, 20}}));
  EXPECT_EQ(at("self_attn.lambda_q1"), (Region{{0, 4}, {0, 1}}));
  EXPECT_EQ(at("mlp.act_fn.weight"), (Region{{0, 3}, {0, 1}}));
  EXPECT_EQ(found.size(), 3U * 16);
}

// Every place initialises its boxes to the bits that the whole model has there, and all places
// together, each element counted where it is primary, cover every element of every parameter once.
TEST(Placement, TheUnionOfAllPlacesIsTheModel) {
  for (const char* attention : kTypes) {
    for (const bool tied : {false, true}) {
      const ModelConfig config = config_of(attention, tied);
      const std::vector<ParameterSpec> specs = parameter_specs(config);
      ParameterStore whole(specs, DType::f32, 1, false);
      whole.initialize(5);
      std::map<std::string, std::vector<int>> covered;
      for (const ParameterSpec& spec : specs) {
        covered[spec.name].resize(static_cast<std::size_t>(spec.shape.elements()));
      }
      for (const Stage& stage : cut_into_stages(config, 3)) {
        for (std::int64_t tensor = 0; tensor < 2; ++tensor) {
          ParameterStore part(place(specs, {stage, tensor, 2}), DType::f32, 3, true);
          part.initialize(5);
          for (const Parameter& parameter : part.all()) {
            const std::string& name = parameter.spec.name;
            const auto* own = parameter.value.data<float>();
            const auto* all = whole.at(name).value.data<float>();
            EXPECT_EQ(parameter.gradient.shape(), parameter.value.shape());
            for (const Stretch& run : stretches(parameter.region, parameter.spec.shape, 0,
                                                parameter.region.elements())) {
              ASSERT_EQ(std::memcmp(own + run.local, all + run.global,
                                    static_cast<std::size_t>(run.length) * sizeof(float)),
                        0)
                  << name;
              for (std::int64_t i = 0; parameter.is_primary && i < run.length; ++i) {
                ++covered[name][static_cast<std::size_t>(run.global + i)];
              }
            }
          }
        }
      }
      for (const auto& [name, counts] : covered) {
        EXPECT_EQ(std::count(counts.begin(), counts.end(), 1),
                  static_cast<std::int64_t>(counts.size()))
            << attention << (tied ? " tied " : " ") << name;
      }
    }
  }
}

TEST(Placement, TheLastStageOfATiedModelReadsTheEmbeddingToo) {
  const ModelConfig config = config_of("softmax", true);
  const auto specs = parameter_specs(config);
  const auto last = place(specs, {.stage = cut_into_stages(config, 3)[2]});
  EXPECT_EQ(last.back().spec.name, kEmbeddingName);
  EXPECT_FALSE(last.back().is_primary);
  EXPECT_EQ(place(specs, {.stage = whole_model(config)}).size(), specs.size());
}

TEST(Placement, RefusesWhatDoesNotDivide) {
  const ModelConfig config = config_of("softmax", false);
  EXPECT_EQ(error_of([&] {
              place(parameter_specs(config), {.stage = whole_model(config), .tensor_size = 3});
            }),
            "model.layers.0.self_attn.q_proj.weight: 16 rows do not divide over 3 tensor-parallel "
            "ranks; give a number of ranks that divides them");
}

TEST(Placement, TheVocabularyIsCutAsEvenlyAsCanBe) {
  std::int64_t next = 0;
  for (int tensor = 0; tensor < 3; ++tensor) {
    const IndexRange part = vocabulary_part(20, tensor, 3);
    EXPECT_EQ(part.begin, next);
    EXPECT_TRUE(part.size() == 6 || part.size() == 7) << part.size();
    next = part.end;
  }
  EXPECT_EQ(next, 20);
}

TEST(Placement, OfSeveralStagesIsThatOfEach) {
  const ModelConfig config = config_of("softmax", true);
  const auto specs = parameter_specs(config);
  const auto stages = cut_into_stages(config, 3);
  const auto both =
      place(specs, std::vector<Placement>{{.stage = stages[0]}, {.stage = stages[2]}});
  const auto first = place(specs, {.stage = stages[0]});
  const auto last = place(specs, {.stage = stages[2]});
  ASSERT_EQ(both.size(), first.size() + last.size());
  for (std::size_t i = 0; i < both.size(); ++i) {
    const PlacedSpec& expected = i < first.size() ? first[i] : last[i - first.size()];
    EXPECT_EQ(both[i].spec.name, expected.spec.name);
  }
}

TEST(Completion, FollowsFromWhatAParameterIsFor) {
  const auto specs = parameter_specs(config_of("grouped_differential", true));
  const auto completion_of = [&](std::string_view name) {
    const auto found = std::find_if(specs.begin(), specs.end(), [&](const ParameterSpec& spec) {
      return spec.name.ends_with(name);
    });
    return found->completion;
  };
  EXPECT_EQ(completion_of("q_proj.weight"), Completion::cut);
  EXPECT_EQ(completion_of("down_proj.weight"), Completion::cut);
  EXPECT_EQ(completion_of("input_layernorm.weight"), Completion::partial_by_token);
  EXPECT_EQ(completion_of("model.norm.weight"), Completion::partial_by_token);
  EXPECT_EQ(completion_of("subln.weight"), Completion::partial_by_head);
  EXPECT_EQ(completion_of("act_fn.bias"), Completion::partial_by_head);
  EXPECT_EQ(completion_of("embed_tokens.weight"), Completion::tied);
}

TEST(Region, StretchesFollowTheGlobalTensor) {
  const Region box{{2, 5}, {3, 7}};
  const auto found = stretches(box, {8, 10}, 1, 8);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].global, 24);
  EXPECT_EQ(found[0].length, 3);
  EXPECT_EQ(found[1].local, 4);
  EXPECT_EQ(found[1].global, 33);
  EXPECT_EQ(found[1].length, 4);
  EXPECT_EQ(found[2].global, 43);
  EXPECT_EQ(found[2].length, 1);
  EXPECT_EQ(stretches({{2, 5}, {0, 10}}, {8, 10}, 4, 20).size(), 1U);
  EXPECT_EQ(stretches({{2, 5}, {0, 10}}, {8, 10}, 4, 20).front().global, 24);
}

}  // namespace
}  // namespace gda
