#include "gda/growth/growth_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "growth/head_layout.h"

namespace gda {
namespace {

std::vector<std::string> operator_names() {
  std::vector<std::string> names;
  for_each_operator([&](const auto& operation) { names.emplace_back(operation.kName); });
  return names;
}

}  // namespace

std::string_view GrowthStep::name() const {
  return std::visit([](const auto& chosen) { return chosen.kName; }, operation);
}

void GrowthStep::fields(FieldVisitor& visit) {
  std::string chosen(name());
  visit.variant({.key = "operator",
                 .doc = "how the model grows",
                 .one_of = operator_names(),
                 .required = true},
                chosen, [&](const std::string& word) {
                  for_each_operator([&](const auto& other) {
                    if (other.kName == word && other.kName != name()) operation = other;
                  });
                  std::visit([&](auto& options) { options.fields(visit); }, operation);
                });
}

GrowthMap GrowthStep::map(const ModelConfig& from) const {
  GrowthStep copy = *this;
  check_fields("", [&](FieldVisitor& visit) { copy.fields(visit); });
  GrowthMap map = std::visit([&](const auto& options) { return options.map(from); }, operation);
  check_sizes(map);
  return map;
}

void ModelExpectation::fields(FieldVisitor& visit) {
  const auto number = [&](std::string_view key, std::string_view doc,
                          std::optional<std::int64_t>& value) {
    visit.field({.key = key, .doc = doc, .minimum = 1}, value);
  };
  number("parameters", "of the complete model", parameters);
  number("hidden_size", "width of the residual stream", hidden_size);
  number("intermediate_size", "feed-forward units", intermediate_size);
  number("num_hidden_layers", "decoder layers", num_hidden_layers);
  number("heads", "query heads (signal heads of the differential types)", heads);
  number("num_key_value_heads", "key-value heads", num_key_value_heads);
  number("vocab_size", "rows of the embedding", vocab_size);
}

void ModelExpectation::check(std::string_view where, const ModelConfig& model) const {
  std::vector<std::string> differences;
  const auto compare = [&](std::string_view key, const std::optional<std::int64_t>& expected,
                           std::int64_t found) {
    if (!expected || *expected == found) return;
    differences.push_back(fmt::format("{} {} (expected {})", key, found, *expected));
  };
  compare("parameters", parameters, parameter_count(model));
  compare("hidden_size", hidden_size, model.hidden_size);
  compare("intermediate_size", intermediate_size, model.intermediate_size);
  compare("num_hidden_layers", num_hidden_layers, model.num_hidden_layers);
  compare("heads", heads, head_count(model.attention));
  compare("num_key_value_heads", num_key_value_heads, model.attention.num_key_value_heads);
  compare("vocab_size", vocab_size, model.vocab_size);
  require<ConfigError>(differences.empty(), "{}: {}", where, fmt::join(differences, ", "));
}

void GrowthPlan::fields(FieldVisitor& visit) {
  visit.nested(
      {.key = "from", .doc = "model that the plan is for; the keys that are given are checked"},
      from);
  visit.nested(
      {.key = "to", .doc = "model that the plan must produce; the keys that are given are checked"},
      to);
  visit.list_of({.key = "steps", .doc = "operators, applied in this order", .required = true},
                steps);
  visit.rule("steps", !steps.empty(), "empty; give at least one {operator: ...}");
}

GrowthMap GrowthPlan::map(const ModelConfig& model) const {
  require<ConfigError>(!steps.empty(), "a growth plan needs at least one step");
  from.check("the plan is for another model: this one has", model);
  std::optional<GrowthMap> whole;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    try {
      const GrowthMap next = steps[i].map(whole ? whole->to : model);
      whole = whole ? compose(*whole, next) : next;
    } catch (const ConfigError& error) {
      fail<ConfigError>("step {} of {} ({}): {}", i + 1, steps.size(), steps[i].name(),
                        error.what());
    }
  }
  to.check("the plan does not make the model that it names: what comes out has", whole->to);
  return *whole;
}

GrowthPlan load_growth_plan(const std::filesystem::path& path) {
  std::string text;
  try {
    text = read_text_input(path);
  } catch (const IoError& error) {
    fail<ConfigError>("growth plan: {}", error.what());
  }
  GrowthPlan plan;
  read_yaml(text, path.string(), {}, [&](FieldVisitor& visit) { plan.fields(visit); });
  return plan;
}

}  // namespace gda
