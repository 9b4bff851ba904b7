// The data, configuration and folder of a run of the program, gone with the test.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gda/checkpoint/checkpoint_folder.h"
#include "gda/core/file.h"
#include "support/program.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"

namespace gda::test {

class RunFolder {
 public:
  explicit RunFolder(std::int64_t steps = 40) {
    write_tiny_data(root_.path());
    config = tiny_run(root_.path(), path("run"));
    config.train.steps = steps;
    config.schedule.steps = steps;  // a run that becomes longer has nothing to ask
    config.logging.every_steps = 1;
  }

  // The learning rate then does not depend on the number of steps.
  void keep_the_rate() {
    config.schedule.name = ScheduleName::constant;
    config.schedule.steps.reset();
  }

  std::filesystem::path path(const std::string& name) const { return root_.path() / name; }
  std::string run() const { return path("run"); }
  std::filesystem::path checkpoints(const std::string& run = "run") const {
    return path(run) / "checkpoints";
  }

  // `gda train` of the configuration, with the run in another folder if one is named.
  std::vector<std::string> train(const std::string& run = "run",
                                 const std::vector<std::string>& overrides = {}) const {
    write_text_file_atomically(path("config.yaml"), config.yaml());
    std::vector<std::string> arguments{"train", path("config.yaml"),
                                       "run_dir=" + path(run).string()};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    return arguments;
  }

  // The last step that the run has reported; 0 before the first.
  std::int64_t reported_step(const std::string& run = "run") const {
    const std::vector<nlohmann::json> reports = metrics(run);
    return reports.empty() ? 0 : reports.back().at("step").get<std::int64_t>();
  }

  std::vector<nlohmann::json> metrics(const std::string& run = "run") const {
    std::vector<nlohmann::json> reports;
    std::ifstream stream(path(run) / "metrics.jsonl");
    for (std::string line; std::getline(stream, line);) {
      const auto report = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (report.is_object()) reports.push_back(report);  // else half of a line under way
    }
    return reports;
  }

  // Content hashes of a step's model and optimizer files. config.yaml names the run's folder, and
  // so differs between runs.
  std::map<std::string, std::string> hashes(std::int64_t step,
                                            const std::string& run = "run") const {
    std::map<std::string, std::string> hashes;
    for (const StepFolder& folder : list_step_folders(checkpoints(run))) {
      if (folder.name.step != step) continue;
      for (const WrittenFile& file : read_manifest(folder.path).files) {
        if (file.name.ends_with(".safetensors")) hashes[file.name] = file.hash;
      }
    }
    EXPECT_GE(hashes.size(), 2U) << run << " has no whole checkpoint of step " << step;
    return hashes;
  }

  std::int64_t newest_step(const std::string& run = "run") const {
    const auto folders = list_step_folders(checkpoints(run));
    return folders.empty() ? 0 : folders.back().name.step;
  }

  // Whether a checkpoint is being written, or was left half-written.
  bool has_temporary(const std::string& run = "run") const {
    std::error_code ignored;
    for (std::filesystem::directory_iterator entry(checkpoints(run), ignored), end; entry != end;
         entry.increment(ignored)) {
      if (entry->path().extension() == ".tmp") return true;
    }
    return false;
  }

  RunConfig config;

 private:
  TemporaryFolder root_;
};

}  // namespace gda::test
