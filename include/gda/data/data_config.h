// The `data` section of a run's configuration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/config/fields.h"

namespace gda {

struct DataSourceConfig {
  std::string name;
  std::string path;
  Timeline weight;

  bool operator==(const DataSourceConfig&) const = default;

  void fields(FieldVisitor& visit) {
    visit.field({.key = "name", .doc = "name in logs and metrics", .required = true}, name);
    visit.field({.key = "path",
                 .doc = "token dataset: prefix of a .bin and .idx pair, an llm.c shard, or a "
                        "folder whose datasets are joined in the order of their names",
                 .required = true,
                 .is_path = true},
                path);
    visit.field(
        {.key = "weight",
         .doc = "share of the tokens, relative to the other sources; may change with the step",
         .minimum = 0},
        weight);
  }
};

struct DataConfig {
  std::vector<DataSourceConfig> sources;
  std::int64_t sequence_length = 4096;
  bool document_mask = true;
  std::int64_t seed = 1234;
  double validation_fraction = 0.01;
  std::string tokenizer;

  bool operator==(const DataConfig&) const = default;

  void fields(FieldVisitor& visit) {
    visit.list_of(
        {.key = "sources", .doc = "token datasets that are mixed by weight", .required = true},
        sources);
    visit.field({.key = "sequence_length", .doc = "tokens per sample", .minimum = 1},
                sequence_length);
    visit.field({.key = "document_mask",
                 .doc = "documents packed into one sample do not attend to each other, and their "
                        "positions start at 0"},
                document_mask);
    visit.field({.key = "seed", .doc = "seed of the order of the samples", .minimum = 0}, seed);
    visit.field({.key = "validation_fraction",
                 .doc = "share of each source's tokens that is kept for validation, in complete "
                        "documents, and never trained on; 0: none",
                 .minimum = 0,
                 .maximum = 0.5},
                validation_fraction);
    visit.field({.key = "tokenizer",
                 .doc = "SentencePiece model that made the data, for generated text (generate, "
                        "score, train.sample); empty: none",
                 .is_path = true},
                tokenizer);
  }
};

}  // namespace gda
