#include "train/data_checks.h"

#include <fmt/format.h>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/report/readable.h"

namespace gda {
namespace {

constexpr const char* kManyTokenizers = "the run has more than one tokenizer";

// The tokenizer whose ids a model has learnt, as its checkpoint remembers, or the one beside it.
std::optional<TokenizerIdentity> learnt_tokenizer(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "trainer.json")) {
    const std::filesystem::path file = folder / "trainer.json";
    const RunState state = parse_run_state(read_text_file(file), file.string());
    return state.data ? state.data->tokenizer_of_ids() : std::nullopt;
  }
  return tokenizer_beside(folder);
}

void warn_of_each(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) log::warning("accepted: {}", line);
}

}  // namespace

void check_tokenizers(const Run& run, bool accept_other_tokenizer) {
  const IdentifiedRunData& data = run.data_facts();
  const std::string& init_from = run.config().train.init_from;
  std::vector<std::string> faults = data.tokenizer_faults;
  const auto learnt = init_from.empty() ? std::nullopt : learnt_tokenizer(init_from);
  const auto ids = data.record.tokenizer_of_ids();
  if (learnt && ids && learnt->fingerprint != ids->fingerprint) {
    faults.push_back(
        fmt::format("train.init_from: {} has learnt the ids of tokenizer {}, the data is of {}",
                    init_from, describe(*learnt), describe(*ids)));
  }
  if (!accept_other_tokenizer) {
    require_none(faults, kManyTokenizers,
                 "Use data, tokenizer and model that are of each other; where the tokenizers give "
                 "the same ids, add --accept-other-tokenizer");
  }
  warn_of_each(faults);
}

void check_data(const Run& run, const RunState& state, const CheckpointReader& reader,
                bool accept_changed_data) {
  const IdentifiedRunData& data = run.data_facts();
  const std::string checkpoint = reader.path().string();
  if (!state.data) {
    if (!accept_changed_data) {
      require_none(data.tokenizer_faults, kManyTokenizers,
                   "Use data and tokenizer that are of each other; where the tokenizers give the "
                   "same ids, add --accept-changed-data");
    }
    warn_of_each(data.tokenizer_faults);
    log::info(
        "{} does not say what data it was trained with, as later ones do: whether the data is the "
        "same is not known",
        checkpoint);
    return;
  }
  const DataChanges changes = changes_of(*state.data, data.record);
  std::vector<std::string> faults = changes.changed;
  // What the run was begun with was accepted then.
  if (!(*state.data == data.record)) {
    faults.insert(faults.end(), data.tokenizer_faults.begin(), data.tokenizer_faults.end());
  }
  if (!accept_changed_data) {
    require_none(
        faults, "the data has changed since " + checkpoint,
        fmt::format("Put the old data back, or add --accept-changed-data: the run then goes on "
                    "with its sample {}; what was taken of a source until now counts as taken of "
                    "the new one, whose order is its own, so text may come twice in a pass or not "
                    "until the next",
                    readable_count(state.samples)));
  }
  warn_of_each(faults);
  for (const std::string& note : changes.notes) log::warning("since {}: {}", checkpoint, note);
  if (!faults.empty()) return;
  log::info("data: {}unchanged since {}", changes.notes.empty() ? "" : "the other sources are ",
            checkpoint);
}

}  // namespace gda
