// metrics.jsonl, as tests compare it.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
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
          "peak_resident_bytes", "seconds", "sent_bytes", "time", "waited_seconds"}) {
      line.erase(key);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

// Of two lines, or parts of them: numbers within `tolerance` of themselves, everything else equal.
inline void expect_near(const nlohmann::json& found, const nlohmann::json& expected,
                        double tolerance, const std::string& what) {
  if (expected.is_structured()) {
    ASSERT_EQ(found.size(), expected.size()) << what << ": " << found << " " << expected;
    for (const auto& [key, value] : expected.items()) {
      const nlohmann::json& other = expected.is_array() ? found.at(std::stoul(key)) : found.at(key);
      std::string where = what;
      expect_near(other, value, tolerance, where.append(" ").append(key));
    }
  } else if (expected.is_number_float()) {
    const auto value = expected.get<double>();
    ASSERT_TRUE(found.is_number()) << what;
    EXPECT_NEAR(found.get<double>(), value, tolerance * std::abs(value)) << what;
  } else {
    EXPECT_EQ(found, expected) << what;
  }
}

}  // namespace gda::test
