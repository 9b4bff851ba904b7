#include "gda/core/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "gda/core/error.h"
#include "gda/core/file.h"

namespace gda::log {
namespace {

struct State {
  std::shared_ptr<spdlog::sinks::stderr_sink_mt> console =
      std::make_shared<spdlog::sinks::stderr_sink_mt>();
  spdlog::logger logger{"gda", console};
  int rank = 0;

  State() {
    logger.set_level(spdlog::level::debug);
    logger.flush_on(spdlog::level::info);
    console->set_level(spdlog::level::info);
    console->set_pattern("%v");
  }
};

State& state() {
  static State instance;
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void set_rank(int rank, int world_size) {
  state().rank = rank;
  // With several processes an error line must say whose it is.
  state().console->set_level(rank == 0 ? spdlog::level::info : spdlog::level::err);
  state().console->set_pattern(world_size > 1 && rank != 0 ? fmt::format("rank {}: %v", rank)
                                                           : "%v");
}

void open_file(const std::filesystem::path& directory) {
  make_directories(directory);
  const auto path = directory / fmt::format("rank-{:05}.log", state().rank);
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %L %v");
    state().logger.sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& reason) {
    fail<IoError>("cannot write {}: {}", path.string(), reason.what());
  }
}

void write(Level level, const std::string& message) {
  state().logger.log(to_spdlog(level), message);
}

void flush() {
  state().logger.flush();
}

}  // namespace gda::log
