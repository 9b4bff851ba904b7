#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <utility>

#include "dist/launch.h"
#include "dist/mpi_communicator.h"
#include "gda/core/environment.h"
#include "gda/core/error.h"
#include "gda/core/log.h"

namespace gda {
namespace {

// The session's thread, for abort(): an error handler has no session at hand. It also keeps the
// thread alive when an exception destroys the session. A process that then ends without abort()
// leaves without waiting for the other ranks; the launcher sees that and stops them.
class CurrentThread {
 public:
  ~CurrentThread() {
    if (thread_) thread_->end(MpiThread::Ending::abandon);
  }
  // Returns the one before.
  std::shared_ptr<MpiThread> exchange(std::shared_ptr<MpiThread> thread) {
    const std::lock_guard lock(mutex_);
    return std::exchange(thread_, std::move(thread));
  }
  std::shared_ptr<MpiThread> get() {
    const std::lock_guard lock(mutex_);
    return thread_;
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<MpiThread> thread_;
};

CurrentThread& current() {
  static CurrentThread instance;
  return instance;
}

}  // namespace

std::shared_ptr<MpiThread> session_thread() {
  return current().get();
}

MpiSession::MpiSession()
    : active_(dist::launched_by_mpi(environment)), exceptions_(std::uncaught_exceptions()) {
  if (!active_) return;
  thread_ = std::make_shared<MpiThread>();
  current().exchange(thread_);
}

MpiSession::~MpiSession() {
  if (!thread_ || std::uncaught_exceptions() > exceptions_) return;
  current().exchange(nullptr);
  thread_->end(MpiThread::Ending::finish);
}

std::unique_ptr<Communicator> MpiSession::world(std::chrono::seconds timeout) const {
  if (!active_) return make_self_communicator();
  return dist::make_mpi_communicator(thread_, timeout, {});
}

void MpiSession::abort(int exit_code) {
  log::flush();
  std::fflush(nullptr);
  if (const auto thread = current().exchange(nullptr)) {
    thread->end(MpiThread::Ending::abort, exit_code);
  }
  std::_Exit(exit_code);
}

}  // namespace gda
