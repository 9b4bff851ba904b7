// gda: pretrain, continue and grow decoder-only language models.
#include <cstdio>
#include <exception>
#include <memory>
#include <new>

#include "cli/commands.h"
#include "cli/help_format.h"
#include "cli/usage_error.h"
#include "gda/core/error.h"
#include "gda/core/log.h"

int main(int argc, char** argv) {
  CLI::App app{
      "gda pretrains, continues and grows language models with Grouped Differential Attention.",
      "gda"};
  app.require_subcommand(1);
  app.formatter(std::make_shared<gda::cli::WrappedFormatter>());  // its commands take it over
  gda::cli::Action action;
  gda::cli::add_commands(app, action);
  try {
    app.parse(argc, argv);
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
