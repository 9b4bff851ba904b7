// Being asked to stop: save, and exit with code 0.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "gda/dist/communicator.h"

namespace gda {

enum class StopReason : std::uint8_t {
  none,
  time_limit,
  sigxcpu,
  sigusr1,
  sigusr2,
  sighup,
  sigint,
  sigterm
};

// "SIGTERM", "the time limit (train.max_minutes)", ...
std::string describe(StopReason reason);

// While it lives, what a launcher, a batch system or a user ends processes by is noted instead:
// SIGTERM, SIGINT, SIGHUP (unless the process was started to ignore it, as nohup does), SIGUSR1,
// SIGUSR2 and SIGXCPU. A second SIGINT ends the process at once. SIGPIPE is ignored: that nobody
// reads the output any more is no reason to stop. One in a process; destruction restores the
// handlers before.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // A limit of wall time that counts from now. ConfigError unless it is above 0.
  void set_time_limit(double max_minutes);

  // What this process was asked.
  StopReason here() const;
  // What any process was asked: the same answer on every rank, so that all act on it together.
  // Every rank calls it at the same place of its step.
  StopReason anywhere(Communicator& group) const;

 private:
  std::optional<std::chrono::steady_clock::time_point> deadline_;
};

}  // namespace gda
