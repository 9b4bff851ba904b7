#include "gda/core/output_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "support/temporary_folder.h"

namespace gda::test {
namespace {
namespace fs = std::filesystem;

class OutputLockTest : public ::testing::Test {
 protected:
  std::string refusal() const {
    try {
      const OutputLock second(file_, "the output");
    } catch (const ConfigError& error) {
      return error.what();
    }
    return {};
  }
  // As a process leaves it that has no time to clear up.
  void leave_behind() const {
    const pid_t child = ::fork();
    if (child == 0) {
      const OutputLock lock(file_, "the output");
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(fs::exists(file_));
  }
  void replace(const std::string& from, const std::string& to) const {
    std::string text = read_text_file(file_);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    text.replace(at, text.find('\n', at) - at, to);
    write_text_file_atomically(file_, text);
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(file_.parent_path()), fs::directory_iterator{}));
  }

  const TemporaryFolder folder_;
  const fs::path file_ = folder_ / "run" / "lock";
};

TEST_F(OutputLockTest, RefusesASecondAndNamesTheFirst) {
  {
    const OutputLock lock(file_, "the output");
    const std::string error = refusal();
    EXPECT_NE(error.find("the output is in use by process " + std::to_string(::getpid()) +
                         " of host " + host_name()),
              std::string::npos)
        << error;
    EXPECT_NE(error.find("remove " + file_.string()), std::string::npos) << error;
    lock.check();
    EXPECT_EQ(files(), 1U);
  }
  EXPECT_FALSE(fs::exists(file_.parent_path())) << "made by the lock, and empty";
}

TEST_F(OutputLockTest, AFolderThatIsUsedStays) {
  {
    const OutputLock lock(file_, "the output");
    write_text_file_atomically(file_.parent_path() / "x", "");
  }
  EXPECT_FALSE(fs::exists(file_));
  EXPECT_TRUE(fs::exists(file_.parent_path() / "x"));
}

TEST_F(OutputLockTest, TakesOverFromAProcessThatIsGone) {
  leave_behind();
  const OutputLock lock(file_, "the output");
  lock.check();
  EXPECT_EQ(files(), 1U);
}

TEST_F(OutputLockTest, AProcessNumberThatWasGivenAgainIsAnother) {
  // Linux tells when a process began in hundredths of a second: not in this one's own.
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  leave_behind();
  replace("pid: ", "pid: " + std::to_string(::getpid()));
  EXPECT_EQ(refusal(), "");
}

TEST_F(OutputLockTest, OfAnotherHostALockIsInUseWhenItShowsLife) {
  leave_behind();
  replace("host: ", "host: elsewhere");
  replace("space: ", "space: another boot");
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
    }
  });
  const std::string error = refusal();
  done = true;
  other.join();
  EXPECT_NE(error.find("of host elsewhere"), std::string::npos) << error;
}

TEST_F(OutputLockTest, TellsWhenItWasTakenAway) {
  const OutputLock lock(file_, "the output");
  replace("host: ", "host: elsewhere");
  EXPECT_THROW(lock.check(), IoError);
  fs::remove(file_);
  EXPECT_THROW(lock.check(), IoError);
  {
    const OutputLock next(file_, "the output");
    EXPECT_THROW(lock.check(), IoError);
  }
}

// Eight processes at once want what a ninth has left behind.
TEST_F(OutputLockTest, OneOfManyGetsIt) {
  leave_behind();
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    try {
      const OutputLock lock(file_, "the output");
      std::this_thread::sleep_for(std::chrono::seconds(2));
      lock.check();
      ::_exit(0);
    } catch (const Error&) {
      ::_exit(1);
    }
  }
  int holders = 0;
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    holders += WEXITSTATUS(status) == 0 ? 1 : 0;
  }
  EXPECT_EQ(holders, 1);
}

TEST_F(OutputLockTest, TemporaryNamesAreOnesOwn) {
  EXPECT_NE(temporary_beside("a/b"), temporary_beside("a/b"));
  EXPECT_EQ(temporary_beside("a/b").parent_path(), "a");
  EXPECT_EQ(temporary_beside("a/b").extension(), ".tmp");
}

}  // namespace
}  // namespace gda::test
