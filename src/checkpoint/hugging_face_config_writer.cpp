#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "gda/checkpoint/hugging_face_config.h"

namespace gda {
namespace {

using nlohmann::ordered_json;

std::string_view torch_name_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "float64";
    case DType::bf16:
      return "bfloat16";
    case DType::f32:
    case DType::i32:
      break;
  }
  return "float32";
}

ordered_json architecture_of(const ModelConfig& config) {
  const bool llama =
      config.attention.type == AttentionType::softmax && config.hidden_act == Activation::silu;
  if (llama) return {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}};
  if (config.attention.is_differential()) {
    return {{"architectures", {"MotifForCausalLM"}}, {"model_type", "motif"}};
  }
  return {{"architectures", {"GdaForCausalLM"}}, {"model_type", "gda"}};
}

ordered_json scaling_of(const RopeConfig& rope) {
  if (!rope.scaling) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", rope.scaling->factor},
          {"low_freq_factor", rope.scaling->low_freq_factor},
          {"high_freq_factor", rope.scaling->high_freq_factor},
          {"original_max_position_embeddings", rope.scaling->original_max_position_embeddings}};
}

void add_heads(const ModelConfig& config, ordered_json& entries) {
  const AttentionConfig& a = config.attention;
  if (!a.is_differential()) {
    entries["num_attention_heads"] = a.num_attention_heads;
    entries["num_key_value_heads"] = a.num_key_value_heads;
    return;
  }
  entries["num_attention_heads"] = a.signal_heads + a.noise_heads;
  entries["num_noise_heads"] = a.noise_heads;
  entries["num_key_value_heads"] = a.num_key_value_heads;
  entries["k_ratio"] = 1;
  entries["attn_rms_norm_eps"] = config.attn_rms_norm_eps;
  entries["use_bias"] = false;
  std::vector<double> lambda_init;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    lambda_init.push_back(config.lambda_init_of(layer));
  }
  entries["lambda_init"] = lambda_init;
}

}  // namespace

std::string to_hugging_face_config(const ModelConfig& config, DType stored) {
  ordered_json entries = architecture_of(config);
  entries["vocab_size"] = config.vocab_size;
  entries["hidden_size"] = config.hidden_size;
  entries["intermediate_size"] = config.intermediate_size;
  entries["num_hidden_layers"] = config.num_hidden_layers;
  add_heads(config, entries);
  entries["head_dim"] = config.attention.head_dim;
  entries["hidden_act"] = word_of(config.hidden_act);
  entries["max_position_embeddings"] = config.max_position_embeddings;
  entries["initializer_range"] = config.initializer_range;
  entries["rms_norm_eps"] = config.rms_norm_eps;
  entries["rope_theta"] = config.rope.theta;
  entries["rope_scaling"] = scaling_of(config.rope);
  entries["tie_word_embeddings"] = config.tie_word_embeddings;
  entries["attention_bias"] = false;
  entries["mlp_bias"] = false;
  entries["attention_dropout"] = 0.0;
  entries["use_cache"] = true;
  entries["torch_dtype"] = torch_name_of(stored);
  entries["gda"] = {{"attention_type", word_of(config.attention.type)},
                    {"attn_rms_norm_eps", config.attn_rms_norm_eps},
                    {"poly_norm_eps", config.poly_norm_eps},
                    {"lambda_init_by_formula", config.lambda_init.empty()}};
  return entries.dump(kJsonIndent) + "\n";
}

}  // namespace gda
