#include "gda/model/model_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "gda/core/error.h"

namespace gda {
namespace {

ModelConfig grouped() {
  ModelConfig config;
  config.hidden_size = 96;
  config.num_hidden_layers = 3;
  config.intermediate_size = 160;
  config.vocab_size = 101;
  config.attention = {.type = AttentionType::grouped_differential,
                      .head_dim = 16,
                      .signal_heads = 12,
                      .noise_heads = 4,
                      .num_key_value_heads = 4};
  return config;
}

ModelConfig softmax() {
  ModelConfig config = grouped();
  config.attention = {.type = AttentionType::softmax,
                      .head_dim = 16,
                      .num_attention_heads = 6,
                      .num_key_value_heads = 2};
  return config;
}

std::string problem_of(const ModelConfig& config) {
  try {
    config.validate();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), 2);
    return error.what();
  }
  return "";
}

TEST(AttentionConfig, SizesOfGroupedDifferential) {
  const AttentionConfig a = grouped().attention;
  EXPECT_EQ(a.ratio(), 3);
  EXPECT_EQ(a.kv_groups(), 2);
  EXPECT_EQ(a.query_heads(), 16);
  EXPECT_EQ(a.value_dim(), 32);
  EXPECT_EQ(a.q_size(), 16 * 16);
  EXPECT_EQ(a.k_size(), 4 * 16);
  EXPECT_EQ(a.v_size(), 2 * 32);
  EXPECT_EQ(a.out_size(), 12 * 32);
}

TEST(AttentionConfig, SizesOfSoftmax) {
  const AttentionConfig a = softmax().attention;
  EXPECT_EQ(a.kv_groups(), 2);
  EXPECT_EQ(a.query_heads(), 6);
  EXPECT_EQ(a.value_dim(), 16);
  EXPECT_EQ(a.q_size(), 6 * 16);
  EXPECT_EQ(a.k_size(), 2 * 16);
  EXPECT_EQ(a.v_size(), 2 * 16);
  EXPECT_EQ(a.out_size(), 6 * 16);
}

TEST(AttentionConfig, SizesOfDifferentialV2) {
  AttentionConfig a = softmax().attention;
  a.type = AttentionType::differential_v2;
  EXPECT_EQ(a.query_heads(), 12);
  EXPECT_EQ(a.q_size(), 12 * 16);
  EXPECT_EQ(a.k_size(), 2 * 16);
  EXPECT_EQ(a.v_size(), 2 * 16);
  EXPECT_EQ(a.out_size(), 6 * 16);
}

TEST(ModelConfig, AcceptsEveryType) {
  EXPECT_EQ(problem_of(grouped()), "");
  EXPECT_EQ(problem_of(softmax()), "");
  ModelConfig differential = grouped();
  differential.attention.type = AttentionType::differential;
  differential.attention.signal_heads = 4;
  EXPECT_EQ(problem_of(differential), "");
  ModelConfig second = softmax();
  second.attention.type = AttentionType::differential_v2;
  EXPECT_EQ(problem_of(second), "");
}

TEST(ModelConfig, RejectsSignalHeadsThatAreNoMultipleOfNoiseHeads) {
  ModelConfig config = grouped();
  config.attention.signal_heads = 10;
  EXPECT_EQ(problem_of(config),
            "model.attention.signal_heads: 10 is not a multiple of noise_heads, which is 4 (the "
            "ratio of signal to noise heads is a whole number)");
}

TEST(ModelConfig, RejectsRatiosInDifferential) {
  ModelConfig config = grouped();
  config.attention.type = AttentionType::differential;
  EXPECT_EQ(problem_of(config),
            "model.attention.signal_heads: 12 must equal noise_heads, which is 4, for attention of "
            "type differential; for other ratios use type grouped_differential");
}

TEST(ModelConfig, RejectsNoiseHeadsThatAreNoMultipleOfGroups) {
  ModelConfig config = grouped();
  config.attention.num_key_value_heads = 6;
  EXPECT_EQ(problem_of(config),
            "model.attention.noise_heads: 4 is not a multiple of the number of groups, which is "
            "num_key_value_heads / 2 = 3");
}

TEST(ModelConfig, RejectsAnOddNumberOfKeyHeads) {
  ModelConfig config = grouped();
  config.attention.num_key_value_heads = 3;
  EXPECT_EQ(
      problem_of(config),
      "model.attention.num_key_value_heads: 3 is odd; it counts one signal and one noise head "
      "a group");
}

TEST(ModelConfig, RejectsMissingHeads) {
  ModelConfig config = grouped();
  config.attention.noise_heads = 0;
  EXPECT_EQ(problem_of(config),
            "model.attention.noise_heads: missing: attention of type grouped_differential needs "
            "it");
  config = softmax();
  config.attention.num_attention_heads = 0;
  config.attention.num_key_value_heads = 0;
  EXPECT_EQ(problem_of(config),
            "model.attention.num_attention_heads: missing: attention of type softmax needs it\n"
            "model.attention.num_key_value_heads: missing: attention of type softmax needs it");
}

TEST(ModelConfig, RejectsKeysOfOtherTypes) {
  ModelConfig config = softmax();
  config.attention.signal_heads = 6;
  EXPECT_EQ(problem_of(config),
            "model.attention.signal_heads: 6 given, but attention of type softmax has "
            "num_attention_heads instead; remove this key");
  config = grouped();
  config.attention.num_attention_heads = 16;
  EXPECT_EQ(problem_of(config),
            "model.attention.num_attention_heads: 16 given, but attention of type "
            "grouped_differential has signal_heads and noise_heads instead; remove this key");
  config = softmax();
  config.lambda_init = {0.2, 0.3, 0.4};
  EXPECT_EQ(problem_of(config),
            "model.lambda_init: given, but attention of type softmax has no lambda_init; remove "
            "this key");
}

