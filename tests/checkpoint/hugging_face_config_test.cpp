#include "gda/checkpoint/hugging_face_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "sample.h"
#include "scratch.h"

namespace gda::test {
namespace {

const char* const kOrigin = "m/config.json";

void expect_round_trip(const ModelConfig& config) {
  const std::string text = to_hugging_face_config(config, DType::bf16);
  EXPECT_TRUE(read_hugging_face_config(text, kOrigin) == config) << text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

ModelConfig llama() {
  ModelConfig config = sample_config();
  config.attention = {.type = AttentionType::softmax,
                      .head_dim = 4,
                      .num_attention_heads = 6,
                      .num_key_value_heads = 3};
  config.rope.theta = 500000.1;
  config.rope.scaling = RopeScaling{.factor = 8.5};
  return config;
}

TEST(HuggingFaceConfig, RoundTripsEveryAttentionType) {
  ModelConfig config = sample_config();
  config.rms_norm_eps = 1e-6;
  config.attn_rms_norm_eps = 0.1 + 0.2;
  config.initializer_range = 1.0 / 3;
  config.tie_word_embeddings = true;
  config.hidden_act = Activation::poly_norm;
  expect_round_trip(config);
  config.lambda_init = {0.1 + 0.2, -0.0098};
  expect_round_trip(config);
  config.attention.type = AttentionType::differential;
  config.attention.signal_heads = config.attention.noise_heads;
  expect_round_trip(config);
  config = llama();
  expect_round_trip(config);
  config.attn_rms_norm_eps = 1e-3;
  config.hidden_act = Activation::poly_norm;
  expect_round_trip(config);
  config.attention.type = AttentionType::differential_v2;
  expect_round_trip(config);
}

TEST(HuggingFaceConfig, WritesTheKeysOfItsArchitecture) {
  const std::string motif = to_hugging_face_config(sample_config(), DType::f32);
  EXPECT_TRUE(contains(motif, "\"MotifForCausalLM\""));
  EXPECT_TRUE(contains(motif, "\"model_type\": \"motif\""));
  EXPECT_TRUE(contains(motif, "\"num_attention_heads\": 4"));
  EXPECT_TRUE(contains(motif, "\"num_noise_heads\": 1"));
  EXPECT_TRUE(contains(motif, "\"k_ratio\": 1"));
  EXPECT_TRUE(contains(motif, "\"lambda_init\""));
  EXPECT_TRUE(contains(motif, "\"torch_dtype\": \"float32\""));
  const std::string text = to_hugging_face_config(llama(), DType::bf16);
  EXPECT_TRUE(contains(text, "\"LlamaForCausalLM\""));
  EXPECT_TRUE(contains(text, "\"rope_type\": \"llama3\""));
  EXPECT_TRUE(contains(text, "\"torch_dtype\": \"bfloat16\""));
  EXPECT_FALSE(contains(text, "\"lambda_init\""));
}

TEST(HuggingFaceConfig, KeepsStoredLambdaInitThatTheFormulaDoesNotGive) {
  std::string text = to_hugging_face_config(sample_config(), DType::f32);
  const std::size_t list = text.find("\"lambda_init\": [") + 16;
  text.replace(list, text.find(']', list) - list, "0.25, 0.5");
  EXPECT_EQ(read_hugging_face_config(text, kOrigin).lambda_init, (std::vector<double>{0.25, 0.5}));
}

const char* const kLlamaSizes =
    R"("vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
       "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
       "hidden_act": "silu", "rms_norm_eps": 1e-05, "max_position_embeddings": 131072,)";

TEST(HuggingFaceConfig, ReadsBothSpellingsOfTransformers) {
  const std::string start = R"({"architectures": ["LlamaForCausalLM"], )";
  const ModelConfig four = read_hugging_face_config(
      start + kLlamaSizes + R"("rope_theta": 500000.0, "torch_dtype": "bfloat16",
        "rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})",
      kOrigin);
  const ModelConfig five = read_hugging_face_config(start + kLlamaSizes + R"("dtype": "bfloat16",
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}})",
                                                    kOrigin);
  EXPECT_TRUE(four == five);
  EXPECT_EQ(four.attention.head_dim, 128);
  EXPECT_EQ(four.rope.theta, 500000);
  EXPECT_TRUE(four.rope.scaling == RopeScaling{});
  const ModelConfig plain = read_hugging_face_config(
      start + kLlamaSizes + R"("rope_scaling": null, "head_dim": null})", kOrigin);
  EXPECT_EQ(plain.rope.theta, 10000);
  EXPECT_FALSE(plain.rope.scaling.has_value());
}

