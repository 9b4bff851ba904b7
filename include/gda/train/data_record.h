// The data that a run is trained with, as its checkpoints remember it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gda/data/dataset_identity.h"

namespace gda {

struct DataRecord {
  struct Source {
    std::string name;
    std::string path;
    DatasetIdentity identity;  // of its datasets, joined

    // Wherever it lies.
    bool operator==(const Source& other) const {
      return name == other.name && identity == other.identity;
    }
  };
  std::vector<Source> sources;
  std::optional<TokenizerIdentity> tokenizer;  // data.tokenizer; nothing: none, or it is not there

  bool operator==(const DataRecord&) const = default;

  // Whose ids the model learns: the tokenizer that made the sources, as far as that is known and
  // they agree, else data.tokenizer.
  std::optional<TokenizerIdentity> tokenizer_of_ids() const;

  std::string json() const;
};

// Throws FormatError that begins with `origin`.
DataRecord parse_data_record(std::string_view json, std::string_view origin);

}  // namespace gda
