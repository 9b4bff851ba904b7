#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "checkpoint/json.h"
#include "config/constraints.h"
#include "gda/checkpoint/hugging_face_config.h"
#include "gda/core/error.h"

namespace gda {
namespace {

using nlohmann::json;

// The keys of one JSON object, with messages that name the file.
class Keys {
 public:
  Keys(const json& object, std::string_view origin) : object_(object), origin_(origin) {}

  // Null counts as absent, as in Hugging Face's files.
  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }

  template <class T>
  T get(const char* key) const {
    require<FormatError>(has(key), "{}: the key \"{}\" is missing", origin_, key);
    const json& value = object_[key];
    bool fits = false;
    if constexpr (std::is_same_v<T, bool>) {
      fits = value.is_boolean();
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      fits = value.is_number_integer();
    } else if constexpr (std::is_same_v<T, double>) {
      fits = value.is_number();
    } else if constexpr (std::is_same_v<T, std::string>) {
      fits = value.is_string();
    } else {
      fits = value.is_array() &&
             std::all_of(value.begin(), value.end(), [](const json& e) { return e.is_number(); });
    }
    require<FormatError>(fits, "{}: the key \"{}\" has an unexpected value: {}", origin_, key,
                         value.dump());
    return value.get<T>();
  }
  template <class T>
  T get(const char* key, T otherwise) const {
    return has(key) ? get<T>(key) : otherwise;
  }
  // A word for `setting` of the model; FormatError as for a configuration that has it.
  template <Worded Enum>
  Enum word(const char* key, std::string_view setting) const {
    const auto text = get<std::string>(key);
    const auto value = from_word<Enum>(text);
    require<FormatError>(
        value.has_value(), "{} describes no model: model.{}: {}", origin_, setting,
        config::choice_problem({.key = setting, .doc = {}, .one_of = words_of<Enum>()}, text));
    return *value;
  }
  template <Worded Enum>
  Enum word(const char* key, std::string_view setting, Enum otherwise) const {
    return has(key) ? word<Enum>(key, setting) : otherwise;
  }
  // An object; without any keys if it is absent.
  Keys inner(const char* key) const {
    static const json kNone = json::object();
    if (!has(key)) return {kNone, origin_};
    require<FormatError>(object_[key].is_object(), "{}: the key \"{}\" is not an object", origin_,
                         key);
    return {object_[key], origin_};
  }
  // An option that gda has only one value for.
  template <class T>
  void expect(const char* key, const T& only) const {
    const T value = get<T>(key, only);
    require<FormatError>(value == only, "{}: {} = {} is not supported; gda models have {}", origin_,
                         key, value, only);
  }
  std::string_view origin() const { return origin_; }

 private:
  const json& object_;
  std::string_view origin_;
};

// transformers 4: rope_theta and rope_scaling at the top; 5: both in rope_parameters.
RopeConfig read_rope(const Keys& keys) {
  const bool joined = keys.has("rope_parameters");
  const Keys scaling = keys.inner(joined ? "rope_parameters" : "rope_scaling");
  RopeConfig rope;
  constexpr double kDefaultTheta = 10000;  // of Hugging Face's classes
  rope.theta = (joined && scaling.has("rope_theta") ? scaling : keys)
                   .get<double>("rope_theta", kDefaultTheta);
  const auto older = scaling.get<std::string>("type", "default");
  const auto type = scaling.get<std::string>("rope_type", older);
  if (type == "default") return rope;
  require<FormatError>(type == "llama3",
                       "{}: rope scaling of type \"{}\" is not supported; gda has \"default\" and "
                       "\"llama3\"",
                       keys.origin(), type);
  rope.scaling = RopeScaling{
      .factor = scaling.get<double>("factor"),
      .low_freq_factor = scaling.get<double>("low_freq_factor"),
      .high_freq_factor = scaling.get<double>("high_freq_factor"),
      .original_max_position_embeddings =
          scaling.get<std::int64_t>("original_max_position_embeddings"),
  };
  return rope;
}

void read_query_heads(const Keys& keys, ModelConfig& config) {
  AttentionConfig& a = config.attention;
  a.num_attention_heads = keys.get<std::int64_t>("num_attention_heads");
  a.num_key_value_heads = keys.get<std::int64_t>("num_key_value_heads", a.num_attention_heads);
}

void read_motif_heads(const Keys& keys, ModelConfig& config) {
  keys.expect<std::int64_t>("k_ratio", 1);
  AttentionConfig& a = config.attention;
  const auto heads = keys.get<std::int64_t>("num_attention_heads");
  // Models without the key have one noise head a signal head.
  const bool grouped = keys.has("num_noise_heads");
  require<FormatError>(grouped || heads % 2 == 0,
                       "{}: num_attention_heads = {} is odd, but without num_noise_heads half of "
                       "them are noise heads",
                       keys.origin(), heads);
  a.noise_heads = keys.get<std::int64_t>("num_noise_heads", heads / 2);
  a.signal_heads = heads - a.noise_heads;
  a.num_key_value_heads = keys.get<std::int64_t>("num_key_value_heads", heads);
  a.type = keys.inner("gda").word(
      "attention_type", "attention.type",
      grouped ? AttentionType::grouped_differential : AttentionType::differential);
}

// lambda_init of every layer as Motif's code has it.
std::vector<double> motif_lambda_init(std::int64_t layers) {
  std::vector<double> values;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    values.push_back(0.8 - 0.6 * std::exp(-0.3 * static_cast<double>(layer - 1)));
  }
  return values;
}

