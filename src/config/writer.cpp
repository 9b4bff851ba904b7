// to_yaml: every field, one a line.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/constraints.h"
#include "config/scalars.h"
#include "gda/core/shell.h"

namespace gda {
namespace {

// Letters that never need quotes, wherever they stand in a word.
bool is_plain_letter(char c) {
  const bool is_alphanumeric =
      (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return is_alphanumeric || c == '_' || c == '/' || c == '.' || c == '-';
}

bool is_plain(const std::string& text) {
  return !text.empty() && text.front() != '-' && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), is_plain_letter) &&
         !config::is_reserved_word(text) && !config::parse_number(text);
}

std::string scalar(const std::string& text) {
  if (is_plain(text)) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}
std::string scalar(bool value) {
  return value ? "true" : "false";
}
std::string scalar(std::int64_t value) {
  return fmt::format("{}", value);
}
std::string scalar(double value) {
  std::string text = config::number_text(value);
  // YAML 1.1 readers take 1e-08 for text; they want a point.
  const std::size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(exponent, ".0");
  }
  return text;
}

template <class T>
std::string flow_list(const std::vector<T>& values) {
  std::vector<std::string> parts;
  parts.reserve(values.size());
  for (const T& value : values) parts.push_back(scalar(value));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

class Writer : public FieldVisitor {
 public:
  std::string take() { return std::move(text_); }

  void field(const FieldInfo& info, bool& value) override { line(info, scalar(value)); }
  void field(const FieldInfo& info, std::int64_t& value) override { line(info, scalar(value)); }
  void field(const FieldInfo& info, double& value) override { line(info, scalar(value)); }
  void field(const FieldInfo& info, std::string& value) override {
    line(info, scalar(info.is_path ? unexpanded_path(value) : value));
  }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    line(info, flow_list(value));
  }
  void field(const FieldInfo& info, std::vector<double>& value) override {
    line(info, flow_list(value));
  }
  void field(const FieldInfo& info, std::vector<std::string>& value) override {
    line(info, flow_list(value));
  }
  void field(const FieldInfo& info, Timeline& value) override {
    if (value.points.size() == 1 && value.points.front().step == 0) {
      line(info, scalar(value.points.front().value));
      return;
    }
    std::vector<std::string> points;
    points.reserve(value.points.size());
    for (const Timeline::Point& point : value.points) {
      points.push_back(fmt::format("{{step: {}, value: {}}}", point.step, scalar(point.value)));
    }
    line(info, fmt::format("[{}]", fmt::join(points, ", ")));
  }
  void field(const FieldInfo& info, WordOrList& value) override {
    line(info, value.word.empty() ? flow_list(value.list) : scalar(value.word));
  }
  void field(const FieldInfo& info, std::optional<double>& value) override {
    line(info, value ? scalar(*value) : "null");
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    line(info, value ? scalar(*value) : "null");
  }

  void section(const FieldInfo& info, const std::function<void()>& walk) override {
    line(info, "");
    descend(walk);
  }
  void optional_section(const FieldInfo& info, bool& present,
                        const std::function<void()>& walk) override {
    if (present) {
      section(info, walk);
    } else {
      line(info, "null");
    }
  }
  void list(const FieldInfo& info, const std::function<std::size_t()>& size,
            const std::function<void(std::size_t)>& /*resize*/,
            const std::function<void(std::size_t)>& walk) override {
    line(info, size() == 0 ? "[]" : "");
    for (std::size_t i = 0; i < size(); ++i) {
      // The first line of an element carries its dash, two columns to the left of its keys.
      dash_ = true;
      descend([&] { descend([&] { walk(i); }); });
      dash_ = false;
    }
  }

 private:
  void line(const FieldInfo& info, const std::string& value) {
    std::string indent(2 * depth_, ' ');
    if (dash_) indent[indent.size() - 2] = '-';
    dash_ = false;
    text_ += fmt::format("{}{}:{}{}\n", indent, info.key, value.empty() ? "" : " ", value);
  }
  void descend(const std::function<void()>& walk) {
    ++depth_;
    walk();
    --depth_;
  }

  std::string text_;
  std::size_t depth_ = 0;
  bool dash_ = false;
};

}  // namespace

std::string to_yaml(const FieldWalk& root) {
  Writer writer;
  root(writer);
  return writer.take();
}

}  // namespace gda
