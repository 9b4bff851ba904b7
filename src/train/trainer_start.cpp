// How a run begins, and how it goes on from a checkpoint.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/text.h"
#include "gda/train/trainer.h"
#include "train/changed_settings.h"
#include "train/data_checks.h"
#include "train/resume_checks.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

// What growth has added to a model that a run begins with; nothing if it is no checkpoint. One that
// is still growing would begin as another model: its mask is not in the parameters.
std::vector<std::string> added_to(const std::string& folder) {
  const std::filesystem::path path = folder;
  if (folder.empty() || !std::filesystem::exists(path / "manifest.json")) return {};
  const CheckpointReader reader(path, Verification::on_first_use);
  reader.check_fully_grown("train.init_from");
  return reader.growth().added;
}

void require_new_folder(const Run& run) {
  const auto existing = list_step_folders(run.folder().checkpoints());
  require<ConfigError>(existing.empty(),
                       "{} already holds the checkpoints of a run: resume it with `{}`, or "
                       "choose another run_dir",
                       run.config().run_dir, run.resume_command());
}

CheckpointReader checkpoint_at(const Run& run, const ResumePoint& point) {
  const std::filesystem::path folder = run.folder().checkpoints();
  if (point.step) return checkpoint_of_step(folder, *point.step, &run.world());
  std::optional<CheckpointReader> newest = newest_whole_checkpoint(folder, &run.world());
  require<ConfigError>(newest.has_value(), "{} holds no checkpoint to resume from",
                       folder.string());
  return std::move(*newest);
}

}  // namespace

Trainer::Trainer(const RunConfig& config, Communicator& world)
    : run_(config, world),
      progress_(no_progress(config)),
      samples_(run_),
      saver_(run_, samples_),
      reporter_(run_),
      stages_(run_, saver_) {}

void Trainer::begin(const RunStart& start) {
  require_new_folder(run_);
  check_tokenizers(run_, start.accept_other_tokenizer);
  progress_.state.data = run_.data_facts().record;
  run_.world().barrier();  // nobody makes the folder before everybody has looked
  saver_.take_folder();
  require_new_folder(run_);  // the one who had it until now may have made some
  const std::string& init_from = run_.config().train.init_from;
  progress_.growth.added = added_to(init_from);
  reporter_.find_peak();
  allocate_model(run_, progress_.growth.added,
                 init_from.empty() ? "a model that begins by its initialisers" : init_from,
                 progress_);
  reporter_.open({});
  TrainedModel& model = *progress_.model;
  if (init_from.empty()) {
    model.buckets.initialize(static_cast<std::uint64_t>(run_.config().train.seed), run_.stream());
    model.optimizer.copy_masters_from_values(run_.context());
  } else {
    model.checkpoints.initialise_from(run_.context(), ModelFolder(init_from));
  }
}

void Trainer::resume(const ResumePoint& point) {
  saver_.take_folder();
  const CheckpointReader reader = checkpoint_at(run_, point);
  RunState& state = progress_.state;
  state = parse_run_state(reader.trainer_json(), (reader.path() / "trainer.json").string());
  stages_.check(reader, state);
  check_settings(run_, state, reader);
  const std::string kept = keep_decay(run_, state.step, reader, point);
  check_data(run_, state, reader, point.accept_changed_data);
  reporter_.find_peak();
  saver_.restore(reader, progress_);
  state.data = run_.data_facts().record;
  reporter_.open(state.step);
  log::info("resuming from {} (step {}, written by {})", reader.path().string(), state.step,
            counted(reader.manifest().world_size, "rank"));
  for (const std::string& change : changed_settings(reader.run_config(), run_.config().yaml())) {
    log::warning("setting changed since that checkpoint: {}", change);
  }
  if (!kept.empty()) log::warning("{}", kept);
  tell_jump_of_rate(run_, state.step, reader);
  if (point.step && run_.is_root()) leave_newer(run_, reader);
  if (point.skip_steps == 0) return;
  state.samples += run_.timeline().first_sample(state.step + point.skip_steps) -
                   run_.timeline().first_sample(state.step);
  log::warning("the samples of {} are left out: the next is sample {} of the run",
               counted(point.skip_steps, "step"), state.samples);
}

}  // namespace gda
