#include "cli/commands.h"

namespace gda::cli {

void add_commands(CLI::App& app, Action& action) {
  add_train(app, action);
  add_resume(app, action);
  add_grow(app, action);
  add_tokenizer(app, action);
  add_tokenize(app, action);
  add_config(app, action);
  add_eval(app, action);
  add_generate(app, action);
  add_score(app, action);
  add_inspect(app, action);
  add_version(app, action);
  add_help(app, action);
  add_completion(app, action);
  add_manual(app, action);
}

}  // namespace gda::cli
