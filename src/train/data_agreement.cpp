#include "gda/train/data_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/report/readable.h"

namespace gda {
namespace {

std::optional<TokenizerIdentity> tokenizer_at(const std::string& path) {
  if (path.empty()) return std::nullopt;
  try {
    return open_tokenizer(path)->identity();
  } catch (const Error& reason) {
    log::warning("data.tokenizer is not compared with the data: {}", reason.what());
    return std::nullopt;
  }
}

// Rank 0 looks at the file, and tells the others.
std::optional<TokenizerIdentity> shared_tokenizer(const std::string& path, Communicator& world) {
  std::string text;
  if (world.is_root()) {
    const auto own = tokenizer_at(path);
    if (own) text = identity_json(*own);
  }
  text = world.broadcast(text, 0);
  if (text.empty()) return std::nullopt;
  return parse_tokenizer_identity(text, path);
}

const DataRecord::Source* find_source(const DataRecord& record, const std::string& name) {
  const auto found = std::find_if(record.sources.begin(), record.sources.end(),
                                  [&](const auto& source) { return source.name == name; });
  return found == record.sources.end() ? nullptr : &*found;
}

std::string describe_size(const DatasetIdentity& identity) {
  return fmt::format("{} tokens in {} documents", readable_count(identity.tokens),
                     readable_count(identity.documents));
}

std::string describe_change(const DataRecord::Source& before, const DataRecord::Source& now) {
  std::string text =
      fmt::format("source {} ({}): {} then, {} now, with other content", now.name, now.path,
                  describe_size(before.identity), describe_size(now.identity));
  const auto& old_tokenizer = before.identity.tokenizer;
  const auto& new_tokenizer = now.identity.tokenizer;
  if (old_tokenizer && new_tokenizer && *old_tokenizer != *new_tokenizer) {
    text += fmt::format("; of tokenizer {} then, {} now", describe(*old_tokenizer),
                        describe(*new_tokenizer));
  }
  return text;
}

// Of a source that has tokens.
std::vector<std::string> faults_of_size(const DataRecord::Source& source,
                                        const DataConfig& config) {
  std::vector<std::string> faults;
  const DatasetIdentity& data = source.identity;
  if (data.tokens > 0 && data.tokens <= config.sequence_length) {
    faults.push_back(
        fmt::format("data.sources: {} has {} tokens to train on, a sample needs {}: lower "
                    "data.sequence_length, or add text",
                    source.name, data.tokens, config.sequence_length + 1));
  }
  return faults;
}

}  // namespace

std::string describe(const TokenizerIdentity& tokenizer) {
  return fmt::format("{} ({}, {} ids)", tokenizer.fingerprint, tokenizer.kind,
                     readable_count(tokenizer.vocab_size));
}

std::optional<TokenizerIdentity> tokenizer_beside(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.model";
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    return open_tokenizer(file)->identity();
  } catch (const FormatError& reason) {
    log::warning("the model's tokenizer is not known: {}", reason.what());
    return std::nullopt;
  }
}

void require_none(const std::vector<std::string>& lines, std::string_view what,
                  std::string_view way_on) {
  if (lines.empty()) return;
  fail<ConfigError>("{}:\n  {}{}{}", what, fmt::join(lines, "\n  "), way_on.empty() ? "" : "\n",
                    way_on);
}

std::vector<std::string> faults_of(const NamedData& data, std::int64_t vocab_size,
                                   bool document_mask) {
  std::vector<std::string> faults;
  for (const auto& [path, identity] : data.datasets) {
    const auto add = [&, &path = path](const std::string& fault) {
      faults.push_back(fmt::format("{}: {} {}", data.setting, path, fault));
    };
    if (identity.tokens == 0) {
      add("holds no tokens: make it again from text, or leave it out");
      continue;
    }
    if (identity.smallest_id < 0) {
      add(
          fmt::format("has token id {}: it holds no ids, or its .idx names another dtype than the "
                      "one that it was written with",
                      identity.smallest_id));
    }
    if (identity.largest_id >= vocab_size) {
      add(fmt::format(
          "has token id {}, but the model's vocab_size is {}: use data of the model's tokenizer, "
          "or begin a model with a vocab_size of at least {}",
          identity.largest_id, vocab_size, identity.largest_id + 1));
    } else if (identity.tokenizer && identity.tokenizer->vocab_size > vocab_size) {
      add(
          fmt::format("was made by a tokenizer of {} ids, but the model's vocab_size is {}: use "
                      "data of the model's tokenizer, or begin a model with a vocab_size of at "
                      "least {}",
                      identity.tokenizer->vocab_size, vocab_size, identity.tokenizer->vocab_size));
    }
  }
  const DatasetIdentity all = joined_identity(data.datasets);
  if (document_mask && all.tokens > 0 && all.tokens == all.documents) {
    faults.push_back(
        fmt::format("{} has nothing to predict: each of its {} documents has one token only; look "
                    "at how it was tokenized, or set data.document_mask: false",
                    data.setting, readable_count(all.documents)));
  }
  return faults;
}

