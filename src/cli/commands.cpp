#include "cli/commands.h"

namespace gda::cli {

void add_commands(CLI::App& app, Action& action) {
  add_config(app, action);
}

}  // namespace gda::cli
