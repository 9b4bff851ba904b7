// Identity of a token dataset, by which data, tokenizer, model and run are compared before a run
// begins: found without reading the dataset again wherever that was done before.
//
// `gda tokenize` writes it beside the dataset, as PREFIX.gda.json (docs/data.md has the layout);
// the .bin and .idx stay as other programs know them. A dataset without such a file, or with one
// that does not fit it any more, is read once, and the file is written then, by whoever opens it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/tokenizer/tokenizer.h"

namespace gda {

struct DatasetIdentity {
  std::int64_t tokens = 0;
  std::int64_t documents = 0;    // that have a token
  std::int64_t smallest_id = 0;  // of all tokens; of no token: 0 and -1
  std::int64_t largest_id = -1;
  // Hash of the ids and of where documents begin; the file's name, format and width of tokens do
  // not matter to it. Of several datasets: of theirs, in their order.
  std::string content;
  std::optional<TokenizerIdentity> tokenizer;  // nothing: not known

  bool operator==(const DatasetIdentity&) const = default;
};

struct IdentifiedDataset {
  std::string path;  // of the file with the tokens
  DatasetIdentity identity;
};

// The datasets of each path (see open_token_datasets), identified. A file beside the dataset (else
// in the user's cache folder, $XDG_CACHE_HOME/gda/datasets) is believed if sizes, times of change
// and a hash of a few blocks of the dataset's files are as it says. If they are not, the dataset is
// read: all ranks share the work, and wait for each other without limit; the log tells how far they
// are. Where it turns out to be the same dataset, copied or touched, its tokenizer is still known.
//
// Rank 0 looks; the others compare length and blocks of what they see with that, as hosts may have
// copies of their own, and FormatError says which one differs.
//
// Throws IoError or FormatError for a dataset that cannot be opened or is damaged (all such paths
// in one error), ConfigError where a newer gda has written the file beside it. Collective.
std::vector<std::vector<IdentifiedDataset>> identify_datasets(const std::vector<std::string>& paths,
                                                              Communicator& group);

// Several datasets as one. Its tokenizer is known if all have the same.
DatasetIdentity joined_identity(std::span<const IdentifiedDataset> datasets);

// As JSON on one line, and back. Throws FormatError that begins with `origin`.
std::string identity_json(const DatasetIdentity& identity);
DatasetIdentity parse_dataset_identity(std::string_view json, std::string_view origin);
std::string identity_json(const TokenizerIdentity& identity);
TokenizerIdentity parse_tokenizer_identity(std::string_view json, std::string_view origin);

}  // namespace gda
