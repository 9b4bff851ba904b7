// Numbers as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace gda {

// 8030261248 -> "8,030,261,248".
std::string readable_count(std::int64_t count);
// 8030261248 -> "8.03B", 12345678 -> "12.3M", 950 -> "950". Three significant digits.
std::string readable_number(std::int64_t count);
// 3435973836 -> "3.20 GiB". Three significant digits.
std::string readable_bytes(std::int64_t bytes);
// 11530 -> "3h 12m", 372 -> "6m 12s", 200000 -> "2d 07h". Not a finite, sane number: "-".
std::string readable_duration(double seconds);
// "2026-11-27T22:36:54.123Z": UTC by ISO 8601, milliseconds cut off.
std::string utc_time(std::chrono::system_clock::time_point time);

}  // namespace gda
