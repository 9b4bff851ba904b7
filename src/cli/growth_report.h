// Report of a growth's changes, as a page and as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

#include "gda/growth/exactness.h"
#include "gda/growth/growth_map.h"

namespace gda::cli {

struct DiskSpace {
  std::uint64_t needed = 0;
  std::uint64_t free = 0;
};

struct GrowthReport {
  const GrowthMap& map;
  std::int64_t sequence_length = 0;  // of the run, for FLOPs a token
  DiskSpace disk;
};

void print_page(const GrowthReport& report);
nlohmann::ordered_json to_json(const GrowthReport& report);

// Of the comparison of the two models on `origin`.
void print_exactness(const GrowthMap& map, const Exactness& exactness, const std::string& origin);
nlohmann::ordered_json to_json(const Exactness& exactness, const std::string& origin);

}  // namespace gda::cli
