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
  model.buckets.wait_all();
  const std::vector<std::string>& wanted = config.eval.sources;
  const std::int64_t samples = config.eval.steps * config.train.global_batch_size;
  EvalMeanReport mean;
  for (const EvaluationSet& set : run.data().validation()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), set.name()) == wanted.end()) {
      continue;
    }
    EvaluationResult result;
    try {
      result = evaluate_loss(run.context(), model.decoder, set, run.replicas(),
                             config.train.micro_batch_size, samples);
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

void sample_text(Run& run, const RunProgress& progress, const Tokenizer* tokenizer) {
  TrainedModel& model = *progress.model;
  model.buckets.wait_all();
  if (tokenizer == nullptr) return;
  const std::int64_t step = progress.state.step;
  const TextSampleConfig& sample = run.config().train.sample;
  GenerateOptions options;
  options.sampling.temperature = sample.temperature;
  options.sampling.seed = static_cast<std::uint64_t>(step);
  options.max_tokens = sample.max_tokens;
  if (tokenizer->eod_id() >= 0) options.stop_token = tokenizer->eod_id();
  for (const std::string& prompt : sample.prompts) {
    const auto tokens = generate(run.context(), model.decoder, tokenizer->encode(prompt), options);
    log::info("sample at step {}: {}{}", step, prompt, tokenizer->decode(tokens));
  }
}

}  // namespace gda
