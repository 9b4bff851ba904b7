// Logging through spdlog. One logger a process: the console shows rank 0 only (and errors of every
// rank), the rank's file gets everything.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <utility>

namespace gda::log {

enum class Level { debug, info, warning, error };

// Sets which rank this process is. Before the call the process counts as rank 0 of 1.
void set_rank(int rank, int world_size);

// Also writes to `directory`/rank-NNNNN.log from now on (appending).
void open_file(const std::filesystem::path& directory);

void write(Level level, const std::string& message);
void flush();

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace gda::log
