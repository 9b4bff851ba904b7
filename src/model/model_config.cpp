#include "gda/model/model_config.h"

#include <fmt/format.h>

#include <cmath>

#include "gda/core/text.h"

namespace gda {
namespace {

// Token ids, positions and extents of one dimension are 32-bit integers on the devices.
constexpr double kMaxExtent = 2147483647;

void scaling_fields(RopeScaling& scaling, FieldVisitor& visit) {
  visit.field(
      {.key = "factor", .doc = "factor by which low frequencies are slowed down", .minimum = 1},
      scaling.factor);
  visit.field(
      {.key = "low_freq_factor",
       .doc =
           "wavelengths above original_max_position_embeddings / this are slowed down by `factor`",
       .minimum = 1e-6},
      scaling.low_freq_factor);
  visit.field({.key = "high_freq_factor",
               .doc = "wavelengths below original_max_position_embeddings / this are unchanged",
               .minimum = 1e-6},
              scaling.high_freq_factor);
  visit.field({.key = "original_max_position_embeddings",
               .doc = "context length before the extension, tokens",
               .minimum = 1,
               .maximum = kMaxExtent},
              scaling.original_max_position_embeddings);
  visit.rule("high_freq_factor", scaling.high_freq_factor > scaling.low_freq_factor,
             fmt::format("{} must be greater than low_freq_factor, which is {}",
                         scaling.high_freq_factor, scaling.low_freq_factor));
}

// softmax and differential_v2: query heads share key heads as in grouped-query attention.
void query_head_rules(const AttentionConfig& a, FieldVisitor& visit) {
  const auto foreign = [&](std::string_view key, std::int64_t value) {
    visit.rule(key, value == 0,
               fmt::format("{} given, but attention of type {} has num_attention_heads instead; "
                           "remove this key",
                           value, a.type));
  };
  foreign("signal_heads", a.signal_heads);
  foreign("noise_heads", a.noise_heads);
  visit.rule("num_attention_heads", a.num_attention_heads > 0,
             fmt::format("missing: attention of type {} needs it", a.type));
  visit.rule("num_key_value_heads", a.num_key_value_heads > 0,
             fmt::format("missing: attention of type {} needs it", a.type));
  if (a.num_attention_heads == 0 || a.num_key_value_heads == 0) return;
  visit.rule("num_attention_heads", a.num_attention_heads % a.num_key_value_heads == 0,
             fmt::format("{} is not a multiple of num_key_value_heads, which is {}",
                         a.num_attention_heads, a.num_key_value_heads));
}

// differential and grouped_differential: signal heads are dealt to noise heads, noise heads to
// groups that share one K and V.
void signal_head_rules(const AttentionConfig& a, FieldVisitor& visit) {
  visit.rule("num_attention_heads", a.num_attention_heads == 0,
             fmt::format("{} given, but attention of type {} has signal_heads and noise_heads "
                         "instead; remove this key",
                         a.num_attention_heads, a.type));
  const auto needed = [&](std::string_view key, std::int64_t value) {
    visit.rule(key, value > 0, fmt::format("missing: attention of type {} needs it", a.type));
  };
  needed("signal_heads", a.signal_heads);
  needed("noise_heads", a.noise_heads);
  needed("num_key_value_heads", a.num_key_value_heads);
  if (a.signal_heads == 0 || a.noise_heads == 0 || a.num_key_value_heads == 0) return;
  if (a.type == AttentionType::differential) {
    visit.rule("signal_heads", a.signal_heads == a.noise_heads,
               fmt::format("{} must equal noise_heads, which is {}, for attention of type "
                           "differential; for other ratios use type grouped_differential",
                           a.signal_heads, a.noise_heads));
  } else {
    visit.rule("signal_heads", a.signal_heads % a.noise_heads == 0,
               fmt::format("{} is not a multiple of noise_heads, which is {} (the ratio of signal "
                           "to noise heads is a whole number)",
                           a.signal_heads, a.noise_heads));
  }
  if (a.num_key_value_heads % 2 != 0) {
    visit.rule("num_key_value_heads", false,
               fmt::format("{} is odd; it counts one signal and one noise head a group",
                           a.num_key_value_heads));
    return;
  }
  visit.rule("noise_heads", a.noise_heads % a.kv_groups() == 0,
             fmt::format("{} is not a multiple of the number of groups, which is "
                         "num_key_value_heads / 2 = {}",
                         a.noise_heads, a.kv_groups()));
}

// N without the embedding table as a lookup. The output projection is counted, tied or not.
double multiplied_parameters(const ModelConfig& config) {
  const AttentionConfig& a = config.attention;
  const auto hidden = static_cast<double>(config.hidden_size);
  double attention = hidden * static_cast<double>(a.q_size() + a.k_size() + a.v_size());
  attention += hidden * static_cast<double>(a.out_size());
  if (a.is_differential()) attention += static_cast<double>(4 * a.head_dim + 2 * a.head_dim);
  if (a.type == AttentionType::differential_v2)
    attention += hidden * static_cast<double>(a.num_attention_heads);
  double mlp = 3 * hidden * static_cast<double>(config.intermediate_size);
  if (config.hidden_act == Activation::poly_norm) mlp += 4;
  const double layer = attention + mlp + 2 * hidden;
  return static_cast<double>(config.num_hidden_layers) * layer + hidden +
         hidden * static_cast<double>(config.vocab_size);
}

}  // namespace

void RopeConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "theta", .doc = "base of the rotary frequencies", .minimum = 1}, theta);
  bool present = scaling.has_value();
  RopeScaling values = scaling.value_or(RopeScaling{});
  visit.optional_section(
      {.key = "scaling", .doc = "Llama 3.1's scaling of low frequencies; null: none"}, present,
      [&] { scaling_fields(values, visit); });
  scaling = present ? std::optional<RopeScaling>(values) : std::nullopt;
}

