// Which states of a run are healthy: see run_saver.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/core/text.h"
#include "gda/ops/elementwise.h"
#include "gda/train/run_saver.h"

namespace gda {
namespace {

const char* was_or_were(std::int64_t count) {
  return count == 1 ? "was" : "were";
}

// The newest step before `step` with a healthy checkpoint; else that of `step` itself.
std::optional<std::int64_t> healthy_step_before(const Run& run, std::int64_t step) {
  std::optional<std::int64_t> found;
  for (const StepFolder& folder : list_step_folders(run.folder().checkpoints())) {
    if (!folder.has_manifest || !fault_of_state(folder).empty()) continue;
    if (folder.name.step < step || (folder.name.step == step && !found)) found = folder.name.step;
  }
  return found;
}

std::string way_back(const Run& run, std::int64_t accepted, std::int64_t step) {
  const auto healthy = healthy_step_before(run, accepted);
  if (!healthy) {
    return "No healthy checkpoint is left from before them: begin anew with a lower optimizer.lr, "
           "or other data";
  }
  return fmt::format(
      "Resume from before them with: {} --step {}, and a lower optimizer.lr or "
      "optimizer.grad_clip where the model diverges, or --skip-steps {}, which leaves the samples "
      "of those steps out, where they are at fault",
      run.resume_command(), *healthy, step - *healthy);
}

}  // namespace

void try_to_mark(const StepFolder& folder, const std::string& reason) {
  try {
    mark_unhealthy(folder.path, reason);
  } catch (const Error& error) {
    log::warning("{} cannot be marked as unhealthy: {}", folder.path.string(), error.what());
  }
}

std::string fault_of_weights(Run& run, RunProgress& progress, const Batch* sample) {
  const LossGuard& guard = progress.guard;
  const std::string& skipped = progress.last.result.skipped;
  if (guard.consecutive() > 0) {
    return fmt::format("{} in a row {} skipped before it was saved{}",
                       counted(guard.consecutive(), "update"), was_or_were(guard.consecutive()),
                       skipped.empty() ? "" : ", the last because " + skipped);
  }
  TrainedModel& model = *progress.model;
  model.buckets.wait_all();
  double squares = 0;
  {
    const Context context = run.context();
    const ArenaScope scope(context.arena);
    const auto& pieces = model.optimizer.pieces();
    const auto count = static_cast<std::int64_t>(pieces.size());
    const Tensor sums = context.arena.allocate(DType::f64, {std::max<std::int64_t>(1, count)});
    for (std::int64_t i = 0; i < count; ++i) {
      sum_of_squares(context, pieces[static_cast<std::size_t>(i)].master, sums.rows(i, 1));
    }
    const HostCopy host(context.stream, sums);
    for (std::int64_t i = 0; i < count; ++i) squares += host[i];
  }
  if (!std::isfinite(run.world().all_reduce(squares, Reduction::sum))) {
    return "its weights are not finite";
  }
  if (sample == nullptr) return {};
  const std::optional<double> loss = loss_of(run, model, *sample);
  if (!loss || std::isfinite(*loss)) return {};
  return fmt::format("the loss of its weights is {}", *loss);
}

void end_diverged(Run& run, const RunProgress& progress) {
  const std::int64_t skips = progress.guard.consecutive();
  const std::string& skipped = progress.last.result.skipped;
  const std::int64_t accepted = progress.state.step - skips;
  std::string advice;
  if (run.is_root()) {
    for (const StepFolder& folder : list_step_folders(run.folder().checkpoints())) {
      const bool is_own = folder.name.step > progress.first_step;
      if (!is_own || folder.name.step < accepted || !fault_of_state(folder).empty()) continue;
      try_to_mark(folder, fmt::format("every update from its weights was skipped ({})", skipped));
    }
    advice = way_back(run, accepted, progress.state.step);
  }
  advice = run.world().broadcast(advice, 0);
  fail<Error>("{} in a row {} skipped (train.skip.max_consecutive_skips), the last because {}. {}",
              counted(skips, "update"), was_or_were(skips), skipped, advice);
}

}  // namespace gda
