#include "gda/growth/signal_heads.h"

#include "gda/core/error.h"
#include "growth/head_axes.h"
#include "growth/head_layout.h"

namespace gda {
namespace {

ModelConfig with_signal_heads(const ModelConfig& from, std::int64_t signal_heads) {
  ModelConfig to = from;
  set_head_count(to.attention, signal_heads);
  write_out_lambda_init(from, to);
  to.validate();
  return to;
}

// +N on the even replicas of a head, -N on the odd ones that follow them.
std::vector<ColumnPair> replica_pairs(std::int64_t old_heads, std::int64_t factor,
                                      std::int64_t width) {
  std::vector<ColumnPair> pairs;
  for (std::int64_t head = 0; head < old_heads; ++head) {
    for (std::int64_t copy = 0; copy + 1 < factor; copy += 2) {
      const std::int64_t first = (head * factor + copy) * width;
      pairs.push_back({.plus = first, .minus = first + width, .width = width});
    }
  }
  return pairs;
}

// Each copy's output is weighed by 1/factor, so each copy of q receives that share of the
// gradient; o_proj's columns see the same input and the same gradient of their output as before.
GrowthMap replicate(const ModelConfig& from, std::int64_t factor, double noise_db) {
  const AttentionConfig& old = from.attention;
  GrowthMap map = identity_map(from, with_signal_heads(from, old.signal_heads * factor));
  const double share = 1.0 / static_cast<double>(factor);
  const std::int64_t d = old.head_dim;
  const std::int64_t width = old.value_dim();
  AxisMap q_rows;
  AxisMap o_columns;
  for (std::int64_t head = 0; head < old.signal_heads; ++head) {
    const std::int64_t stripe = head / old.ratio();
    for (std::int64_t copy = 0; copy < factor; ++copy) {
      q_rows.append({.length = d, .source = (head + stripe) * d, .gradient_scale = share});
      o_columns.append({.length = width, .source = head * width, .scale = share});
    }
    const bool ends_stripe = (head + 1) % old.ratio() == 0;
    if (ends_stripe) q_rows.append({.length = d, .source = (head + 1 + stripe) * d});
  }
  for (TensorMap& tensor : map.tensors) {
    TensorStep& step = tensor.steps.front();
    const Role role = tensor.target.role;
    if (role == Role::query) step.rows = q_rows;
    if (role != Role::output) continue;
    step.columns = o_columns;
    step.noise = replica_pairs(old.signal_heads, factor, width);
    step.noise_db = noise_db;
  }
  return map;
}

GrowthMap append_heads(const ModelConfig& from, std::int64_t count) {
  const AttentionConfig& old = from.attention;
  GrowthMap map =
      identity_map(from, with_signal_heads(from, old.signal_heads + count * old.noise_heads));
  const AxisMap q_rows = query_rows(from.attention, map.to.attention);
  const AxisMap o_columns = output_columns(from.attention, map.to.attention);
  for (TensorMap& tensor : map.tensors) {
    TensorStep& step = tensor.steps.front();
    const Role role = tensor.target.role;
    if (role == Role::query) {
      step.rows = q_rows;
      step.fill = tensor.target.init;
    }
    if (role == Role::output) step.columns = o_columns;
  }
  return map;
}

}  // namespace

void SignalHeads::fields(FieldVisitor& visit) {
  visit.field({.key = "factor", .doc = "copies of every signal head", .minimum = 2}, factor);
  visit.field({.key = "add", .doc = "new signal heads for each noise head", .minimum = 1}, add);
  visit.field({.key = "noise_db",
               .doc = "zero-sum noise that breaks the symmetry of replicas, decibels below the "
                      "weights; 0: none",
               .minimum = 0},
              noise_db);
  visit.rule("factor", factor.has_value() != add.has_value(),
             "give either factor (replicate every signal head) or add (new heads for each noise "
             "head)");
}

GrowthMap SignalHeads::map(const ModelConfig& from) const {
  require<ConfigError>(from.attention.is_differential(),
                       "the model's attention is of type {}, which has no signal heads; expected "
                       "differential or grouped_differential",
                       from.attention.type);
  return factor ? replicate(from, *factor, noise_db) : append_heads(from, add.value_or(0));
}

}  // namespace gda
