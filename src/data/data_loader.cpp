#include "gda/data/data_loader.h"

#include <algorithm>
#include <utility>

#include "data/fill_row.h"
#include "gda/core/error.h"
#include "gda/core/text.h"
#include "gda/data/permutation.h"

namespace gda {
namespace {

std::vector<Timeline> weights_of(const DataConfig& config) {
  std::vector<Timeline> weights;
  for (const auto& source : config.sources) weights.push_back(source.weight);
  return weights;
}

}  // namespace

DataLoader::DataLoader(const DataConfig& config, std::int64_t vocab_size,
                       const std::function<std::int64_t(std::int64_t step)>& first_sample_of_step)
    : config_(config), mixture_(weights_of(config), first_sample_of_step) {
  require<ConfigError>(config.sequence_length >= 1,
                       "data.sequence_length: expected at least 1, found {}",
                       config.sequence_length);
  for (const auto& source : config.sources) add_source(source, vocab_size);
}

void DataLoader::add_source(const DataSourceConfig& config, std::int64_t vocab_size) {
  const bool is_known = std::any_of(sources_.begin(), sources_.end(),
                                    [&](const Source& other) { return other.name == config.name; });
  require<ConfigError>(!is_known, "data.sources: two sources are named {}: names must differ",
                       config.name);
  auto datasets = open_token_datasets(config.path, vocab_size);
  TokenSplit split = split_tokens(datasets, config_.validation_fraction);
  const std::int64_t windows = (split.train.size() - 1) / config_.sequence_length;
  require<ConfigError>(split.train.size() > config_.sequence_length,
                       "data.sources: {} has {} to train on, a sample needs {}: lower "
                       "data.sequence_length, or add text",
                       config.name, counted(split.train.size(), "token"),
                       config_.sequence_length + 1);
  if (split.validation.size() >= 2) {
    validation_.emplace_back(config.name, std::move(split.validation), config_.sequence_length,
                             config_.document_mask);
  }
  sources_.push_back(
      {config.name, std::move(datasets), std::move(split.train),
       Philox(static_cast<std::uint64_t>(config_.seed), RandomPurpose::data_order, config.name),
       windows});
}

std::int64_t DataLoader::window_begin(const Source& source, std::int64_t index) const {
  const auto epoch = static_cast<std::uint64_t>(index / source.windows);
  const KeyedPermutation order(source.random, 2 * epoch, source.windows);
  const std::int64_t left_over = source.train.size() - 1 - source.windows * config_.sequence_length;
  const auto offset = static_cast<std::int64_t>(source.random.bits(2 * epoch + 1) %
                                                static_cast<std::uint64_t>(left_over + 1));
  return offset + order(index % source.windows) * config_.sequence_length;
}

void DataLoader::fill_batch(std::int64_t first_sample, Batch& batch) const {
  require<ConfigError>(batch.sequence_length == config_.sequence_length,
                       "rows of {} asked for, data.sequence_length is {}",
                       counted(batch.sequence_length, "token"), config_.sequence_length);
  for (std::int64_t row = 0; row < batch.batch_size; ++row) {
    const auto choice = mixture_.at(first_sample + row);
    const Source& source = sources_[static_cast<std::size_t>(choice.source)];
    fill_row(source.train, window_begin(source, choice.index), config_.document_mask, row, batch);
    batch.source[static_cast<std::size_t>(row)] = choice.source;
  }
}

const std::string& DataLoader::source_name(int source) const {
  return sources_[static_cast<std::size_t>(source)].name;
}

std::int64_t DataLoader::train_tokens(int source) const {
  return sources_[static_cast<std::size_t>(source)].train.size();
}

void DataLoader::check_targets() const {
  constexpr std::int64_t kWindows = 256;
  Batch batch(1, config_.sequence_length);
  for (const Source& source : sources_) {
    const std::int64_t windows = std::min(kWindows, source.windows);
    std::int64_t targets = 0;
    for (std::int64_t i = 0; i < windows && targets == 0; ++i) {
      try {
        fill_row(source.train, window_begin(source, i), config_.document_mask, 0, batch);
      } catch (const FormatError&) {
        targets = 1;  // bad data is told where it is trained on
        continue;
      }
      targets = batch.target_count();
    }
    require<ConfigError>(targets > 0,
                         "data.sources: {} has nothing to predict: in {} of it every "
                         "document has one token only; look at how it was tokenized, or set "
                         "data.document_mask: false",
                         source.name, counted(windows, "sample"));
  }
}

double DataLoader::epochs_at(int source, std::int64_t sample) const {
  return static_cast<double>(mixture_.count(source, sample)) /
         static_cast<double>(sources_[static_cast<std::size_t>(source)].windows);
}

}  // namespace gda