const char* const kMotif =
    R"({"architectures": ["MotifForCausalLM"], "model_type": "motif", "vocab_size": 219520,
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 2,
        "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_act": "poly_norm",
        "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "tie_word_embeddings": true,
        "use_bias": false)";

TEST(HuggingFaceConfig, ReadsMotifsOwn) {
  const ModelConfig config = read_hugging_face_config(std::string(kMotif) + "}", kOrigin);
  EXPECT_EQ(config.attention.type, AttentionType::differential);
  EXPECT_EQ(config.attention.signal_heads, 8);
  EXPECT_EQ(config.attention.noise_heads, 8);
  EXPECT_EQ(config.attention.head_dim, 128);
  // Motif counts layers from -1: 0.8 - 0.6 e^0.3 and 0.8 - 0.6.
  ASSERT_EQ(config.lambda_init.size(), 2U);
  EXPECT_NEAR(config.lambda_init[0], -0.00991528, 1e-8);
  EXPECT_NEAR(config.lambda_init[1], 0.2, 1e-15);
  const ModelConfig grouped = read_hugging_face_config(
      std::string(kMotif) + R"(, "num_noise_heads": 8, "k_ratio": 1, "attn_rms_norm_eps": 1e-4})",
      kOrigin);
  EXPECT_EQ(grouped.attention.type, AttentionType::grouped_differential);
  EXPECT_EQ(grouped.attn_rms_norm_eps, 1e-4);
}

std::string fault_of(const std::string& text) {
  return message_of<FormatError>([&] { read_hugging_face_config(text, kOrigin); });
}

TEST(HuggingFaceConfig, RejectsWhatItDoesNotHave) {
  const std::string start = R"({"architectures": ["LlamaForCausalLM"], )";
  EXPECT_EQ(fault_of(R"({"architectures": ["GPT2LMHeadModel"]})"),
            "m/config.json: the architecture GPT2LMHeadModel is not supported; gda reads "
            "LlamaForCausalLM, MotifForCausalLM and GdaForCausalLM");
  EXPECT_EQ(fault_of("{}"), "m/config.json: the key \"architectures\" must name one architecture");
  EXPECT_EQ(fault_of("[]"), "m/config.json is not a JSON object");
  EXPECT_EQ(fault_of(R"({"a": 1, "a": 2})"), "m/config.json: the key \"a\" is there twice");
  EXPECT_EQ(fault_of(start + R"("hidden_size": "big"})"),
            "m/config.json: the key \"hidden_size\" has an unexpected value: \"big\"");
  EXPECT_EQ(fault_of(start + R"("hidden_size": 8})"),
            "m/config.json: the key \"num_hidden_layers\" is missing");
  EXPECT_EQ(fault_of(start + kLlamaSizes + R"("attention_bias": true})"),
            "m/config.json: attention_bias = true is not supported; gda models have false");
  EXPECT_EQ(fault_of(start + kLlamaSizes + R"("rope_scaling": {"rope_type": "yarn"}})"),
            "m/config.json: rope scaling of type \"yarn\" is not supported; gda has \"default\" "
            "and \"llama3\"");
  EXPECT_EQ(fault_of(start + kLlamaSizes + R"("rope_scaling": 3})"),
            "m/config.json: the key \"rope_scaling\" is not an object");
  EXPECT_EQ(fault_of(std::string(kMotif) + R"(, "k_ratio": 2})"),
            "m/config.json: k_ratio = 2 is not supported; gda models have 1");
  EXPECT_TRUE(fault_of(std::string(kMotif) + R"(, "num_noise_heads": 7})")
                  .starts_with("m/config.json describes no model: "));
  std::string foreign(kMotif);
  foreign.replace(foreign.find("poly_norm"), 9, "tanh");
  EXPECT_EQ(fault_of(foreign + "}"),
            "m/config.json describes no model: model.hidden_act: must be one of silu, poly_norm, "
            "got \"tanh\"");
}

}  // namespace
}  // namespace gda::test
