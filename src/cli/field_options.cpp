#include "cli/field_options.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "cli/options.h"
#include "gda/core/error.h"

namespace gda::cli {
namespace {

std::string option_name(std::string_view key) {
  std::string name = "--" + std::string(key);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// FieldOptions know numbers, words and lists of numbers; an operator that needs more has to be
// written into a plan, and its author to extend this.
[[noreturn]] void not_an_option(const FieldInfo& info) {
  fail<ConfigError>("{} cannot be given on the command line; use a plan", info.key);
}

class FieldOptions : public FieldVisitor {
 public:
  explicit FieldOptions(CLI::App& command) : command_(command) {}

  void field(const FieldInfo& info, bool& value) override {
    command_.add_flag(option_name(info.key), value, std::string(info.doc));
  }
  void field(const FieldInfo& info, std::int64_t& value) override { add(info, value); }
  void field(const FieldInfo& info, double& value) override { add(info, value); }
  void field(const FieldInfo& info, std::string& value) override {
    CLI::Option* option = command_.add_option(option_name(info.key), value, std::string(info.doc));
    option->capture_default_str();
    if (!info.one_of.empty()) option->check(one_of(info.one_of));
  }
  void word(const FieldInfo& info, const std::string& word,
            const std::function<void(const std::string& word)>& set) override {
    command_.add_option_function<std::string>(option_name(info.key), set, std::string(info.doc))
        ->default_str(word)
        ->check(one_of(info.one_of));
  }
  void field(const FieldInfo& info, std::vector<std::int64_t>& value) override {
    command_.add_option(option_name(info.key), value, std::string(info.doc))->delimiter(',');
  }
  void field(const FieldInfo& info, std::vector<double>& /*value*/) override {
    not_an_option(info);
  }
  void field(const FieldInfo& info, std::vector<std::string>& /*value*/) override {
    not_an_option(info);
  }
  void field(const FieldInfo& info, Timeline& /*value*/) override { not_an_option(info); }
  void field(const FieldInfo& info, WordOrList& /*value*/) override { not_an_option(info); }
  void field(const FieldInfo& info, std::optional<double>& value) override {
    command_.add_option(option_name(info.key), value, std::string(info.doc));
  }
  void field(const FieldInfo& info, std::optional<std::int64_t>& value) override {
    command_.add_option(option_name(info.key), value, std::string(info.doc));
  }
  void section(const FieldInfo& info, const std::function<void()>& /*walk*/) override {
    not_an_option(info);
  }
  void optional_section(const FieldInfo& info, bool& /*present*/,
                        const std::function<void()>& /*walk*/) override {
    not_an_option(info);
  }
  void list(const FieldInfo& info, const std::function<std::size_t()>& /*size*/,
            const std::function<void(std::size_t)>& /*resize*/,
            const std::function<void(std::size_t)>& /*walk*/) override {
    not_an_option(info);
  }

 private:
  template <class T>
  void add(const FieldInfo& info, T& value) {
    command_.add_option(option_name(info.key), value, std::string(info.doc))->capture_default_str();
  }

  CLI::App& command_;
};

}  // namespace

void add_field_options(CLI::App& command, const FieldWalk& root) {
  FieldOptions options(command);
  root(options);
}

std::string with_option_names(const std::string& message, const FieldWalk& root) {
  CLI::App known;
  add_field_options(known, root);
  std::istringstream lines(message);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    const std::string name = option_name(line.substr(0, line.find(':')));
    const bool is_key =
        line.find(':') != std::string::npos && known.get_option_no_throw(name) != nullptr;
    if (!result.empty()) result += '\n';
    result += is_key ? name + line.substr(line.find(':')) : line;
  }
  return result;
}

}  // namespace gda::cli
