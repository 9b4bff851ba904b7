// Configuration as data: each struct lists its fields once, and reading YAML, overrides, printing,
// comparing, JSON Schema and documentation all walk that list.
//
//   struct ScheduleConfig {
//     ScheduleName name = ScheduleName::wsd;  // an enum with words (words.h)
//     std::int64_t warmup_steps = 0;
//     void fields(FieldVisitor& visit) {
//       visit.field({.key = "name", .doc = "shape"}, name);
//       visit.field({.key = "warmup_steps", .doc = "linear, steps", .minimum = 0}, warmup_steps);
//     }
//   };
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gda/core/words.h"

namespace gda {

// What is known of a field apart from its C++ type.
struct FieldInfo {
  std::string_view key;
  std::string_view doc;               // one line, with the unit
  std::vector<std::string> one_of{};  // allowed values of a string; empty: any
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool required = false;  // must be given; has no default
  bool is_path = false;   // a string in which ~ and ${NAME} are replaced (shell.h)
  // What an older version knew it by, which is still read: a key beside it, or a dotted path from
  // the root whose section is visited later. A file that has both is refused.
  std::string_view formerly{};
};

// A number that may move with the step: piecewise linear between (step, value) points, constant
// before the first and after the last. In YAML a plain number, or a list of {step, value}.
struct Timeline {
  struct Point {
    std::int64_t step = 0;
    double value = 0;
    bool operator==(const Point&) const = default;
  };
  std::vector<Point> points{{0, 1.0}};

  double at(std::int64_t step) const;
  bool operator==(const Timeline&) const = default;
};

// One of a few words, or a list of texts: in YAML `all`, or `[a, b]`. FieldInfo::one_of has the
// words.
struct WordOrList {
  std::string word;               // empty: the list counts
  std::vector<std::string> list;  // at least one
  bool operator==(const WordOrList&) const = default;
};

// Walks the fields of configuration structs. One implementation reads YAML, others print or
// describe.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  virtual void field(const FieldInfo& info, bool& value) = 0;
  virtual void field(const FieldInfo& info, std::int64_t& value) = 0;
  virtual void field(const FieldInfo& info, double& value) = 0;
  virtual void field(const FieldInfo& info, std::string& value) = 0;
  virtual void field(const FieldInfo& info, std::vector<std::int64_t>& value) = 0;
  virtual void field(const FieldInfo& info, std::vector<double>& value) = 0;
  virtual void field(const FieldInfo& info, std::vector<std::string>& value) = 0;
  virtual void field(const FieldInfo& info, Timeline& value) = 0;
  virtual void field(const FieldInfo& info, WordOrList& value) = 0;
  // null in YAML is an empty optional.
  virtual void field(const FieldInfo& info, std::optional<double>& value) = 0;
  virtual void field(const FieldInfo& info, std::optional<std::int64_t>& value) = 0;

  // A value of an enum: `word` is what it is called now, info.one_of lists all words. `set` takes
  // another; a word that is not listed changes nothing.
  virtual void word(const FieldInfo& info, const std::string& word,
                    const std::function<void(const std::string& word)>& set) {
    std::string read = word;
    field(info, read);
    set(read);
  }

  // A mapping whose field `info` is a word that says which other keys it has: `walk(word)` visits
  // those. The last of its fields() to be visited.
  virtual void variant(const FieldInfo& info, std::string& word,
                       const std::function<void(const std::string& word)>& walk) {
    field(info, word);
    walk(word);
  }

  // A rule that spans several fields, stated in fields() after them. `key` (dotted, relative to the
  // mapping being visited) is the field to blame when `holds` is false, `message` says what was
  // expected and found. Visitors that check report it; the others have no use for it.
  virtual void rule(std::string_view key, bool holds, const std::string& message) {
    static_cast<void>(key), static_cast<void>(holds), static_cast<void>(message);
  }

  // A nested mapping: `walk` visits its fields with this visitor.
  virtual void section(const FieldInfo& info, const std::function<void()>& walk) = 0;
  // A nested mapping that may be null; `present` says (or learns) whether it is there.
  virtual void optional_section(const FieldInfo& info, bool& present,
                                const std::function<void()>& walk) = 0;
  // A list of mappings: `resize(n)` makes n default elements, `walk(i)` visits element i.
  virtual void list(const FieldInfo& info, const std::function<std::size_t()>& size,
                    const std::function<void(std::size_t)>& resize,
                    const std::function<void(std::size_t)>& walk) = 0;

  template <Worded Enum>
  void field(const FieldInfo& info, Enum& value) {
    FieldInfo with_words = info;
    with_words.one_of = words_of<Enum>();
    word(with_words, std::string(word_of(value)), [&value](const std::string& read) {
      if (const auto known = from_word<Enum>(read)) value = *known;
    });
  }
  template <class Struct>
  void nested(const FieldInfo& info, Struct& value) {
    section(info, [&] { value.fields(*this); });
  }
  template <class Struct>
  void nested(const FieldInfo& info, std::optional<Struct>& value) {
    bool present = value.has_value();
    Struct inner = value.value_or(Struct{});
    optional_section(info, present, [&] { inner.fields(*this); });
    value = present ? std::optional<Struct>(inner) : std::nullopt;
  }
  template <class Struct>
  void list_of(const FieldInfo& info, std::vector<Struct>& values) {
    list(
        info, [&] { return values.size(); }, [&](std::size_t n) { values.resize(n); },
        [&](std::size_t i) { values[i].fields(*this); });
  }
};

// Reads, prints and describes a tree of fields; `root` visits the top-level struct's fields.
using FieldWalk = std::function<void(FieldVisitor&)>;

// Reads YAML text. `origin` is the file's name in messages. `overrides` are "key.path=value"
// strings whose values are YAML, applied before checking. Throws ConfigError with file, line, key,
// allowed values and the nearest known key; all keys are checked before it returns.
void read_yaml(std::string_view text, std::string_view origin,
               const std::vector<std::string>& overrides, const FieldWalk& root);

// Checks values that did not come from YAML: limits, allowed values and rules of every field.
// Throws ConfigError with one line a problem, each beginning with the key's path under `section`.
void check_fields(std::string_view section, const FieldWalk& root);

// The resolved values as YAML, every field written out.
std::string to_yaml(const FieldWalk& root);

// The resolved value of one key, written as in overrides: a scalar without quotes, "null", or the
// elements of a list, one a line. Throws ConfigError for a key that there is not, with the nearest,
// and for a mapping.
std::string value_at(std::string_view key, const FieldWalk& root);

// JSON Schema (draft 2020-12) of the fields, for editors: keys, types, limits and allowed values.
// It accepts all that read_yaml accepts; rules between fields are read_yaml's alone.
std::string to_json_schema(std::string_view title, const FieldWalk& root);

// Tables of all fields in Markdown, a section each: key, type with limits, default, doc.
std::string to_reference(const FieldWalk& root);

}  // namespace gda