TEST(ModelConfig, RejectsQueryHeadsThatAreNoMultipleOfKeyHeads) {
  ModelConfig config = softmax();
  config.attention.num_key_value_heads = 4;
  EXPECT_EQ(problem_of(config),
            "model.attention.num_attention_heads: 6 is not a multiple of num_key_value_heads, "
            "which is 4");
}

TEST(ModelConfig, RejectsAnOddHeadDim) {
  ModelConfig config = softmax();
  config.attention.head_dim = 15;
  EXPECT_EQ(problem_of(config),
            "model.attention.head_dim: 15 is odd; rotary embedding turns pairs of channels");
}

TEST(ModelConfig, NamesAllFieldsThatAreOutOfRange) {
  ModelConfig config = grouped();
  config.hidden_size = 0;
  config.num_hidden_layers = -2;
  config.rms_norm_eps = NAN;
  EXPECT_EQ(problem_of(config),
            "model.hidden_size: must be at least 1, got 0\n"
            "model.num_hidden_layers: must be at least 1, got -2\n"
            "model.rms_norm_eps: must be a finite number, got nan");
}

TEST(ModelConfig, NamesTheWordsThatAreKnown) {
  ModelConfig config;
  try {
    read_yaml("{hidden_act: polynorm, attention: {type: group_differential}}", "x.yaml", {},
              [&](FieldVisitor& visit) { config.fields(visit); });
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    for (const char* problem :
         {"hidden_act: must be one of silu, poly_norm, got \"polynorm\"; did you mean "
          "\"poly_norm\"?",
          "attention.type: must be one of softmax, differential, grouped_differential, "
          "differential_v2, got \"group_differential\"; did you mean \"grouped_differential\"?"}) {
      EXPECT_NE(text.find(problem), std::string::npos) << text;
    }
  }
}

TEST(ModelConfig, ChecksRopeScaling) {
  ModelConfig config = grouped();
  config.rope.scaling = RopeScaling{.low_freq_factor = 4, .high_freq_factor = 1};
  EXPECT_EQ(problem_of(config),
            "model.rope.scaling.high_freq_factor: 1 must be greater than low_freq_factor, which is "
            "4");
  config.rope.scaling = RopeScaling{};
  EXPECT_EQ(problem_of(config), "");
}

TEST(ModelConfig, LambdaInitByLayer) {
  ModelConfig config = grouped();
  // 0.8 - 0.6 exp(0) is 0.2 up to one rounding of each operand.
  EXPECT_NEAR(config.lambda_init_of(0), 0.2, 4e-16);
  EXPECT_NEAR(config.lambda_init_of(2), 0.8 - 0.6 * std::exp(-0.6), 4e-16);
  config.lambda_init = {-0.0099, 0.2, 0.3};
  EXPECT_EQ(problem_of(config), "");
  EXPECT_EQ(config.lambda_init_of(0), -0.0099);
  config.lambda_init.pop_back();
  EXPECT_EQ(problem_of(config),
            "model.lambda_init: 2 values for num_hidden_layers = 3; give one a layer, or none");
}

TEST(ModelConfig, FlopsOfMultiHeadSoftmaxFollowTheUsualFormula) {
  // 6 (N - embedding) + 12 L D T, where heads fill the hidden size.
  ModelConfig config = softmax();
  config.attention.num_key_value_heads = 6;
  const double matrices = 3 * (4.0 * 96 * 96 + 3 * 96 * 160);
  const double vectors = 3 * 2 * 96 + 96;
  const double multiplied = matrices + vectors + 101 * 96;
  const double attention = 12.0 * 3 * 96 * 512;
  const FlopsPerToken flops = training_flops_per_token(config, 512);
  EXPECT_EQ(flops.full, 6 * multiplied + attention);
  EXPECT_EQ(flops.causal, 6 * multiplied + attention / 2);
  config.tie_word_embeddings = true;
  EXPECT_EQ(training_flops_per_token(config, 512).full, flops.full);
}

TEST(ModelConfig, FlopsOfGroupedDifferentialCountWideValuesAndNoiseHeadsOnce) {
  // A layer: D d (H + n_kv + 2 G + 2 h_s), lambda vectors and subln; core 6 H d T forward.
  const ModelConfig config = grouped();
  const double attention = 96.0 * 16 * (16 + 4 + 4 + 24) + 6 * 16;
  const double layer = attention + 3 * 96 * 160 + 2 * 96;
  const double multiplied = 3 * layer + 96 + 101 * 96;
  const double core = 3.0 * 6 * 16 * 16 * 256;
  EXPECT_EQ(training_flops_per_token(config, 256).full, 6 * multiplied + 3 * core);
  EXPECT_EQ(training_flops_per_token(config, 256).causal, 6 * multiplied + 1.5 * core);
}

TEST(ModelConfig, FlopsOfDifferentialV2CountTheLambdaProjection) {
  ModelConfig config = softmax();
  config.hidden_act = Activation::poly_norm;
  const double before = training_flops_per_token(config, 1).full;
  config.attention.type = AttentionType::differential_v2;
  // Six more query heads and a [6, 96] projection; six more heads in the core.
  const double added = 6 * 3.0 * (6 * 16 * 96 + 6 * 96) + 3 * 3.0 * 6 * (2 * 16 + 2 * 16);
  EXPECT_EQ(training_flops_per_token(config, 1).full - before, added);
}

}  // namespace
}  // namespace gda
