#include "gda/data/dataset_identity.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gda/core/checksum.h"
#include "gda/core/error.h"

namespace gda {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const TokenizerIdentity& identity) {
  return {{"kind", identity.kind},
          {"fingerprint", identity.fingerprint},
          {"vocab_size", identity.vocab_size}};
}

TokenizerIdentity tokenizer_of(const Json& json) {
  return {.kind = json.at("kind").get<std::string>(),
          .fingerprint = json.at("fingerprint").get<std::string>(),
          .vocab_size = json.at("vocab_size").get<std::int64_t>()};
}

}  // namespace

std::string identity_json(const TokenizerIdentity& identity) {
  return json_of(identity).dump();
}

TokenizerIdentity parse_tokenizer_identity(std::string_view text, std::string_view origin) {
  try {
    return tokenizer_of(Json::parse(text));
  } catch (const nlohmann::json::exception& reason) {
    fail<FormatError>("{}: not a tokenizer's identity: {}", origin, reason.what());
  }
}

std::string identity_json(const DatasetIdentity& identity) {
  const Json json{{"tokens", identity.tokens},
                  {"documents", identity.documents},
                  {"smallest_id", identity.smallest_id},
                  {"largest_id", identity.largest_id},
                  {"content", identity.content},
                  {"tokenizer", identity.tokenizer ? json_of(*identity.tokenizer) : Json()}};
  return json.dump();
}

DatasetIdentity parse_dataset_identity(std::string_view text, std::string_view origin) {
  try {
    const Json json = Json::parse(text);
    DatasetIdentity identity{.tokens = json.at("tokens").get<std::int64_t>(),
                             .documents = json.at("documents").get<std::int64_t>(),
                             .smallest_id = json.at("smallest_id").get<std::int64_t>(),
                             .largest_id = json.at("largest_id").get<std::int64_t>(),
                             .content = json.at("content").get<std::string>(),
                             .tokenizer = {}};
    if (const Json& tokenizer = json.at("tokenizer"); !tokenizer.is_null()) {
      identity.tokenizer = tokenizer_of(tokenizer);
    }
    return identity;
  } catch (const nlohmann::json::exception& reason) {
    fail<FormatError>("{}: not a dataset's identity: {}", origin, reason.what());
  }
}

DatasetIdentity joined_identity(std::span<const IdentifiedDataset> datasets) {
  if (datasets.size() == 1) return datasets.front().identity;
  DatasetIdentity joined;
  ContentHash hash;
  for (const auto& [path, identity] : datasets) {
    const bool is_first = &identity == &datasets.front().identity;
    hash.update(std::as_bytes(std::span(identity.content)));
    joined.tokens += identity.tokens;
    joined.documents += identity.documents;
    joined.smallest_id = std::min(joined.smallest_id, identity.smallest_id);
    joined.largest_id = std::max(joined.largest_id, identity.largest_id);
    if (is_first) joined.smallest_id = identity.smallest_id;
    if (is_first) joined.tokenizer = identity.tokenizer;
    if (joined.tokenizer != identity.tokenizer) joined.tokenizer.reset();
  }
  joined.content = hash.hex();
  return joined;
}

}  // namespace gda