std::vector<double> read_lambda_init(const Keys& keys, const ModelConfig& config) {
  if (!keys.has("lambda_init")) return motif_lambda_init(config.num_hidden_layers);
  auto values = keys.get<std::vector<double>>("lambda_init");
  if (!keys.inner("gda").get<bool>("lambda_init_by_formula", false)) return values;
  // The stored values count: the list stays unless the formula gives the very same numbers.
  ModelConfig by_formula = config;
  by_formula.lambda_init.clear();
  for (std::size_t layer = 0; layer < values.size(); ++layer) {
    if (values[layer] != by_formula.lambda_init_of(static_cast<std::int64_t>(layer))) return values;
  }
  return {};
}

void read_common(const Keys& keys, ModelConfig& config) {
  config.hidden_size = keys.get<std::int64_t>("hidden_size");
  config.num_hidden_layers = keys.get<std::int64_t>("num_hidden_layers");
  config.intermediate_size = keys.get<std::int64_t>("intermediate_size");
  config.vocab_size = keys.get<std::int64_t>("vocab_size");
  config.max_position_embeddings = keys.get<std::int64_t>("max_position_embeddings");
  config.hidden_act = keys.word("hidden_act", "hidden_act", Activation::silu);
  config.tie_word_embeddings = keys.get<bool>("tie_word_embeddings", false);
  config.rms_norm_eps = keys.get<double>("rms_norm_eps", 1e-6);
  config.initializer_range = keys.get<double>("initializer_range", 0.02);
  config.attn_rms_norm_eps = keys.inner("gda").get<double>(
      "attn_rms_norm_eps", keys.get<double>("attn_rms_norm_eps", 1e-5));
  config.poly_norm_eps = keys.inner("gda").get<double>("poly_norm_eps", config.poly_norm_eps);
  config.rope = read_rope(keys);
  keys.expect("attention_bias", false);
  keys.expect("mlp_bias", false);
  keys.expect("use_bias", false);
  keys.expect("use_sliding_window", false);
}

std::string architecture_of(const Keys& keys, const json& object) {
  require<FormatError>(keys.has("architectures") && object["architectures"].is_array() &&
                           object["architectures"].size() == 1 &&
                           object["architectures"][0].is_string(),
                       "{}: the key \"architectures\" must name one architecture", keys.origin());
  return object["architectures"][0].get<std::string>();
}

}  // namespace

ModelConfig read_hugging_face_config(std::string_view text, std::string_view origin) {
  const json object = parse_json(text, origin);
  require<FormatError>(object.is_object(), "{} is not a JSON object", origin);
  const Keys keys(object, origin);
  const std::string architecture = architecture_of(keys, object);
  ModelConfig config;
  if (architecture == "LlamaForCausalLM" || architecture == "GdaForCausalLM") {
    const bool llama = architecture == "LlamaForCausalLM";
    config.attention.type =
        llama ? AttentionType::softmax
              : keys.inner("gda").word<AttentionType>("attention_type", "attention.type");
    read_common(keys, config);
    read_query_heads(keys, config);
  } else if (architecture == "MotifForCausalLM") {
    read_common(keys, config);
    read_motif_heads(keys, config);
    config.lambda_init = read_lambda_init(keys, config);
  } else {
    fail<FormatError>(
        "{}: the architecture {} is not supported; gda reads LlamaForCausalLM, MotifForCausalLM "
        "and GdaForCausalLM",
        origin, architecture);
  }
  const auto heads = keys.get<std::int64_t>("num_attention_heads");
  require<FormatError>(heads > 0, "{}: num_attention_heads is {}", origin, heads);
  config.attention.head_dim = keys.get<std::int64_t>("head_dim", config.hidden_size / heads);
  try {
    config.validate();
  } catch (const ConfigError& error) {
    fail<FormatError>("{} describes no model: {}", origin, error.what());
  }
  return config;
}

}  // namespace gda
