#include "gda/model/parameters.h"

#include <gtest/gtest.h>

#include "gda/core/error.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

ModelConfig motif(std::int64_t hidden, std::int64_t layers, std::int64_t inner, std::int64_t signal,
                  std::int64_t noise, bool tied) {
  ModelConfig config;
  config.hidden_size = hidden;
  config.num_hidden_layers = layers;
  config.intermediate_size = inner;
  config.vocab_size = 219520;
  config.hidden_act = Activation::poly_norm;
  config.tie_word_embeddings = tied;
  config.attention.head_dim = 128;
  config.attention.signal_heads = signal;
  config.attention.noise_heads = noise;
  config.attention.num_key_value_heads = 16;
  return config;
}

ModelConfig llama(std::int64_t hidden, std::int64_t layers, std::int64_t inner,
                  std::int64_t heads) {
  ModelConfig config;
  config.hidden_size = hidden;
  config.num_hidden_layers = layers;
  config.intermediate_size = inner;
  config.vocab_size = 128256;
  config.attention.type = AttentionType::softmax;
  config.attention.head_dim = 128;
  config.attention.num_attention_heads = heads;
  config.attention.num_key_value_heads = 8;
  return config;
}

TEST(ParameterCount, MatchesPublishedModels) {
  EXPECT_EQ(parameter_count(motif(4096, 40, 16384, 32, 8, false)), 12'703'860'896);
  EXPECT_EQ(parameter_count(motif(2048, 32, 8192, 8, 8, true)), 2'597'218'432);
  EXPECT_EQ(parameter_count(llama(4096, 32, 14336, 32)), 8'030'261'248);
  // Llama-3-Motif-102B: "102.022B".
  EXPECT_NEAR(static_cast<double>(parameter_count(llama(9216, 96, 30720, 72))), 102.022e9,
              0.0005e9);
}

TEST(ParameterStore, InitialisesByNameAlone) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  ParameterStore one(parameter_specs(config), DType::f32, 1, false);
  ParameterStore three(parameter_specs(config), DType::f32, 3, true);
  one.initialize(9);
  three.initialize(9);
  for (const Parameter& parameter : one.all()) {
    const Tensor& other = three.at(parameter.spec.name).value;
    for (std::int64_t i = 0; i < parameter.value.elements(); ++i) {
      ASSERT_EQ(parameter.value.data<float>()[i], other.data<float>()[i]) << parameter.spec.name;
    }
    EXPECT_TRUE(parameter.gradient.empty());
  }
  for (const Bucket& bucket : three.buckets()) EXPECT_EQ(bucket.elements % 3, 0);
}

TEST(ParameterStore, FusesNeighbours) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  ParameterStore store(parameter_specs(config), DType::f32, 1, true);
  const std::string prefix = "model.layers.1.self_attn.";
  const Tensor fused = store.fused(prefix + "q_proj.weight", prefix + "v_proj.weight").value;
  const AttentionConfig& attention = config.attention;
  EXPECT_EQ(fused.dim(0), attention.q_size() + attention.k_size() + attention.v_size());
  EXPECT_EQ(fused.rows(attention.q_size(), 1).raw(),
            store.at(prefix + "k_proj.weight").value.raw());
  EXPECT_THROW(store.fused(prefix + "q_proj.weight", "model.layers.1.mlp.down_proj.weight"),
               OpError);
  EXPECT_THROW(store.at("model.layers.9.mlp.down_proj.weight"), OpError);
}

TEST(ParameterStore, KeepsVectorsInTheAccumulateType) {
  const ModelConfig config = test::tiny_config("grouped_differential");
  ParameterStore store(parameter_specs(config), DType::bf16, 1, true);
  EXPECT_EQ(store.at("model.norm.weight").value.dtype(), DType::f32);
  EXPECT_EQ(store.at("lm_head.weight").value.dtype(), DType::bf16);
  EXPECT_EQ(store.at("lm_head.weight").gradient.dtype(), DType::f32);
}

// Weight decay pulls matrices to zero; norms and biases, which have no scale to lose, are left
// alone.
TEST(ParameterSpecs, MatricesDecayAndVectorsDoNot) {
  for (const char* attention :
       {"softmax", "differential", "grouped_differential", "differential_v2"}) {
    for (const ParameterSpec& spec : parameter_specs(test::tiny_config(attention, "poly_norm"))) {
      EXPECT_EQ(spec.decay, spec.shape.rank() == 2) << spec.name;
    }
  }
}

}  // namespace
}  // namespace gda
