// to_json_schema: what an editor needs to complete and check a configuration.
#include <cmath>
#include <nlohmann/json.hpp>

#include "gda/core/config.h"

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

Json text_schema(const FieldInfo& info) {
  Json schema = {{"type", "string"}};
  if (!info.one_of.empty()) schema["enum"] = info.one_of;
  return schema;
}

Json list_schema(Json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}

Json object_schema() {
  return {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
}

Json timeline_schema(const FieldInfo& info) {
  Json point = object_schema();
  point["properties"]["step"] = {{"type", "integer"}, {"minimum", 0}};
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
                           {"properties", {{section, {{"required", {key}}}}}}};
      object_["oneOf"] = {{{"required", {former.key}}}, inside};
    }
    return std::move(object_);
  }

  void field(const FieldInfo& info, bool& value) override {
    add(info, {{"type", "boolean"}}, value);
  }
  void field(const FieldInfo& info, std::int64_t& value) override {
    add(info, with_limits({{"type", "integer"}}, info), value);
  }
  void field(const FieldInfo& info, double& value) override {
    add(info, with_limits({{"type", "number"}}, info), number(value));
  }
  void field(const FieldInfo& info, std::string& value) override {
    add(info, text_schema(info), value);
  }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    add(info, list_schema(with_limits({{"type", "integer"}}, info)), value);
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
    Json texts = list_schema({{"type", "string"}});
    texts["minItems"] = 1;
    add(info, {{"anyOf", {text_schema(info), texts}}},
        value.word.empty() ? Json(value.list) : Json(value.word));
  }
  void field(const FieldInfo& info, std::optional<double>& value) override {
    add(info, with_limits({{"type", {"number", "null"}}}, info),
        value ? number(*value) : Json(nullptr));
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    add(info, with_limits({{"type", {"integer", "null"}}}, info),
        value ? Json(*value) : Json(nullptr));
  }

  void section(const FieldInfo& info, const std::function<void()>& walk) override {
    Json schema = describe(walk);
    // A section with a required key cannot be left out.
    const bool is_required = info.required || schema.contains("required");
    put(info, std::move(schema), is_required);
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
      formers_.push_back({.path = info.formerly, .key = key, .schema = std::move(former)});
      is_required = false;
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
