// gda inspect: tells what is at a path.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/inspection.h"
#include "cli/options.h"
#include "gda/core/error.h"

namespace gda::cli {
namespace {

struct InspectOptions {
  std::string path;
  bool json = false;
  bool verify = false;
  bool all_tensors = false;
};

constexpr int kIndent = 2;

int run_inspect(const InspectOptions& options) {
  const nlohmann::ordered_json facts = inspect_path(options.path, options.verify);
  const std::string text =
      options.json ? facts.dump(kIndent) + "\n" : to_page(facts, options.all_tensors);
  const bool is_written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  require<IoError>(is_written && std::fflush(stdout) == 0,
                   "gda inspect: cannot write to standard output");
  return has_fault(facts) ? 1 : 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Tell what a checkpoint, run, model folder, safetensors file or dataset holds");
  add_path(*command, "PATH", options->path,
           "Checkpoint, run or model folder, .safetensors file, or PREFIX of a token "
           "dataset")
      ->required();
  command->add_flag("--verify", options->verify,
                    "Compare all hashes of checkpoints, read all tokens of datasets");
  command->add_flag("--all-tensors", options->all_tensors,
                    "List every tensor instead of one line for all layers");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "The exit code is 1 when something is damaged.\n"
      "Example: gda inspect runs/my-run --verify");
  command->callback([options, &action] { action = [options] { return run_inspect(*options); }; });
}

}  // namespace gda::cli
