#include "growth/tensor_role.h"

#include <string>

#include "gda/core/error.h"
#include "gda/model/parameters.h"

namespace gda {
namespace {

struct NamedRole {
  std::string_view suffix;
  Role role;
};

constexpr NamedRole kRoles[] = {
    {"embed_tokens.weight", Role::embedding},
    {"input_layernorm.weight", Role::norm},
    {"post_attention_layernorm.weight", Role::norm},
    {"q_proj.weight", Role::query},
    {"k_proj.weight", Role::key},
    {"v_proj.weight", Role::value},
    {"lambda_proj.weight", Role::lambda_projection},
    {"o_proj.weight", Role::output},
    {"lambda_q1", Role::head_vector},
    {"lambda_k1", Role::head_vector},
    {"lambda_q2", Role::head_vector},
    {"lambda_k2", Role::head_vector},
    {"subln.weight", Role::head_vector},
    {"gate_proj.weight", Role::gate},
    {"up_proj.weight", Role::up},
    {"down_proj.weight", Role::down},
    {"act_fn.weight", Role::activation_weight},
    {"act_fn.bias", Role::activation_bias},
    {kFinalNormName, Role::final_norm},
    {kHeadName, Role::head},
};

}  // namespace

Role role_of(std::string_view parameter) {
  for (const NamedRole& named : kRoles) {
    if (parameter.ends_with(named.suffix)) return named.role;
  }
  fail<FormatError>("growth does not know what the parameter {} is for", parameter);
}

bool reads_hidden(Role role) {
  switch (role) {
    case Role::query:
    case Role::key:
    case Role::value:
    case Role::lambda_projection:
    case Role::gate:
    case Role::up:
    case Role::head:
      return true;
    default:
      return false;
  }
}

bool writes_hidden(Role role) {
  return role == Role::output || role == Role::down;
}

HeadLayout head_layout(const AttentionConfig& attention) {
  if (attention.is_differential()) {
    return {.stripes = attention.noise_heads,
            .heads = attention.ratio(),
            .query_rows = attention.head_dim,
            .noise_rows = attention.head_dim,
            .output_width = attention.value_dim()};
  }
  // differential_v2 subtracts neighbouring heads of q_proj, which share their key head.
  const std::int64_t queries = attention.type == AttentionType::differential_v2 ? 2 : 1;
  return {.stripes = attention.num_key_value_heads,
          .heads = attention.num_attention_heads / attention.num_key_value_heads,
          .query_rows = queries * attention.head_dim,
          .noise_rows = 0,
          .output_width = attention.value_dim()};
}

std::string_view heads_key(const AttentionConfig& attention) {
  return attention.is_differential() ? "signal_heads" : "num_attention_heads";
}

std::int64_t head_count(const AttentionConfig& attention) {
  return attention.is_differential() ? attention.signal_heads : attention.num_attention_heads;
}

void set_head_count(AttentionConfig& attention, std::int64_t heads) {
  (attention.is_differential() ? attention.signal_heads : attention.num_attention_heads) = heads;
  if (attention.is_differential() && heads != attention.noise_heads) {
    attention.type = AttentionType::grouped_differential;
  }
}

void write_out_lambda_init(const ModelConfig& from, ModelConfig& to) {
  if (!from.attention.is_differential()) return;
  to.lambda_init.clear();
  for (std::int64_t layer = 0; layer < from.num_hidden_layers; ++layer) {
    to.lambda_init.push_back(from.lambda_init_of(layer));
  }
}

}  // namespace gda
