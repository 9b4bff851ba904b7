#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "config/sample.h"

namespace gda {
namespace {

Sample full_sample() {
  Sample sample;
  sample.model = {
      .hidden_size = 64, .attention = SampleAttention::differential, .scaling = SampleScaling{2.5}};
  sample.sources = {{"ko", {{{0, 0.7}, {10000, 0.3}}}}, {"a b", {{{5, 0.5}}}}, {"true", {}}};
  sample.tied = true;
  sample.lr = 4e-4;
  sample.sizes = {1, 9007199254740993};
  sample.prompts = {"", "1e3", "null", "say \"hi\"\\\n\t", "대한민국", "-x", "a: b # c", "1-sqrt"};
  sample.trained = {.word = "", .list = {"lm_head.weight", "model.layers.4.*"}};
  sample.peak = 1e20;
  sample.limit.reset();
  return sample;
}

std::string print(Sample sample) {
  return to_yaml([&](FieldVisitor& visit) { sample.fields(visit); });
}

TEST(ToYaml, WritesEveryField) {
  EXPECT_EQ(print(full_sample()), R"(model:
  hidden_size: 64
  attention: differential
  scaling:
    factor: 2.5
sources:
  - name: ko
    weight: [{step: 0, value: 0.7}, {step: 10000, value: 0.3}]
  - name: "a b"
    weight: [{step: 5, value: 0.5}]
  - name: "true"
    weight: 1
tied: true
lr: 0.0004
betas: [0.9, 0.95]
sizes: [1, 9007199254740993]
prompts: ["", "1e3", "null", "say \"hi\"\\\n\x09", "대한민국", "-x", "a: b # c", 1-sqrt]
trained: [lm_head.weight, "model.layers.4.*"]
peak: 1.0e+20
limit: null
)");
}

TEST(ToYaml, ReadsBackEqual) {
  EXPECT_EQ(read_sample(print(full_sample())), full_sample());
  Sample plain;
  plain.model.hidden_size = 2;
  EXPECT_EQ(read_sample(print(plain)), plain);
  EXPECT_NE(print(plain).find("\ntrained: all\n"), std::string::npos);
  // Doubles keep every bit.
  for (const double value : {0.1, 1.0 / 3, 1e-300, 123456789012345680.0, 0.30000000000000004}) {
    Sample sample = plain;
    sample.peak = 1 + value;
    EXPECT_EQ(read_sample(print(sample)).peak, sample.peak);
  }
}

TEST(ToJsonSchema, DescribesEveryField) {
  Sample sample = full_sample();
  const Sample before = sample;
  const auto schema = nlohmann::json::parse(
      to_json_schema("sample", [&](FieldVisitor& visit) { sample.fields(visit); }));
  EXPECT_EQ(sample, before);
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["title"], "sample");
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  // `model` has a required key, so it is required too.
  EXPECT_EQ(schema["required"], nlohmann::json({"model"}));
  const auto& properties = schema["properties"];
  EXPECT_EQ(properties.size(), 10U);
  const auto& model = properties["model"]["properties"];
  EXPECT_EQ(model["hidden_size"], nlohmann::json::parse(R"({"type": "integer", "minimum": 1,
                                      "maximum": 9223372036854775807, "description": "width"})"));
  EXPECT_EQ(model["attention"]["enum"], nlohmann::json({"softmax", "differential"}));
  EXPECT_EQ(model["attention"]["default"], "differential");
  EXPECT_EQ(model["scaling"]["anyOf"][0]["type"], "null");
  EXPECT_EQ(model["scaling"]["anyOf"][1]["properties"]["factor"]["minimum"], 1);
  EXPECT_EQ(properties["lr"],
            nlohmann::json::parse(R"({"type": "number", "minimum": 0, "maximum": 1,
                                      "default": 0.0004, "description": "rate"})"));
  EXPECT_EQ(properties["peak"]["type"], nlohmann::json({"number", "null"}));
  EXPECT_EQ(properties["limit"]["default"], nullptr);
  EXPECT_EQ(properties["trained"],
            nlohmann::json::parse(R"({"anyOf": [{"type": "string", "enum": ["all", "new"]},
                                                {"type": "array", "items": {"type": ["string", "number", "boolean"]},
                                                 "minItems": 1}],
                                      "default": ["lm_head.weight", "model.layers.4.*"],
                                      "description": "a word or texts"})"));
  EXPECT_EQ(properties["betas"]["items"]["type"], "number");
  const auto& source = properties["sources"]["items"];
  EXPECT_EQ(source["required"], nlohmann::json({"name"}));
  EXPECT_EQ(source["properties"]["weight"]["anyOf"][1]["items"]["required"],
            nlohmann::json({"step", "value"}));
}

}  // namespace
}  // namespace gda
