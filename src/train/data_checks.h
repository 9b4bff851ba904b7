// Validation of a run's data, when it begins and when it goes on.
#pragma once

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/train/run.h"
#include "gda/train/run_state.h"

namespace gda {

// ConfigError if data, data.tokenizer and the tokenizer of train.init_from are different ones,
// unless that is accepted.
void check_tokenizers(const Run& run, bool accept_other_tokenizer);

// ConfigError that names source and difference if the data is not what the run in `state`, read
// from `reader`, was trained with, unless that is accepted. The log tells of new and missing
// sources.
void check_data(const Run& run, const RunState& state, const CheckpointReader& reader,
                bool accept_changed_data);

}  // namespace gda