std::int64_t AttentionConfig::kv_groups() const {
  return is_differential() ? num_key_value_heads / 2 : num_key_value_heads;
}

std::int64_t AttentionConfig::q_size() const {
  if (is_differential()) return (signal_heads + noise_heads) * head_dim;
  return (type == AttentionType::differential_v2 ? 2 : 1) * num_attention_heads * head_dim;
}

std::int64_t AttentionConfig::k_size() const {
  return num_key_value_heads * head_dim;
}

std::int64_t AttentionConfig::v_size() const {
  return kv_groups() * value_dim();
}

std::int64_t AttentionConfig::out_size() const {
  return (is_differential() ? signal_heads : num_attention_heads) * value_dim();
}

void AttentionConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "type", .doc = "type of attention"}, type);
  visit.field({.key = "head_dim",
               .doc = "width of a query or key head",
               .minimum = 2,
               .maximum = kMaxExtent},
              head_dim);
  visit.field(
      {.key = "num_attention_heads",
       .doc = "query heads of softmax and differential_v2 (there, heads after the subtraction)",
       .minimum = 0,
       .maximum = kMaxExtent},
      num_attention_heads);
  visit.field({.key = "signal_heads",
               .doc = "signal query heads of differential and grouped_differential: a multiple of "
                      "noise_heads",
               .minimum = 0,
               .maximum = kMaxExtent},
              signal_heads);
  visit.field({.key = "noise_heads",
               .doc = "noise query heads of differential and grouped_differential: a multiple of "
                      "num_key_value_heads / 2",
               .minimum = 0,
               .maximum = kMaxExtent},
              noise_heads);
  visit.field(
      {.key = "num_key_value_heads",
       .doc = "key-value heads; differential and grouped_differential: signal and noise heads "
              "together, two a group",
       .minimum = 0,
       .maximum = kMaxExtent},
      num_key_value_heads);
  visit.rule("head_dim", head_dim % 2 == 0,
             fmt::format("{} is odd; rotary embedding turns pairs of channels", head_dim));
  if (is_differential()) {
    signal_head_rules(*this, visit);
  } else {
    query_head_rules(*this, visit);
  }
}

