#include "gda/train/trainable.h"

#include <gtest/gtest.h>

#include "gda/core/error.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

TEST(Trainable, MatchesWholeNames) {
  EXPECT_TRUE(matches("lm_head.weight", "lm_head.weight"));
  EXPECT_FALSE(matches("lm_head", "lm_head.weight"));
  EXPECT_TRUE(matches("model.layers.4.*", "model.layers.4.mlp.up_proj.weight"));
  EXPECT_FALSE(matches("model.layers.4.*", "model.layers.40.mlp.up_proj.weight"));
  EXPECT_TRUE(matches("*.layers.?.*norm.weight", "model.layers.4.input_layernorm.weight"));
  EXPECT_FALSE(matches("model.layers.?.*", "model.layers.14.input_layernorm.weight"));
  EXPECT_TRUE(matches("*", "model.norm.weight"));
  EXPECT_TRUE(matches("a*b*c", "abc"));
  EXPECT_FALSE(matches("a*b*c", "acb"));
  EXPECT_FALSE(matches("", "a"));
}

std::vector<std::string> chosen(const WordOrList& trainable,
                                const std::vector<std::string>& added = {}) {
  std::vector<ParameterSpec> specs = parameter_specs(test::tiny_config("softmax"));
  choose_trainable(trainable, added, "runs/x", specs);
  std::vector<std::string> names;
  for (const ParameterSpec& spec : specs) {
    if (spec.trainable) names.push_back(spec.name);
  }
  return names;
}

std::string fault(const WordOrList& trainable) {
  try {
    chosen(trainable);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(Trainable, ChoosesWhatIsAskedFor) {
  EXPECT_EQ(chosen({.word = "all", .list = {}}).size(),
            parameter_specs(test::tiny_config("softmax")).size());
  EXPECT_EQ(chosen({.word = "", .list = {"model.layers.*.input_layernorm.weight", "lm_*"}}),
            (std::vector<std::string>{"model.layers.0.input_layernorm.weight",
                                      "model.layers.1.input_layernorm.weight", "lm_head.weight"}));
  const std::vector<std::string> added = {"model.layers.1.input_layernorm.weight",
                                          "model.layers.1.mlp.up_proj.weight"};
  EXPECT_EQ(chosen({.word = "new", .list = {}}, added), added);
}

TEST(Trainable, TellsWhatItCannotChoose) {
  EXPECT_EQ(fault({.word = "", .list = {"lm_head.weight", "model.layers.7.mlp.up_proj.weight"}}),
            "train.trainable: \"model.layers.7.mlp.up_proj.weight\" matches no parameter of the "
            "model; the nearest is model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(fault({.word = "", .list = {"model.layers.*.mlp.upproj.*"}}),
            "train.trainable: \"model.layers.*.mlp.upproj.*\" matches no parameter of the model; "
            "the nearest is model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(
      fault({.word = "new", .list = {}}),
      "train.trainable: new: growth has added no complete tensors or layers to runs/x; grow the "
      "model in depth first (gda grow depth), or give all or a list of patterns");
}

}  // namespace
}  // namespace gda
