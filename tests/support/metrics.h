// metrics.jsonl, as tests compare it.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace gda::test {

// The lines, without what depends on the machine and on the number of ranks: times, rates, memory.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream stream(run / "metrics.jsonl");
  for (std::string text; std::getline(stream, text);) {
    nlohmann::json line = nlohmann::json::parse(text);
    for (const char* key :
         {"tokens_per_second", "flops_full", "flops_causal", "mfu_full", "mfu_causal", "peak_flops",
          "measured_flops", "share_of_measured", "eta_seconds", "elapsed_seconds", "resident_bytes",
          "peak_resident_bytes", "seconds", "time"}) {
      line.erase(key);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace gda::test