std::vector<std::string> tokenizer_faults_of(const std::vector<NamedData>& data,
                                             std::optional<TokenizerIdentity> expected,
                                             std::string origin) {
  std::vector<std::string> faults;
  for (const NamedData& source : data) {
    for (const auto& [path, identity] : source.datasets) {
      if (!identity.tokenizer) continue;
      if (!expected) {
        expected = identity.tokenizer;
        origin = path;
      }
      if (identity.tokenizer->fingerprint == expected->fingerprint) continue;
      faults.push_back(fmt::format("{}: {} was made by tokenizer {}, {} is of {}", source.setting,
                                   path, describe(*identity.tokenizer), origin,
                                   describe(*expected)));
    }
  }
  return faults;
}

IdentifiedRunData identify_run_data(const RunConfig& config, Communicator& world) {
  std::vector<std::string> paths;
  for (const DataSourceConfig& source : config.data.sources) paths.push_back(source.path);
  auto datasets = identify_datasets(paths, world);
  const std::int64_t vocab_size = config.model.vocab_size;
  IdentifiedRunData data;
  std::vector<NamedData> sources;
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    const DataSourceConfig& source = config.data.sources[i];
    sources.push_back({"data.sources: " + source.name, std::move(datasets[i])});
    data.record.sources.push_back(
        {source.name, source.path, joined_identity(sources.back().datasets)});
    for (auto& fault : faults_of(sources.back(), vocab_size, config.data.document_mask)) {
      data.faults.push_back(std::move(fault));
    }
    for (auto& fault : faults_of_size(data.record.sources.back(), config.data)) {
      data.faults.push_back(std::move(fault));
    }
  }
  data.record.tokenizer = shared_tokenizer(config.data.tokenizer, world);
  const std::string origin = "data.tokenizer " + config.data.tokenizer;
  if (data.record.tokenizer && data.record.tokenizer->vocab_size > vocab_size) {
    data.faults.push_back(fmt::format(
        "{} has {} ids, but the model's vocab_size is {}: give the model's tokenizer, or begin a "
        "model with a vocab_size of at least {}",
        origin, data.record.tokenizer->vocab_size, vocab_size, data.record.tokenizer->vocab_size));
  }
  data.tokenizer_faults = tokenizer_faults_of(sources, data.record.tokenizer, origin);
  return data;
}

DataChanges changes_of(const DataRecord& before, const DataRecord& now) {
  DataChanges changes;
  for (const DataRecord::Source& source : now.sources) {
    const DataRecord::Source* const old = find_source(before, source.name);
    if (old == nullptr) {
      changes.notes.push_back(
          fmt::format("source {} is new: {}; the order goes on as if it "
                      "had been there from the first step",
                      source.name, describe_size(source.identity)));
    } else if (old->identity.content != source.identity.content) {
      changes.changed.push_back(describe_change(*old, source));
    }
  }
  for (const DataRecord::Source& source : before.sources) {
    if (find_source(now, source.name) != nullptr) continue;
    changes.notes.push_back(
        fmt::format("source {} is gone: {}; the order goes on as if it "
                    "had never been there",
                    source.name, describe_size(source.identity)));
  }
  const auto old_ids = before.tokenizer_of_ids();
  const auto new_ids = now.tokenizer_of_ids();
  if (changes.changed.empty() && old_ids && new_ids && *old_ids != *new_ids) {
    changes.changed.push_back(fmt::format("tokenizer of the data: {} then, {} now",
                                          describe(*old_ids), describe(*new_ids)));
  }
  return changes;
}

}  // namespace gda
