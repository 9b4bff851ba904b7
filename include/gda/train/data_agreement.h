// Validation that data, tokenizer, model and run fit each other, before anything is allocated.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/train/data_record.h"
#include "gda/train/run_config.h"

namespace gda {

// A set of tokens that is read: a source of a run, or one to evaluate on.
struct NamedData {
  std::string setting;  // how messages call it: "data.sources: en"
  std::vector<IdentifiedDataset> datasets;
};

// Faults that make tokens useless for a model of a vocabulary, a line each that names dataset,
// number found, what is expected, and how to go on: ids outside of [0, vocab_size), a tokenizer
// whose vocabulary is larger, datasets without tokens, and with document_mask documents of one
// token each, which leave nothing to predict.
std::vector<std::string> faults_of(const NamedData& data, std::int64_t vocab_size,
                                   bool document_mask);

// A line for each dataset whose tokenizer is known and another than `expected`, which `origin`
// names
// ("data.tokenizer tok.model"). Without `expected`, the first known one of the datasets is it.
std::vector<std::string> tokenizer_faults_of(const std::vector<NamedData>& data,
                                             std::optional<TokenizerIdentity> expected,
                                             std::string origin);

// tokenizer.model in the folder of a model. Nothing if it is not there, or of a kind that is not
// read.
std::optional<TokenizerIdentity> tokenizer_beside(const std::filesystem::path& folder);

// "3fa9c0d2e17b5a44 (sentencepiece, 8,192 ids)".
std::string describe(const TokenizerIdentity& tokenizer);

// ConfigError with all lines, unless there are none. `what` says what they mean, "the data does not
// fit the model", and `way_on` what helps against all of them.
void require_none(const std::vector<std::string>& lines, std::string_view what,
                  std::string_view way_on = {});

struct IdentifiedRunData {
  DataRecord record;
  // Of no use, whatever the user accepts.
  std::vector<std::string> faults;
  // Tokenizers that are not the same.
  std::vector<std::string> tokenizer_faults;
};

// The sources of a configuration and its data.tokenizer, compared with each other and the model. A
// data.tokenizer that is not there, or cannot be read, is warned of. Throws what identify_datasets
// throws. Collective.
IdentifiedRunData identify_run_data(const RunConfig& config, Communicator& world);

struct DataChanges {
  std::vector<std::string> changed;  // same name, other tokens
  std::vector<std::string> notes;    // added and removed sources, which mixtures change on purpose
};

// Sources are the same if their names and contents are, wherever they lie. Which sample a step
// takes is a function of the sources and weights that there are now (data_loader.h), whatever was
// before.
DataChanges changes_of(const DataRecord& before, const DataRecord& now);

}  // namespace gda
