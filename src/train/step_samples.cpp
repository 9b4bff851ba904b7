#include "gda/train/step_samples.h"

#include <fmt/format.h>

#include "gda/core/error.h"
#include "gda/dist/agreement.h"
#include "train/run_timeline.h"

namespace gda {
std::optional<UnreadableData> StepSamples::read(const RunState& state, PhaseTimer& timer) {
  are_read_ = false;
  std::string fault;
  try {
    together(run_.world(), "", [&] { fill(state, timer); });
    are_read_ = true;
    return {};
  } catch (const FormatError& error) {
    fault = error.what();
  } catch (const IoError& error) {
    fault = error.what();
  }
  return UnreadableData{
      .what = fmt::format("the samples of step {}", state.step + 1),
      .fault = fault,
      .way_on = fmt::format("if the data was changed since the run began, put it back as it "
                            "was, and: {0}; if it is damaged there, leave the samples of one "
                            "step out: {0} --skip-steps 1",
                            run_.resume_command())};
}

void StepSamples::fill(const RunState& state, PhaseTimer& timer) {
  const auto timing = timer.scope(Phase::data);
  const RunConfig& config = run_.config();
  const std::int64_t rows = config.train.micro_batch_size;
  const Mesh& mesh = run_.mesh();
  const int replicas = mesh.size(Axis::data);
  const std::int64_t batch_size = run_.timeline().batch_size(state.step);
  const auto count = static_cast<std::size_t>(batch_size / (rows * replicas));
  const ContextCut& cut = run_.context_cut();
  const auto make = [&] {
    return cut.size > 1 ? Batch() : Batch(rows, config.data.sequence_length);
  };
  while (micro_batches_.size() < count) micro_batches_.push_back(make());
  micro_batches_.resize(count);
  if (cut.size > 1 && whole_.batch_size == 0) whole_ = Batch(rows, config.data.sequence_length);
  for (std::size_t i = 0; i < count; ++i) {
    const auto block = static_cast<std::int64_t>(i) * replicas + mesh.coordinate(Axis::data);
    Batch& batch = cut.size > 1 ? whole_ : micro_batches_[i];
    run_.data().fill_batch(state.samples + block * rows, batch);
    if (cut.size > 1) micro_batches_[i].take_part(whole_, cut);
  }
}

const Batch* StepSamples::first() const {
  return are_read_ && !micro_batches_.empty() ? &micro_batches_.front() : nullptr;
}

std::vector<std::string> StepSamples::sources_of(const RunState& state, std::int64_t steps) const {
  const DataLoader& data = run_.data();
  const std::int64_t samples =
      run_.timeline().first_sample(state.step) - run_.timeline().first_sample(state.step - steps);
  std::vector<std::string> sources;
  for (int source = 0; source < data.sources(); ++source) {
    const auto drawn = [&](std::int64_t sample) { return data.mixture().count(source, sample); };
    if (drawn(state.samples) > drawn(state.samples - samples)) {
      sources.push_back(data.source_name(source));
    }
  }
  return sources;
}

}  // namespace gda
