#include <gtest/gtest.h>

#include "config/sample.h"

namespace gda {
namespace {

const std::string kGood = "model: {hidden_size: 8}\n";

TEST(ReadYamlErrors, UnknownKeyNamesFileLinePathAndTheNearestKey) {
  EXPECT_EQ(sample_error("model:\n  hidden_size: 8\n  atention: softmax\n"),
            "x.yaml:3: model.atention: unknown key; did you mean \"attention\"?");
  EXPECT_EQ(sample_error(kGood + "source: []\n"),
            "x.yaml:2: source: unknown key; did you mean \"sources\"?");
  EXPECT_EQ(sample_error(kGood + "sources: [{name: a, wieght: 1}]\n"),
            "x.yaml:2: sources.0.wieght: unknown key; did you mean \"weight\"?");
}

TEST(ReadYamlErrors, UnknownKeyUnlikeAnyListsTheKnownOnes) {
  EXPECT_EQ(sample_error("model:\n  hidden_size: 8\n  dropout: 0.1\n"),
            "x.yaml:3: model.dropout: unknown key; known here: hidden_size, attention, scaling");
}

TEST(ReadYamlErrors, MissingKeys) {
  EXPECT_EQ(sample_error("model:\n  attention: softmax\n"),
            "x.yaml:1: model.hidden_size: missing; it is required (width)");
  EXPECT_EQ(sample_error("tied: true\n"),
            "x.yaml: model.hidden_size: missing; it is required (width)");
  EXPECT_EQ(sample_error(kGood + "sources:\n  - name: a\n  - weight: 1\n"),
            "x.yaml:4: sources.1.name: missing; it is required (its name)");
  EXPECT_EQ(sample_error(""), "x.yaml: model.hidden_size: missing; it is required (width)");
}

TEST(ReadYamlErrors, IllTypedValuesSayWhatWasExpectedAndFound) {
  const auto error_of = [](const std::string& line) { return sample_error(kGood + line); };
  EXPECT_EQ(error_of("tied: yes"), "x.yaml:2: tied: expected true or false, found \"yes\"");
  EXPECT_EQ(error_of("tied: \"true\""), "x.yaml:2: tied: expected true or false, found \"true\"");
  EXPECT_EQ(error_of("lr: high"), "x.yaml:2: lr: expected a number, found \"high\"");
  EXPECT_EQ(error_of("lr: [1]"), "x.yaml:2: lr: expected a number, found a list");
  EXPECT_EQ(error_of("lr: {a: 1}"), "x.yaml:2: lr: expected a number, found a mapping");
  EXPECT_EQ(error_of("lr:"), "x.yaml:2: lr: expected a number, found null");
  EXPECT_EQ(error_of("lr: \"1\""), "x.yaml:2: lr: expected a number, found \"1\"");
  EXPECT_EQ(error_of("limit: 1.5"), "x.yaml:2: limit: expected a whole number, found \"1.5\"");
  EXPECT_EQ(error_of("limit: 1_000"), "x.yaml:2: limit: expected a whole number, found \"1_000\"");
  EXPECT_EQ(error_of("limit: 0x10"), "x.yaml:2: limit: expected a whole number, found \"0x10\"");
  EXPECT_EQ(error_of("limit: 99999999999999999999"),
            "x.yaml:2: limit: expected a whole number, found \"99999999999999999999\"");
  EXPECT_EQ(error_of("peak: .inf"), "x.yaml:2: peak: expected a number, found \".inf\"");
  EXPECT_EQ(error_of("peak: nan"), "x.yaml:2: peak: expected a number, found \"nan\"");
  EXPECT_EQ(error_of("peak: 1e999"), "x.yaml:2: peak: expected a number, found \"1e999\"");
  EXPECT_EQ(error_of("betas: 0.9"), "x.yaml:2: betas: expected a list of numbers, found \"0.9\"");
  EXPECT_EQ(error_of("betas: [0.9, x]"), "x.yaml:2: betas.1: expected a number, found \"x\"");
  EXPECT_EQ(error_of("sizes: {}"),
            "x.yaml:2: sizes: expected a list of whole numbers, found a mapping");
  EXPECT_EQ(error_of("prompts: hello"),
            "x.yaml:2: prompts: expected a list of texts, found \"hello\"");
  EXPECT_EQ(error_of("trained: nwe"),
            "x.yaml:2: trained: must be all, new or a list of texts, got \"nwe\"; did you mean "
            "\"new\"?");
  EXPECT_EQ(error_of("trained: []"),
            "x.yaml:2: trained: must be all, new or a list of texts, got an empty list");
  EXPECT_EQ(error_of("trained: {a: 1}"),
            "x.yaml:2: trained: expected all, new or a list of texts, found a mapping");
  EXPECT_EQ(error_of("trained: [1, null]"),
            "x.yaml:2: trained.1: expected text, found null (write \"\" for empty text)");
  EXPECT_EQ(error_of("prompts: [null]"),
            "x.yaml:2: prompts.0: expected text, found null (write \"\" for empty text)");
  EXPECT_EQ(error_of("sources: {name: a}"), "x.yaml:2: sources: expected a list, found a mapping");
  EXPECT_EQ(error_of("sources:\n  - ko\n"),
            "x.yaml:3: sources.0: expected a mapping, found \"ko\"");
  EXPECT_EQ(sample_error("model: small"), "x.yaml:1: model: expected a mapping, found \"small\"");
  EXPECT_EQ(sample_error("model:\n  hidden_size: 8\n  scaling: 2\n"),
            "x.yaml:3: model.scaling: expected a mapping or null, found \"2\"");
  EXPECT_EQ(sample_error("- model\n"), "x.yaml: expected a mapping of sections, found a list");
}

TEST(ReadYamlErrors, OutOfRange) {
  const auto error_of = [](const std::string& line) { return sample_error(kGood + line); };
  EXPECT_EQ(sample_error("model: {hidden_size: 0}"),
            "x.yaml:1: model.hidden_size: must be at least 1, got 0");
  EXPECT_EQ(error_of("lr: 1.5"), "x.yaml:2: lr: must be at most 1, got 1.5");
  EXPECT_EQ(error_of("lr: -1e-9"), "x.yaml:2: lr: must be at least 0, got -1e-09");
  EXPECT_EQ(error_of("betas: [0.9,\n 1.1]"), "x.yaml:3: betas.1: must be at most 1, got 1.1");
  EXPECT_EQ(error_of("limit: -1"), "x.yaml:2: limit: must be at least 0, got -1");
}

TEST(ReadYamlErrors, NotOneOfTheAllowedValues) {
  EXPECT_EQ(sample_error("model: {hidden_size: 8, attention: sofmax}"),
            "x.yaml:1: model.attention: must be one of softmax, differential, got \"sofmax\"; did "
            "you mean \"softmax\"?");
  EXPECT_EQ(sample_error("model: {hidden_size: 8, attention: linear}"),
            "x.yaml:1: model.attention: must be one of softmax, differential, got \"linear\"");
}

TEST(ReadYamlErrors, Timelines) {
  const auto error_of = [](const std::string& weight) {
    return sample_error(kGood + "sources:\n  - name: a\n    weight: " + weight + "\n");
  };
  EXPECT_EQ(error_of("much"),
            "x.yaml:4: sources.0.weight: expected a number or a list of {step, value}, found "
            "\"much\"");
  EXPECT_EQ(error_of("-1"), "x.yaml:4: sources.0.weight: must be at least 0, got -1");
  EXPECT_EQ(error_of("[]"),
            "x.yaml:4: sources.0.weight: must have at least one {step, value} point");
  EXPECT_EQ(error_of("[0.5]"),
            "x.yaml:4: sources.0.weight.0: expected {step: ..., value: ...}, found \"0.5\"");
  EXPECT_EQ(error_of("[{step: 5, value: 1}, {step: 5, value: 2}]"),
            "x.yaml:4: sources.0.weight: steps must rise strictly, got 5 after 5");
  EXPECT_EQ(error_of("[{step: -5, value: 1}]"),
            "x.yaml:4: sources.0.weight: a step must be at least 0, got -5");
  EXPECT_EQ(error_of("[{step: 5, value: -1}]"),
            "x.yaml:4: sources.0.weight: value at step 5 must be at least 0, got -1");
  EXPECT_EQ(error_of("[{step: 5}]"),
            "x.yaml:4: sources.0.weight.0.value: missing; it is required (value at that step)");
  EXPECT_EQ(error_of("[{step: 5, value: 1, weight: 2}]"),
            "x.yaml:4: sources.0.weight.0.weight: unknown key; known here: step, value");
}

TEST(ReadYamlErrors, DuplicateKeys) {
  EXPECT_EQ(sample_error(kGood + "lr: 0.1\ntied: true\nlr: 0.2\n"),
            "x.yaml:4: key \"lr\" given twice, first on line 2");
}

TEST(ReadYamlErrors, Syntax) {
  const std::string error = sample_error("model: {hidden_size: 8\nlr: 1\n");
  EXPECT_EQ(error.rfind("x.yaml:", 0), 0U) << error;
  EXPECT_NE(error.find(": not valid YAML: "), std::string::npos) << error;
  EXPECT_EQ(sample_error("model:\n\thidden_size: 8\n").rfind("x.yaml:2: not valid YAML: ", 0), 0U);
  EXPECT_EQ(sample_error(kGood + "---\nlr: 1\n"),
            "x.yaml: expected one YAML document, found a second one after \"---\"");
  EXPECT_EQ(sample_error(kGood + "[a, b]: 1\n"), "x.yaml:2: a key must be a word, found a list");
}

TEST(ReadYamlErrors, OverridesNameTheCommandLine) {
  EXPECT_EQ(sample_error(kGood, {"model.atention=softmax"}),
            "command line: model.atention: unknown key; did you mean \"attention\"?");
  EXPECT_EQ(sample_error(kGood, {"lr=high"}),
            "command line: lr: expected a number, found \"high\"");
  EXPECT_EQ(sample_error(kGood, {"lr=2"}), "command line: lr: must be at most 1, got 2");
  EXPECT_EQ(sample_error(kGood, {"lr"}), "command line: expected key.path=value, found \"lr\"");
  EXPECT_EQ(sample_error(kGood, {"=3"}), "command line: expected key.path=value, found \"=3\"");
  EXPECT_EQ(sample_error(kGood, {"model..x=3"}),
            "command line: expected key.path=value, found \"model..x=3\"");
  EXPECT_EQ(sample_error(kGood, {"lr.x=3"}),
            "command line: lr: expected a number, found a mapping");
  EXPECT_EQ(sample_error(kGood + "sources: [{name: a}]", {"sources.1.weight=3"}),
            "command line: sources: expected the index of one of 1 element, counted from 0, found "
            "\"1\"");
  EXPECT_EQ(sample_error(kGood + "sources: [{name: a}]", {"sources.first.weight=3"}),
            "command line: sources: expected the index of one of 1 element, counted from 0, found "
            "\"first\"");
  EXPECT_EQ(sample_error(kGood, {"lr=[1"}).rfind("command line: not valid YAML: ", 0), 0U);
}

TEST(ReadYamlErrors, AllProblemsAreNamedInTheOrderOfTheFile) {
  EXPECT_EQ(sample_error("lr: 3\nmodel:\n  hiden_size: 8\ntied: 1\n", {"limit=x"}),
            "command line: limit: expected a whole number, found \"x\"\n"
            "x.yaml:1: lr: must be at most 1, got 3\n"
            "x.yaml:2: model.hidden_size: missing; it is required (width)\n"
            "x.yaml:3: model.hiden_size: unknown key; did you mean \"hidden_size\"?\n"
            "x.yaml:4: tied: expected true or false, found \"1\"");
}

TEST(ReadYamlErrors, RulesNameTheLineOfTheKeyTheyBlame) {
  EXPECT_EQ(sample_error("lr: 0.1\nmodel:\n  attention: softmax\n  hidden_size: 7\n"),
            "x.yaml:4: model.hidden_size: must be even");
  EXPECT_EQ(sample_error("lr: 0.7\nmodel:\n  attention: softmax\n  hidden_size: 200\n"),
            "x.yaml:4: model.hidden_size: too wide for such a rate");
  EXPECT_EQ(sample_error("lr: 0.7\nmodel:\n  attention: softmax\n", {"model.hidden_size=201"}),
            "command line: model.hidden_size: must be even\n"
            "command line: model.hidden_size: too wide for such a rate");
  // Rules are silent while a field is wrong by itself.
  EXPECT_EQ(sample_error("model: {hidden_size: 7}\ntied: 1\n"),
            "x.yaml:2: tied: expected true or false, found \"1\"");
}

std::string check_error(Sample sample, std::string_view section) {
  try {
    check_fields(section, [&](FieldVisitor& visit) { sample.fields(visit); });
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(CheckFields, NamesEveryProblemUnderItsSection) {
  Sample sample;
  sample.model.hidden_size = 7;
  EXPECT_EQ(check_error(sample, ""), "model.hidden_size: must be even");
  sample.model.hidden_size = 8;
  EXPECT_EQ(check_error(sample, ""), "(no error)");
  sample.sources.resize(1);
  sample.sources[0].weight.points = {{0, 1.0}, {0, 2.0}};
  sample.betas = {0.9, 2};
  sample.sizes = {0};
  sample.peak = 0;
  sample.model.scaling = SampleScaling{.factor = 0.5};
  EXPECT_EQ(check_error(sample, "run"),
            "run.model.scaling.factor: must be at least 1, got 0.5\n"
            "run.sources.0.weight: steps must rise strictly, got 0 after 0\n"
            "run.betas: must be at most 1, got 2\n"
            "run.sizes: must be at least 1, got 0\n"
            "run.peak: must be at least 1, got 0");
}

}  // namespace
}  // namespace gda
