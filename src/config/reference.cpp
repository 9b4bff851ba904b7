// to_reference: what a person looks up.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "config/constraints.h"
#include "gda/config/fields.h"

namespace gda {
namespace {

// "data.sources[]" is "#datasources": as GitHub makes anchors of headings.
std::string anchor(std::string title) {
  std::erase_if(title, [](char c) { return c == '.' || c == '[' || c == ']' || c == '`'; });
  std::replace(title.begin(), title.end(), ' ', '-');
  return title;
}

// Text in which Markdown takes no letter for its own.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '*' || c == '|' || c == '<') result += '\\';
    result += c;
  }
  return result;
}

std::string code(std::string_view text) {
  return fmt::format("`{}`", text);
}

std::string codes(const std::vector<std::string>& words) {
  std::vector<std::string> parts;
  parts.reserve(words.size());
  for (const std::string& word : words) parts.push_back(code(word));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// "integer, 1 to 8"; "number, at least 0".
std::string number_type(std::string type, const FieldInfo& info) {
  const bool has_least = std::isfinite(info.minimum);
  // Larger ones are there for the arithmetic, not for the reader.
  const bool has_most = info.maximum < std::numeric_limits<std::int32_t>::max();
  const std::string least = config::number_text(info.minimum);
  const std::string most = config::number_text(info.maximum);
  if (has_least && has_most) return fmt::format("{}, {} to {}", type, least, most);
  if (has_least) return fmt::format("{}, at least {}", type, least);
  return has_most ? fmt::format("{}, at most {}", type, most) : type;
}

std::string text_type(const FieldInfo& info) {
  if (!info.one_of.empty()) return codes(info.one_of);
  return info.is_path ? "path" : "text";
}

template <class T>
std::string list_default(const std::vector<T>& values) {
  return code(fmt::format("[{}]", fmt::join(values, ", ")));
}

class ReferenceWriter : public FieldVisitor {
 public:
  std::string take() {
    std::string text;
    for (const Section& section : sections_) text += section.str();
    return text;
  }

  void field(const FieldInfo& info, bool& value) override {
    row(info, "`true`, `false`", code(value ? "true" : "false"));
  }
  void field(const FieldInfo& info, std::int64_t& value) override {
    row(info, number_type("integer", info), code(fmt::format("{}", value)));
  }
  void field(const FieldInfo& info, double& value) override {
    row(info, number_type("number", info), code(config::number_text(value)));
  }
  void field(const FieldInfo& info, std::string& value) override {
    row(info, text_type(info), value.empty() ? "empty" : code(value));
  }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    row(info, number_type("list of integers", info), list_default(value));
  }
  void field(const FieldInfo& info, std::vector<double>& value) override {
    row(info, number_type("list of numbers", info), list_default(value));
  }
  void field(const FieldInfo& info, std::vector<std::string>& value) override {
    row(info, "list of texts", list_default(value));
  }
  void field(const FieldInfo& info, Timeline& value) override {
    row(info, number_type("number or list of `{step, value}`", info),
        code(config::number_text(value.points.front().value)));
  }
  void field(const FieldInfo& info, WordOrList& value) override {
    row(info, codes(info.one_of) + " or list of texts",
        value.word.empty() ? list_default(value.list) : code(value.word));
  }
  void field(const FieldInfo& info, std::optional<double>& value) override {
    row(info, number_type("number or `null`", info),
        code(value ? config::number_text(*value) : "null"));
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    row(info, number_type("integer or `null`", info),
        code(value ? fmt::format("{}", *value) : "null"));
  }

  void variant(const FieldInfo& info, std::string& /*word*/,
               const std::function<void(const std::string&)>& walk) override {
    row(info, codes(info.one_of), "");
    for (const std::string& word : info.one_of) {
      describe(fmt::format("{}, {}: {}", sections_[current_].title, info.key, word), {},
               [&] { walk(word); });
    }
  }

  void section(const FieldInfo& info, const std::function<void()>& walk) override {
    describe(linked_row(info, info.key, "section", ""), info.doc, walk);
  }
  void optional_section(const FieldInfo& info, bool& /*present*/,
                        const std::function<void()>& walk) override {
    describe(linked_row(info, info.key, "section or `null`", "`null`"), info.doc, walk);
  }
  void list(const FieldInfo& info, const std::function<std::size_t()>& size,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(std::size_t)>& walk) override {
    const std::string title =
        linked_row(info, std::string(info.key) + "[]", "list of sections", "`[]`");
    // One more element for as long as it takes to see an element's fields.
    const std::size_t count = size();
    resize(count + 1);
    describe(title, info.doc, [&] { walk(count); });
    resize(count);
  }

 private:
  struct Section {
    std::string title;
    std::string doc = {};
    std::vector<std::string> rows = {};

    std::string str() const {
      std::string text = title.empty() ? "" : fmt::format("\n## {}\n", title);
      if (!doc.empty()) text += fmt::format("\n{}\n", sentence(doc));
      if (rows.empty()) return text + "\nNo keys.\n";
      text += "\n| key | type | default | meaning |\n|---|---|---|---|\n";
      for (const std::string& line : rows) text += line;
      return text;
    }
  };

  static std::string sentence(const std::string& doc) {
    std::string text = escaped(doc);
    if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
    return text + ".";
  }

  void row(const FieldInfo& info, const std::string& type, const std::string& preset) {
    std::string doc(info.doc);
    if (!info.formerly.empty()) doc += fmt::format(" (formerly `{}`)", info.formerly);
    add_row(code(info.key), type, info.required ? "required" : preset, doc);
  }

  // A row that leads to the section of its own keys; returns that section's title.
  std::string linked_row(const FieldInfo& info, std::string_view title, const std::string& type,
                         const std::string& preset) {
    std::string path = config::join_path(sections_[current_].title, title);
    add_row(fmt::format("[`{}`](#{})", info.key, anchor(path)), type,
            info.required ? "required" : preset, std::string(info.doc));
    return path;
  }

  void add_row(const std::string& key, const std::string& type, const std::string& preset,
               const std::string& doc) {
    sections_[current_].rows.push_back(
        fmt::format("| {} | {} | {} | {} |\n", key, type, preset, escaped(doc)));
  }

  void describe(const std::string& title, std::string_view doc, const std::function<void()>& walk) {
    const std::size_t outer = current_;
    current_ = sections_.size();
    sections_.push_back({.title = title, .doc = std::string(doc)});
    walk();
    current_ = outer;
  }

  std::vector<Section> sections_{{.title = {}}};
  std::size_t current_ = 0;
};

}  // namespace

std::string to_reference(const FieldWalk& root) {
  ReferenceWriter writer;
  root(writer);
  return writer.take();
}

}  // namespace gda
