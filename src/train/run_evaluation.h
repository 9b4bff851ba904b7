// Evaluation of a run's model: its loss on held-out data, and samples of text that it writes.
#pragma once

#include <optional>

#include "gda/report/run_log.h"
#include "gda/tokenizer/tokenizer.h"
#include "gda/train/run.h"
#include "gda/train/run_progress.h"
#include "gda/train/step_samples.h"

namespace gda {

// The loss on every validation set that eval.sources lists, told to `log` (null: not on this rank).
// A set that could not be read, which ends the run. Collective.
[[nodiscard]] std::optional<UnreadableData> evaluate(Run& run, const RunProgress& progress,
                                                     RunLog* log);

// Continuations of the prompts in train.sample, into the log. `tokenizer` is null but on the rank
// that writes them. Collective.
void sample_text(Run& run, const RunProgress& progress, const Tokenizer* tokenizer);

}  // namespace gda
