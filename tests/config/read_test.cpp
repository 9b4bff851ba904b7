#include <gtest/gtest.h>

#include "config/sample.h"

namespace gda {
namespace {

TEST(ReadYaml, KeepsDefaultsOfWhatIsNotGiven) {
  Sample expected;
  expected.model.hidden_size = 8;
  EXPECT_EQ(read_sample("model: {hidden_size: 8}"), expected);
}

TEST(ReadYaml, ReadsEveryKindOfField) {
  const Sample sample = read_sample(R"(
model:
  hidden_size: 64
  attention: differential
  scaling:
    factor: 2.5
sources:
  - {name: "124", weight: 0.5}
  - name: ko
    weight: [{step: 0, value: 0.7}, {step: 1e4, value: 0.3}]
  - {name: en}
tied: true
lr: 4.0e-4
betas: [0.9, 1]
sizes: [1, +2, 3e2]
)");
  EXPECT_EQ(sample.model.hidden_size, 64);
  EXPECT_EQ(sample.model.attention, SampleAttention::differential);
  ASSERT_TRUE(sample.model.scaling.has_value());
  EXPECT_EQ(sample.model.scaling->factor, 2.5);
  ASSERT_EQ(sample.sources.size(), 3U);
  EXPECT_EQ(sample.sources[0].name, "124");
  EXPECT_EQ(sample.sources[0].weight, (Timeline{{{0, 0.5}}}));
  EXPECT_EQ(sample.sources[1].weight, (Timeline{{{0, 0.7}, {10000, 0.3}}}));
  EXPECT_EQ(sample.sources[2].weight, Timeline{});
  EXPECT_TRUE(sample.tied);
  EXPECT_EQ(sample.lr, 4e-4);
  EXPECT_EQ(sample.betas, (std::vector<double>{0.9, 1}));
  EXPECT_EQ(sample.sizes, (std::vector<std::int64_t>{1, 2, 300}));
}

TEST(ReadYaml, ReadsAWordOrAList) {
  const auto trained = [](const std::string& text) {
    return read_sample("model: {hidden_size: 8}\ntrained: " + text).trained;
  };
  EXPECT_EQ(trained("new"), (WordOrList{.word = "new", .list = {}}));
  EXPECT_EQ(trained("[all]"), (WordOrList{.word = "", .list = {"all"}}));
  EXPECT_EQ(trained("[a.*, \"b\"]"), (WordOrList{.word = "", .list = {"a.*", "b"}}));
}

TEST(ReadYaml, NullEmptiesOptionals) {
  const Sample sample = read_sample("model: {hidden_size: 8, scaling: null}\npeak: ~\nlimit:\n");
  EXPECT_FALSE(sample.model.scaling.has_value());
  EXPECT_FALSE(sample.peak.has_value());
  EXPECT_FALSE(sample.limit.has_value());
  EXPECT_EQ(read_sample("model: {hidden_size: 8}\npeak: 3\n").peak, 3.0);
  EXPECT_EQ(read_sample("model: {hidden_size: 8}\nlimit: 1e6\n").limit, 1000000);
}

TEST(ReadYaml, AcceptsSpellingsOfNumbers) {
  const auto lr = [](const std::string& text) {
    return read_sample("model: {hidden_size: 8}\nlr: " + text).lr;
  };
  EXPECT_EQ(lr("1e-8"), 1e-8);
  EXPECT_EQ(lr("1E-3"), 1e-3);
  EXPECT_EQ(lr("+0.5"), 0.5);
  EXPECT_EQ(lr(".25"), 0.25);
  EXPECT_EQ(lr("0"), 0.0);
  EXPECT_EQ(read_sample("model: {hidden_size: 1e6}").model.hidden_size, 1000000);
  EXPECT_EQ(read_sample("model: {hidden_size: 16.0}").model.hidden_size, 16);
}

TEST(ReadYaml, AMappingWithNothingUnderItHasItsDefaults) {
  EXPECT_EQ(read_sample("model:\n  # nothing\n", {"model.hidden_size=2"}).model.hidden_size, 2);
}

TEST(ReadYaml, FollowsAnchors) {
  const Sample sample = read_sample(
      "model: {hidden_size: 8}\n"
      "sources:\n  - {name: a, weight: &w [{step: 0, value: 1}, {step: 5, value: 2}]}\n"
      "  - {name: b, weight: *w}\n");
  EXPECT_EQ(sample.sources[1].weight, sample.sources[0].weight);
}

TEST(ReadYaml, ReadsKoreanText) {
  const Sample sample =
      read_sample("model: {hidden_size: 8}\nprompts: [대한민국의 수도는, \"a: b\"]");
  EXPECT_EQ(sample.prompts, (std::vector<std::string>{"대한민국의 수도는", "a: b"}));
}

TEST(ReadYaml, OverridesReplaceAndAddValues) {
  const std::string text =
      "model: {hidden_size: 8, scaling: null}\nsources: [{name: a}, {name: b, weight: 2}]\n";
  const Sample sample = read_sample(
      text, {"model.hidden_size=16", "model.scaling.factor=4", "sources[1].weight=0.3",
             "sources.0.name=c=d", "betas=[0.5, 0.6]", "limit=", "model.hidden_size=32"});
  EXPECT_EQ(sample.model.hidden_size, 32);
  EXPECT_EQ(sample.model.scaling->factor, 4);
  EXPECT_EQ(sample.sources[1].weight, (Timeline{{{0, 0.3}}}));
  EXPECT_EQ(sample.sources[0].name, "c=d");
  EXPECT_EQ(sample.betas, (std::vector<double>{0.5, 0.6}));
  EXPECT_FALSE(sample.limit.has_value());
}

TEST(ReadYaml, AnOverrideCanMendTheFile) {
  EXPECT_EQ(read_sample("model: {hidden_size: wide}", {"model.hidden_size=4"}).model.hidden_size,
            4);
}

TEST(ReadYaml, AnEmptyFileCanBeFilledFromTheCommandLine) {
  EXPECT_EQ(read_sample("", {"model.hidden_size=4"}).model.hidden_size, 4);
}

TEST(Timeline, IsPiecewiseLinear) {
  const Timeline timeline{{{10, 1.0}, {20, 3.0}, {24, 2.0}}};
  EXPECT_EQ(timeline.at(0), 1.0);
  EXPECT_EQ(timeline.at(10), 1.0);
  EXPECT_EQ(timeline.at(15), 2.0);
  EXPECT_EQ(timeline.at(20), 3.0);
  EXPECT_EQ(timeline.at(21), 2.75);
  EXPECT_EQ(timeline.at(24), 2.0);
  EXPECT_EQ(timeline.at(1000000), 2.0);
  EXPECT_EQ(Timeline{}.at(3), 1.0);
}

}  // namespace
}  // namespace gda
