#include "checkpoint/json.h"

#include <set>
#include <string>
#include <vector>

#include "gda/core/error.h"

namespace gda {

using nlohmann::json;

json parse_json(std::string_view text, std::string_view origin) {
  // The keys seen so far in each object that is open.
  std::vector<std::set<std::string>> open;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end) open.pop_back();
    if (event == json::parse_event_t::key) {
      const auto key = parsed.get<std::string>();
      require<FormatError>(open.back().insert(key).second, "{}: the key \"{}\" is there twice",
                           origin, key);
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& error) {
    fail<FormatError>("{} is not valid JSON: {}", origin, error.what());
  }
}

}  // namespace gda
