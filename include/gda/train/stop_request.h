// Being asked to stop: save, and exit with code 0.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "gda/dist/communicator.h"

namespace gda {

enum class StopReason : std::uint8_t { none, time_limit, sigusr1, sigint, sigterm };

// "SIGTERM", "the time limit (train.max_minutes)", ...
std::string describe(StopReason reason);

// While it lives, SIGTERM, SIGINT and SIGUSR1 are noted instead of ending the process. A second
// SIGINT ends it at once. One in a process; destruction restores the handlers before.
class StopRequest {
 public:
  // The time limit counts from here.
  explicit StopRequest(std::optional<double> max_minutes = std::nullopt);
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // What this process was asked.
  StopReason here() const;
  // What any process was asked: the same answer on every rank, so that all act on it together.
  // Every rank calls it at the same place of its step.
  StopReason anywhere(Communicator& group) const;

 private:
  std::optional<std::chrono::steady_clock::time_point> deadline_;
};

}  // namespace gda
