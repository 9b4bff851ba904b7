#include <algorithm>
#include <sstream>

#include "checkpoint/names.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/run_folder.h"
#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/dist/agreement.h"

namespace gda {
namespace fs = std::filesystem;
namespace {

struct Candidate {
  fs::path path;
  std::string unhealthy;  // why; empty: healthy, as far as its manifest tells
};

// The step folders, newest first, as rank 0 sees them.
std::vector<Candidate> list_newest_first(const fs::path& checkpoints, Communicator& group) {
  std::string text;  // a line each
  together(group, "", [&] {
    if (!group.is_root()) return;
    const std::vector<StepFolder> listed = list_step_folders(checkpoints);
    for (auto folder = listed.rbegin(); folder != listed.rend(); ++folder) {
      text += folder->path.filename().string() + " " + fault_of_state(*folder) + "\n";
    }
  });
  std::istringstream lines(group.broadcast(text, 0));
  std::vector<Candidate> candidates;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = line.find(' ');
    candidates.push_back({checkpoints / line.substr(0, end), line.substr(end + 1)});
  }
  return candidates;
}

// Unhealthy ones that are newer than the chosen one; and what that one is itself.
void tell_choice(const std::vector<Candidate>& newest_first, const CheckpointReader& chosen) {
  for (const Candidate& other : newest_first) {
    if (other.path == chosen.path()) break;
    if (other.unhealthy.empty()) continue;  // damaged, which was told
    log::warning("{} is passed over: {}; using {} instead", other.path.string(), other.unhealthy,
                 chosen.path().string());
  }
  if (chosen.manifest().unhealthy.empty()) return;
  log::warning("no healthy checkpoint is there; using {}: {}", chosen.path().string(),
               chosen.manifest().unhealthy);
}

std::string steps_of(const std::vector<Candidate>& newest_first) {
  std::string text;
  for (auto entry = newest_first.rbegin(); entry != newest_first.rend(); ++entry) {
    const std::string name = entry->path.filename().string();
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", parse_step_folder(name)->step,
                        entry->unhealthy.empty() ? "" : " (" + entry->unhealthy + ")");
  }
  return text;
}

class Ranks {
 public:
  explicit Ranks(Communicator* group)
      : alone_(group != nullptr ? nullptr : make_self_communicator()),
        group_(group != nullptr ? *group : *alone_) {}
  Communicator& operator*() const { return group_; }

 private:
  std::unique_ptr<Communicator> alone_;
  Communicator& group_;
};

}  // namespace

std::optional<CheckpointReader> newest_whole_checkpoint(const fs::path& checkpoints,
                                                        Communicator* group,
                                                        Verification verification) {
  const Ranks ranks(group);
  const std::vector<Candidate> newest_first = list_newest_first(checkpoints, *ranks);
  std::vector<Candidate> in_turn = newest_first;
  std::stable_partition(in_turn.begin(), in_turn.end(),
                        [](const Candidate& entry) { return entry.unhealthy.empty(); });
  std::string reasons;
  for (const Candidate& candidate : in_turn) {
    std::string reason;
    try {
      CheckpointReader reader(candidate.path, verification, &*ranks);
      if (!reasons.empty()) log::warning("using {} instead", candidate.path.string());
      tell_choice(newest_first, reader);
      return reader;
    } catch (const FormatError& error) {
      reason = error.what();
    } catch (const IoError& error) {
      reason = error.what();
    }
    log::warning("a checkpoint is passed over: {}", reason);
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  require<FormatError>(in_turn.empty(), "no checkpoint in {} is complete: {}", checkpoints.string(),
                       reasons);
  return std::nullopt;
}

CheckpointReader checkpoint_of_step(const fs::path& checkpoints, std::int64_t step,
                                    Communicator* group) {
  const Ranks ranks(group);
  const std::vector<Candidate> newest_first = list_newest_first(checkpoints, *ranks);
  for (const Candidate& candidate : newest_first) {
    const auto name = parse_step_folder(candidate.path.filename().string());
    if (name->step != step) continue;
    if (!candidate.unhealthy.empty()) {
      log::warning("{} is unhealthy: {}", candidate.path.string(), candidate.unhealthy);
    }
    return CheckpointReader(candidate.path, Verification::everything, &*ranks);
  }
  fail<ConfigError>("{} holds no checkpoint of step {}; {}", checkpoints.string(), step,
                    newest_first.empty() ? "there is none at all"
                                         : "the steps that are there: " + steps_of(newest_first));
}

CheckpointReader open_checkpoint(const fs::path& path, Communicator* group,
                                 Verification verification) {
  const fs::path checkpoints = RunFolder(path).checkpoints();
  if (fs::exists(path / kManifestFile) || parse_step_folder(path.filename().string())) {
    return CheckpointReader(path, verification, group);
  }
  std::optional<CheckpointReader> newest = newest_whole_checkpoint(
      fs::is_directory(checkpoints) ? checkpoints : path, group, verification);
  require<FormatError>(newest.has_value(),
                       "{} is neither a checkpoint (no manifest.json) nor a run folder (no "
                       "checkpoints/step-... inside)",
                       path.string());
  return std::move(*newest);
}

CheckpointReader open_checkpoint_or_model(const fs::path& path, Communicator* group) {
  const bool is_checkpoint =
      fs::exists(path / kManifestFile) || parse_step_folder(path.filename().string());
  if (!is_checkpoint && fs::exists(path / kConfigFile)) {
    return CheckpointReader::of_model_folder(path);
  }
  const bool may_hold_some = is_checkpoint || fs::is_directory(RunFolder(path).checkpoints()) ||
                             !list_step_folders(path).empty();
  require<FormatError>(may_hold_some,
                       "{} is not a checkpoint (no manifest.json), not a run folder (no "
                       "checkpoints/step-... inside) and not a Hugging Face model folder (no "
                       "config.json)",
                       path.string());
  return open_checkpoint(path, group);
}

}  // namespace gda
