// The samples of a run: sample i is a pure function of (data, configuration, i). It does not depend
// on the number of processes, on what was read before, or on anything that has to be saved.
//
// Each source's training tokens (token_stream.h) are one stream in the order of the files, cut into
// windows of sequence_length tokens; a window's targets reach one token into the next. An epoch
// goes through all windows once, in an order that a keyed permutation computes (permutation.h), so
// there is no shuffled index in memory or on disk. Every epoch has another order, and another
// offset for the first window, so that the tokens left over at the ends change.
//
// Windows rather than whole documents are permuted because then any window is found by one
// multiplication, and each has the same size; documents longer than a window are spread over
// several samples, short ones are packed with their neighbours in the file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gda/core/philox.h"
#include "gda/data/batch.h"
#include "gda/data/data_config.h"
#include "gda/data/evaluation_set.h"
#include "gda/data/mixture.h"

namespace gda {

class DataLoader {
 public:
  // first_sample_of_step: see Mixture. Token ids are checked against vocab_size. Throws
  // ConfigError, IoError or FormatError.
  DataLoader(const DataConfig& config, std::int64_t vocab_size,
             const std::function<std::int64_t(std::int64_t step)>& first_sample_of_step);

  // Fills the batch's rows with the samples first_sample, first_sample + 1, ... A process that
  // works on rows [r, r + B) of a step's batch passes the first sample of the step plus r.
  void fill_batch(std::int64_t first_sample, Batch& batch) const;

  int sources() const { return static_cast<int>(sources_.size()); }
  const std::string& source_name(int source) const;
  // Tokens to train on.
  std::int64_t train_tokens(int source) const;
  // How often the source has been gone through when the first `sample` samples are done.
  double epochs_at(int source, std::int64_t sample) const;
  // Throws ConfigError if the first windows of a source hold no token to predict: all its documents
  // have one token then.
  void check_targets() const;
  const Mixture& mixture() const { return mixture_; }

  // What was held out, one set a source, named like it; empty if validation_fraction is 0.
  const std::vector<EvaluationSet>& validation() const { return validation_; }

 private:
  struct Source {
    std::string name;
    std::vector<std::unique_ptr<TokenDataset>> datasets;
    TokenStream train;
    Philox random;
    std::int64_t windows = 0;  // in one epoch
  };
  void add_source(const DataSourceConfig& config, std::int64_t vocab_size);
  // Where the source's sample `index` begins in its stream.
  std::int64_t window_begin(const Source& source, std::int64_t index) const;

  DataConfig config_;
  Mixture mixture_;
  std::vector<Source> sources_;
  std::vector<EvaluationSet> validation_;
};

}  // namespace gda