void ModelConfig::fields(FieldVisitor& visit) {
  const auto size = [&](std::string_view key, std::string_view doc, std::int64_t& value) {
    visit.field({.key = key, .doc = doc, .minimum = 1, .maximum = kMaxExtent, .required = true},
                value);
  };
  size("hidden_size", "width of the residual stream", hidden_size);
  size("num_hidden_layers", "decoder layers", num_hidden_layers);
  size("intermediate_size", "width inside the feed-forward block", intermediate_size);
  size("vocab_size", "rows of the embedding; every token id is below it", vocab_size);
  visit.field({.key = "max_position_embeddings",
               .doc = "longest sequence, tokens",
               .minimum = 1,
               .maximum = kMaxExtent},
              max_position_embeddings);
  visit.field(
      {.key = "hidden_act",
       .doc = "activation of the feed-forward gate: silu as in SwiGLU, or poly_norm as in Motif"},
      hidden_act);
  visit.field({.key = "tie_word_embeddings",
               .doc = "the output projection shares the weights of the embedding"},
              tie_word_embeddings);
  visit.field({.key = "rms_norm_eps", .doc = "epsilon of RMSNorm", .minimum = 1e-30}, rms_norm_eps);
  visit.field({.key = "poly_norm_eps", .doc = "epsilon of PolyNorm", .minimum = 1e-30},
              poly_norm_eps);
  visit.field({.key = "attn_rms_norm_eps",
               .doc = "epsilon of the RMSNorm of each head after the subtraction",
               .minimum = 1e-30},
              attn_rms_norm_eps);
  visit.field({.key = "initializer_range",
               .doc = "standard deviation of the initial matrices",
               .minimum = 1e-12},
              initializer_range);
  visit.nested({.key = "rope", .doc = "rotary position embedding"}, rope);
  visit.nested({.key = "attention", .doc = "attention layers", .required = true}, attention);
  visit.field(
      {.key = "lambda_init",
       .doc = "lambda_init of each layer; empty: 0.8 - 0.6 exp(-0.3 l) for layer l, counted from 0",
       .minimum = -1,
       .maximum = 0.999},
      lambda_init);
  visit.rule("lambda_init", lambda_init.empty() || attention.is_differential(),
             fmt::format("given, but attention of type {} has no lambda_init; remove this key",
                         attention.type));
  visit.rule(
      "lambda_init",
      lambda_init.empty() || static_cast<std::int64_t>(lambda_init.size()) == num_hidden_layers,
      fmt::format("{} for num_hidden_layers = {}; give one a layer, or none",
                  counted(lambda_init.size(), "value"), num_hidden_layers));
}

void ModelConfig::validate() const {
  ModelConfig copy = *this;
  check_fields("model", [&](FieldVisitor& visit) { copy.fields(visit); });
}

double ModelConfig::lambda_init_of(std::int64_t layer) const {
  if (!lambda_init.empty()) return lambda_init.at(static_cast<std::size_t>(layer));
  return 0.8 - 0.6 * std::exp(-0.3 * static_cast<double>(layer));
}

FlopsPerToken training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length) {
  const AttentionConfig& a = config.attention;
  const double scores_and_values = static_cast<double>(2 * a.head_dim + 2 * a.value_dim());
  const double core = static_cast<double>(config.num_hidden_layers) *
                      static_cast<double>(a.query_heads()) * scores_and_values *
                      static_cast<double>(sequence_length);
  const double matmul = 6 * multiplied_parameters(config);
  return {.full = matmul + 3 * core, .causal = matmul + 3 * core / 2};
}

}  // namespace gda
