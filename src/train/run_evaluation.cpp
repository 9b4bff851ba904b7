#include "train/run_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/eval/generate.h"
#include "gda/eval/loss.h"

namespace gda {
namespace {

UnreadableData unreadable(const Run& run, const EvaluationSet& set, const std::string& fault) {
  return {.what = "validation set " + set.name(),
          .fault = fault,
          .way_on = fmt::format("if the data was changed since the run began, put it back as it "
                                "was, and: {0}; if it is damaged there, do not evaluate on it: {0} "
                                "eval.every_steps=0",
                                run.resume_command())};
}

}  // namespace

std::optional<UnreadableData> evaluate(Run& run, const RunProgress& progress, RunLog* log) {
  const ProfileRange range("evaluation");
  const RunConfig& config = run.config();
  TrainedModel& model = *progress.model;
  const Mesh& mesh = run.mesh();
  const EvaluationRanks ranks{.world = run.world(),
                              .share = mesh.coordinate(Axis::data),
                              .shares = mesh.size(Axis::data),
                              .in_step = config.parallel.zero() == ZeroStage::three};
  Batch part;
  const auto loss_of = [&](const Batch& batch) {
    if (run.context_cut().size == 1) return loss_share(run, model, batch);
    part.take_part(batch, run.context_cut());
    return loss_share(run, model, part);
  };
  const std::vector<std::string>& wanted = config.eval.sources;
  const std::int64_t samples = config.eval.steps * config.train.global_batch_size;
  EvalMeanReport mean;
  for (const EvaluationSet& set : run.data().validation()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), set.name()) == wanted.end()) {
      continue;
    }
    EvaluationResult result;
    try {
      result = evaluate_loss(set, ranks, config.train.micro_batch_size, samples, loss_of);
    } catch (const FormatError& error) {
      return unreadable(run, set, error.what());
    } catch (const IoError& error) {
      return unreadable(run, set, error.what());
    }
    if (log == nullptr) continue;
    const EvalReport report{.step = progress.state.step,
                            .name = set.name(),
                            .loss = result.loss,
                            .tokens = result.targets};
    mean.add(report);
    log->report(report);
  }
  if (mean.sets > 0) log->report(mean);
  return {};
}

namespace {

// A prompt as ids, from the rank that has the tokenizer.
std::vector<std::int32_t> shared_ids(Run& run, const Tokenizer* tokenizer,
                                     const std::string& prompt) {
  std::vector<std::int32_t> ids;
  if (tokenizer != nullptr) ids = tokenizer->encode(prompt);
  Communicator& world = run.world();
  const std::int64_t count =
      world.all_reduce(static_cast<std::int64_t>(ids.size()), Reduction::max);
  ids.resize(static_cast<std::size_t>(count));
  if (count > 0) world.broadcast(Tensor(ids.data(), DType::i32, {count}), 0).wait();
  return ids;
}

}  // namespace

void sample_text(Run& run, const RunProgress& progress, const Tokenizer* tokenizer) {
  StagedModel& model = progress.model->model;
  const std::int64_t step = progress.state.step;
  const TextSampleConfig& sample = run.config().train.sample;
  GenerateOptions options;
  options.sampling.temperature = sample.temperature;
  options.sampling.seed = static_cast<std::uint64_t>(step);
  options.max_tokens = sample.max_tokens;
  const auto end = static_cast<std::int32_t>(run.world().all_reduce(
      std::int64_t{tokenizer != nullptr ? tokenizer->eod_id() : -1}, Reduction::max));
  if (end >= 0) options.stop_token = end;
  const Context context = run.context();
  const TextModel text{
      .config = model.config(),
      .statistics_type = model.statistics_type(),
      .begin = [&](std::int64_t capacity) { model.begin_text(capacity); },
      .next = [&](const Tensor& token,
                  const Tensor& logits) { model.continue_text(context, token, logits); }};
  for (const std::string& prompt : sample.prompts) {
    const auto tokens = generate(context, text, shared_ids(run, tokenizer, prompt), options);
    if (tokenizer == nullptr) continue;
    log::info("sample at step {}: {}{}", step, prompt, tokenizer->decode(tokens));
  }
  model.end_text();
}

}  // namespace gda
