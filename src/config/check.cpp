// check_fields: limits, allowed values and rules of values that are already in memory.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/constraints.h"
#include "gda/core/error.h"

namespace gda {
namespace {

class Checker : public FieldVisitor {
 public:
  explicit Checker(std::string_view section) : path_(section) {}

  void field(const FieldInfo& /*info*/, bool& /*value*/) override {}
  void field(const FieldInfo& info, std::int64_t& value) override {
    report(info.key, config::range_problem(info, value));
  }
  void field(const FieldInfo& info, double& value) override {
    report(info.key, config::range_problem(info, value));
  }
  void field(const FieldInfo& info, std::string& value) override {
    report(info.key, config::choice_problem(info, value));
  }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    for (const std::int64_t element : value) {
      report(info.key, config::range_problem(info, element));
    }
  }
  void field(const FieldInfo& info, std::vector<double>& value) override {
    for (const double element : value) report(info.key, config::range_problem(info, element));
  }
  void field(const FieldInfo& info, std::vector<std::string>& value) override {
    for (const std::string& element : value) {
      report(info.key, config::choice_problem(info, element));
    }
  }
  void field(const FieldInfo& info, Timeline& value) override {
    report(info.key, config::timeline_problem(info, value));
  }
  void field(const FieldInfo& info, WordOrList& value) override {
    report(info.key, config::word_or_list_problem(info, value));
  }
  void field(const FieldInfo& info, std::optional<double>& value) override {
    if (value) report(info.key, config::range_problem(info, *value));
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    if (value) report(info.key, config::range_problem(info, *value));
  }

  void rule(std::string_view key, bool holds, const std::string& message) override {
    if (!holds) rules_.push_back(fmt::format("{}: {}", config::join_path(path_, key), message));
  }

  void section(const FieldInfo& info, const std::function<void()>& walk) override {
    descend(info.key, walk);
  }
  void optional_section(const FieldInfo& info, bool& present,
                        const std::function<void()>& walk) override {
    if (present) descend(info.key, walk);
  }
  void list(const FieldInfo& info, const std::function<std::size_t()>& size,
            const std::function<void(std::size_t)>& /*resize*/,
            const std::function<void(std::size_t)>& walk) override {
    for (std::size_t i = 0; i < size(); ++i) {
      descend(fmt::format("{}.{}", info.key, i), [&] { walk(i); });
    }
  }

  // Rules presume that each field by itself is right, so they are silent until that is so.
  const std::vector<std::string>& problems() const { return fields_.empty() ? rules_ : fields_; }

 private:
  void report(std::string_view key, const std::string& problem) {
    if (problem.empty()) return;
    fields_.push_back(fmt::format("{}: {}", config::join_path(path_, key), problem));
  }
  void descend(std::string_view key, const std::function<void()>& walk) {
    const std::string outer = path_;
    path_ = config::join_path(path_, key);
    walk();
    path_ = outer;
  }

  std::string path_;
  std::vector<std::string> fields_;
  std::vector<std::string> rules_;
};

}  // namespace

void check_fields(std::string_view section, const FieldWalk& root) {
  Checker checker(section);
  root(checker);
  if (!checker.problems().empty()) {
    fail<ConfigError>("{}", fmt::join(checker.problems(), "\n"));
  }
}

}  // namespace gda
