// A configuration with one field of every kind, for the tests of reading and printing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gda/config/fields.h"
#include "gda/core/error.h"

namespace gda {

struct SampleSource {
  std::string name;
  Timeline weight;
  bool operator==(const SampleSource&) const = default;

  void fields(FieldVisitor& visit) {
    visit.field({.key = "name", .doc = "its name", .required = true}, name);
    visit.field({.key = "weight", .doc = "its share", .minimum = 0}, weight);
  }
};

struct SampleScaling {
  double factor = 8;
  bool operator==(const SampleScaling&) const = default;

  void fields(FieldVisitor& visit) {
    visit.field({.key = "factor", .doc = "a factor", .minimum = 1}, factor);
  }
};

enum class SampleAttention : std::uint8_t { softmax, differential };
template <>
inline constexpr auto kWordsOf<SampleAttention> = words("softmax", "differential");

struct SampleModel {
  std::int64_t hidden_size = 0;
  SampleAttention attention = SampleAttention::softmax;
  std::optional<SampleScaling> scaling;
  bool operator==(const SampleModel&) const = default;

  void fields(FieldVisitor& visit) {
    visit.field({.key = "hidden_size", .doc = "width", .minimum = 1, .required = true},
                hidden_size);
    visit.field({.key = "attention", .doc = "kind"}, attention);
    visit.nested({.key = "scaling", .doc = "of RoPE"}, scaling);
    visit.rule("hidden_size", hidden_size % 2 == 0, "must be even");
  }
};

struct Sample {
  SampleModel model;
  std::vector<SampleSource> sources;
  bool tied = false;
  double lr = 1e-3;
  std::vector<double> betas = {0.9, 0.95};
  std::vector<std::int64_t> sizes;
  std::vector<std::string> prompts;
  WordOrList trained{.word = "all", .list = {}};
  std::optional<double> peak;
  std::optional<std::int64_t> limit = 7;
  bool operator==(const Sample&) const = default;

  void fields(FieldVisitor& visit) {
    visit.nested({.key = "model", .doc = "the model"}, model);
    visit.list_of({.key = "sources", .doc = "some sources"}, sources);
    visit.field({.key = "tied", .doc = "whether"}, tied);
    visit.field({.key = "lr", .doc = "rate", .minimum = 0, .maximum = 1}, lr);
    visit.field({.key = "betas", .doc = "decay rates", .minimum = 0, .maximum = 1}, betas);
    visit.field({.key = "sizes", .doc = "whole numbers", .minimum = 1}, sizes);
    visit.field({.key = "prompts", .doc = "texts"}, prompts);
    visit.field({.key = "trained", .doc = "a word or texts", .one_of = {"all", "new"}}, trained);
    visit.field({.key = "peak", .doc = "may be null", .minimum = 1}, peak);
    visit.field({.key = "limit", .doc = "may be null", .minimum = 0}, limit);
    visit.rule("model.hidden_size", lr < 0.5 || model.hidden_size < 100,
               "too wide for such a rate");
  }
};

inline Sample read_sample(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Sample sample;
  read_yaml(text, "x.yaml", overrides, [&](FieldVisitor& visit) { sample.fields(visit); });
  return sample;
}

// What reading complains about.
inline std::string sample_error(const std::string& text,
                                const std::vector<std::string>& overrides = {}) {
  try {
    read_sample(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

}  // namespace gda
