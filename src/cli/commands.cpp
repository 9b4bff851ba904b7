#include "cli/commands.h"

namespace gda::cli {

void add_commands(CLI::App& app, Action& action) {
  static_cast<void>(app);
  static_cast<void>(action);
}

}  // namespace gda::cli
