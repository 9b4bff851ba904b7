// One writer of an output at a time, on one host or several that share a file system.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace gda {

// How long a lock of another host may show no sign of life before it counts as left behind.
// A lock's writer shows one every kLockHeartbeatSeconds.
inline constexpr int kLockHeartbeatSeconds = 10;
inline constexpr int kLockSilenceSeconds = 60;

// Holds an output while it lives: a file that says which host, process and command, made by
// link(2), which is atomic on network file systems, too.
//
// A lock that is there belongs to a process that ended if it is of this host (as it was booted, in
// this process's namespace) and its process is gone; it is taken over with a line in the log. One
// of another host is watched: a sign of life within kLockSilenceSeconds says that it is in use;
// without one it is taken over with a warning.
class OutputLock {
 public:
  // `file` is the lock; its folder is made if it is not there. `what` names the output in errors.
  // ConfigError that names the holder if the output is in use.
  OutputLock(const std::filesystem::path& file, const std::string& what);
  // Removes the file, and the folder if it was made here and is empty.
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

  // Throws IoError if the lock was removed or taken over: somebody else may be writing now.
  void check() const;

 private:
  class Heartbeat;

  std::filesystem::path file_;
  std::string what_;
  std::string own_;  // the file's content
  bool made_folder_ = false;
  std::unique_ptr<Heartbeat> heartbeat_;
};

}  // namespace gda
