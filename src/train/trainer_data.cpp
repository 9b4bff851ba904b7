// Whether a run's data is what it should be: at the start, on going on, and where samples are read.
#include <fmt/format.h>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/shell.h"
#include "gda/dist/agreement.h"
#include "gda/train/readable.h"
#include "gda/train/trainer.h"
#include "train/run_timeline.h"

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

void Trainer::check_tokenizers(const RunStart& start) const {
  std::vector<std::string> faults = data_facts_.tokenizer_faults;
  const auto learnt =
      config_.train.init_from.empty() ? std::nullopt : learnt_tokenizer(config_.train.init_from);
  const auto ids = data_facts_.record.tokenizer_of_ids();
  if (learnt && ids && learnt->fingerprint != ids->fingerprint) {
    faults.push_back(
        fmt::format("train.init_from: {} has learnt the ids of tokenizer {}, the data is of {}",
                    config_.train.init_from, describe(*learnt), describe(*ids)));
  }
  if (!start.accept_other_tokenizer) {
    require_none(faults, kManyTokenizers,
                 "Use data, tokenizer and model that are of each other; where the tokenizers give "
                 "the same ids, add --accept-other-tokenizer");
  }
  warn_of_each(faults);
}

void Trainer::check_data(const CheckpointReader& reader, const ResumePoint& point) const {
  const std::string checkpoint = reader.path().string();
  if (!state_.data) {
    if (!point.accept_changed_data) {
      require_none(data_facts_.tokenizer_faults, kManyTokenizers,
                   "Use data and tokenizer that are of each other; where the tokenizers give the "
                   "same ids, add --accept-changed-data");
    }
    warn_of_each(data_facts_.tokenizer_faults);
    log::info(
        "{} does not say what data it was trained with, as later ones do: whether the data is the "
        "same is not known",
        checkpoint);
    return;
  }
  const DataChanges changes = changes_of(*state_.data, data_facts_.record);
  std::vector<std::string> faults = changes.changed;
  // What the run was begun with was accepted then.
  if (!(*state_.data == data_facts_.record)) {
    faults.insert(faults.end(), data_facts_.tokenizer_faults.begin(),
                  data_facts_.tokenizer_faults.end());
  }
  if (!point.accept_changed_data) {
    require_none(
        faults, "the data has changed since " + checkpoint,
        fmt::format("Put the old data back, or add --accept-changed-data: the run then goes on "
                    "with its sample {}; what was taken of a source until now counts as taken of "
                    "the new one, whose order is its own, so text may come twice in a pass or not "
                    "until the next",
                    readable_count(state_.samples)));
  }
  warn_of_each(faults);
  for (const std::string& note : changes.notes) log::warning("since {}: {}", checkpoint, note);
  if (!faults.empty()) return;
  log::info("data: {}unchanged since {}", changes.notes.empty() ? "" : "the other sources are ",
            checkpoint);
}

// Fills the batches of the coming step. What kept any rank from it, the same on every rank; else
// empty.
std::string Trainer::read_samples() {
  samples_are_read_ = false;
  try {
    together(world_, "", [this] { fill_micro_batches(timeline_->batch_size(state_.step)); });
  } catch (const FormatError& error) {
    return error.what();
  } catch (const IoError& error) {
    return error.what();
  }
  samples_are_read_ = true;
  return {};
}

void Trainer::end_for_bad_data(const std::string& what, const std::string& fault,
                               const std::string& way_on) {
  if (saved_step_ != state_.step) save(true);
  finish_save(true, true);
  fail<FormatError>("{} cannot be read: {}. Step {} is saved; {}", what, fault, state_.step,
                    way_on);
}

}  // namespace gda
