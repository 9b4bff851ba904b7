#include "gda/train/data_record.h"

#include <nlohmann/json.hpp>

#include "gda/core/error.h"

namespace gda {

using Json = nlohmann::ordered_json;

std::optional<TokenizerIdentity> DataRecord::tokenizer_of_ids() const {
  std::optional<TokenizerIdentity> known;
  for (const Source& source : sources) {
    if (!source.identity.tokenizer) continue;
    if (known && *known != *source.identity.tokenizer) return tokenizer;
    known = source.identity.tokenizer;
  }
  return known ? known : tokenizer;
}

std::string DataRecord::json() const {
  Json list = Json::array();
  for (const Source& source : sources) {
    Json entry{{"name", source.name}, {"path", source.path}};
    entry.update(Json::parse(identity_json(source.identity)));
    list.push_back(std::move(entry));
  }
  return Json{{"tokenizer", tokenizer ? Json::parse(identity_json(*tokenizer)) : Json()},
              {"sources", std::move(list)}}
      .dump();
}

DataRecord parse_data_record(std::string_view text, std::string_view origin) {
  try {
    const Json json = Json::parse(text);
    DataRecord record;
    if (const Json& tokenizer = json.at("tokenizer"); !tokenizer.is_null()) {
      record.tokenizer = parse_tokenizer_identity(tokenizer.dump(), origin);
    }
    for (const Json& entry : json.at("sources")) {
      record.sources.push_back({.name = entry.at("name").get<std::string>(),
                                .path = entry.at("path").get<std::string>(),
                                .identity = parse_dataset_identity(entry.dump(), origin)});
    }
    return record;
  } catch (const nlohmann::json::exception& reason) {
    fail<FormatError>("{}: not the data of a run: {}", origin, reason.what());
  }
}

}  // namespace gda
