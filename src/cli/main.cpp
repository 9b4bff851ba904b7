// gda: pretrain, continue and grow decoder-only language models.
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/help_format.h"
#include "cli/usage_error.h"
#include "gda/core/error.h"
#include "gda/core/log.h"

namespace {

// The words of the command line, last first, as CLI11 wants them. "--name=" is a name and an empty
// value; CLI11 would take the next word for the value.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words;
  for (int i = argc - 1; i > 0; --i) {
    const std::string word = argv[i];
    const bool has_empty_value = word.starts_with("--") && word.find('=') == word.size() - 1;
    if (has_empty_value) words.emplace_back();
    words.push_back(has_empty_value ? word.substr(0, word.size() - 1) : word);
  }
  return words;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "gda pretrains, continues and grows language models with Grouped Differential Attention.",
      "gda"};
  app.require_subcommand(1);
  app.formatter(std::make_shared<gda::cli::WrappedFormatter>());  // its commands take it over
  gda::cli::Action action;
  gda::cli::add_commands(app, action);
  try {
    app.parse(words_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    // Help and version requests end here too, with code 0.
    if (error.get_exit_code() == 0) return app.exit(error);
    gda::log::error("gda: error: {}", gda::cli::usage_error(app, error));
    return 2;
  }
  try {
    return action();
  } catch (const gda::Error& error) {
    gda::log::error("gda: error: {}", error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    gda::log::error("gda: error: out of memory");
    return 1;
  } catch (const std::exception& error) {
    gda::log::error("gda: error: {}", error.what());
    return 1;
  }
}
