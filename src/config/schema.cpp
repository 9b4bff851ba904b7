// to_json_schema: what an editor needs to complete and check a configuration.
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "gda/config/fields.h"

namespace gda {
namespace {

using Json = nlohmann::ordered_json;

// Whole numbers without a fraction, as a person would write them.
Json number(double value) {
  constexpr double kExact = 9007199254740992.0;
  if (value == std::floor(value) && std::abs(value) <= kExact) {
    return static_cast<std::int64_t>(value);
  }
  return value;
}

Json with_limits(Json schema, const FieldInfo& info) {
  if (std::isfinite(info.minimum)) schema["minimum"] = number(info.minimum);
  if (std::isfinite(info.maximum)) schema["maximum"] = number(info.maximum);
  return schema;
}

// Whole numbers are read as 64 bits.
Json integer_schema(const FieldInfo& info) {
  return with_limits({{"type", "integer"},
                      {"minimum", std::numeric_limits<std::int64_t>::min()},
                      {"maximum", std::numeric_limits<std::int64_t>::max()}},
                     info);
}

Json or_null(Json schema) {
  schema["type"] = {schema["type"], "null"};
  return schema;
}

// Free text need not be quoted where YAML takes it for a number or a truth value.
Json text_schema(const FieldInfo& info) {
  if (info.one_of.empty()) return {{"type", {"string", "number", "boolean"}}};
  return {{"type", "string"}, {"enum", info.one_of}};
}

Json list_schema(Json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}

Json object_schema() {
  return {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
}

Json timeline_schema(const FieldInfo& info) {
  Json point = object_schema();
  point["properties"]["step"] = integer_schema({.key = "step", .doc = "step from 0", .minimum = 0});
  point["properties"]["value"] = with_limits({{"type", "number"}}, info);
  point["required"] = {"step", "value"};
  Json points = list_schema(point);
  points["minItems"] = 1;
  return {{"anyOf", {with_limits({{"type", "number"}}, info), points}}};
}

class Describer : public FieldVisitor {
 public:
  // The schema of everything visited. Fields with a former name may be given by either.
  Json take() {
    for (const Former& former : formers_) {
      const std::size_t dot = former.path.find('.');
      const std::string section(former.path.substr(0, dot));
      const std::string key(former.path.substr(dot + 1));
      object_["properties"][section]["properties"][key] = former.schema;
      const Json inside = {{"required", {section}},
                           {"properties", {{section, {{"type", "object"}, {"required", {key}}}}}}};
      object_["oneOf"] = {{{"required", {former.key}}}, inside};
    }
    return std::move(object_);
  }

  void field(const FieldInfo& info, bool& value) override {
    add(info, {{"type", "boolean"}}, value);
  }
  void field(const FieldInfo& info, std::int64_t& value) override {
    add(info, integer_schema(info), value);
  }
  void field(const FieldInfo& info, double& value) override {
    add(info, with_limits({{"type", "number"}}, info), number(value));
  }
  void field(const FieldInfo& info, std::string& value) override {
    add(info, text_schema(info), value);
  }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    add(info, list_schema(integer_schema(info)), value);
  }
  void field(const FieldInfo& info, std::vector<double>& value) override {
    add(info, list_schema(with_limits({{"type", "number"}}, info)), value);
  }
  void field(const FieldInfo& info, std::vector<std::string>& value) override {
    add(info, list_schema(text_schema(info)), value);
  }
  void field(const FieldInfo& info, Timeline& value) override {
    add(info, timeline_schema(info), number(value.points.front().value));
  }
  void field(const FieldInfo& info, WordOrList& value) override {
    Json texts = list_schema(text_schema({.key = info.key, .doc = info.doc}));
    texts["minItems"] = 1;
    add(info, {{"anyOf", {text_schema(info), texts}}},
        value.word.empty() ? Json(value.list) : Json(value.word));
  }
  void field(const FieldInfo& info, std::optional<double>& value) override {
    add(info, or_null(with_limits({{"type", "number"}}, info)),
        value ? number(*value) : Json(nullptr));
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    add(info, or_null(integer_schema(info)), value ? Json(*value) : Json(nullptr));
  }

  void variant(const FieldInfo& info, std::string& /*word*/,
               const std::function<void(const std::string&)>& walk) override {
    Json kinds = Json::array();
    for (const std::string& kind : info.one_of) {
      kinds.push_back(describe([&] {
        FieldInfo only = info;
        only.one_of = {kind};
        put(only, text_schema(only), info.required);
        walk(kind);
      }));
    }
    object_ = {{"anyOf", std::move(kinds)}};
  }

  void section(const FieldInfo& info, const std::function<void()>& walk) override {
    Json schema = describe(walk);
    // A section with a required key cannot be left out; another one may have nothing under it.
    const bool needs_keys = schema.contains("required");
    put(info, needs_keys ? std::move(schema) : or_null(std::move(schema)),
        info.required || needs_keys);
  }
  void optional_section(const FieldInfo& info, bool& /*present*/,
                        const std::function<void()>& walk) override {
    Json null = {{"type", "null"}};
    put(info, {{"anyOf", {null, describe(walk)}}}, info.required);
  }
  void list(const FieldInfo& info, const std::function<std::size_t()>& size,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(std::size_t)>& walk) override {
    // One more element for as long as it takes to see an element's fields.
    const std::size_t count = size();
    resize(count + 1);
    Json items = describe([&] { walk(count); });
    resize(count);
    put(info, list_schema(std::move(items)), info.required);
  }

 private:
  // A field at the root that was in a section.
  struct Former {
    std::string_view path;
    std::string key;
    Json schema;
  };

  Json describe(const std::function<void()>& walk) {
    Json outer = std::move(object_);
    object_ = object_schema();
    walk();
    Json inner = std::move(object_);
    object_ = std::move(outer);
    return inner;
  }

  void add(const FieldInfo& info, Json schema, const Json& preset) {
    if (!info.required) schema["default"] = preset;
    put(info, std::move(schema), info.required);
  }

  void put(const FieldInfo& info, Json schema, bool is_required) {
    const std::string key(info.key);
    schema["description"] = std::string(info.doc);
    if (!info.formerly.empty()) {
      Json former = schema;
      former["description"] = "now " + key;
      former["deprecated"] = true;
      if (info.formerly.find('.') == std::string_view::npos) {
        object_["properties"][std::string(info.formerly)] = std::move(former);
        object_["not"]["anyOf"].push_back({{"required", {key, std::string(info.formerly)}}});
      } else {
        formers_.push_back({.path = info.formerly, .key = key, .schema = std::move(former)});
        is_required = false;
      }
    }
    object_["properties"][key] = std::move(schema);
    if (is_required) object_["required"].push_back(key);
  }

  Json object_ = object_schema();
  std::vector<Former> formers_;
};

}  // namespace

std::string to_json_schema(std::string_view title, const FieldWalk& root) {
  Describer describer;
  root(describer);
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", std::string(title)}};
  schema.update(describer.take());
  return schema.dump(2);
}

}  // namespace gda
