#include "support/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

namespace gda::test {
namespace fs = std::filesystem;
namespace {

constexpr double kLongest = 600;  // seconds; a few suffice on a machine that is not crowded

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string read_all(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// The process's parent; 0 if it is gone. Its name, in parentheses, may hold spaces.
pid_t parent_of(const fs::path& process) {
  const std::string stat = read_all(process / "stat");
  const std::size_t end = stat.rfind(')');
  if (end == std::string::npos) return 0;
  const std::vector<std::string> fields = words(stat.substr(end + 1));
  return fields.size() < 2 ? 0 : static_cast<pid_t>(std::stol(fields[1]));
}

}  // namespace

std::string Outcome::last_line() const {
  const std::size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return {};
  const std::size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - begin);
}

Program::Program(const std::vector<std::string>& arguments, int ranks) {
  std::string name = ::testing::TempDir() + "gda-output-XXXXXX";
  const int output = ::mkstemp(name.data());
  output_ = name;
  std::vector<std::string> command;
  if (ranks > 0) {
    command = words(GDA_MPIRUN);
    command.insert(command.end(), {"-np", std::to_string(ranks)});
  }
  command.push_back(GDA_PROGRAM);
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(output);
}

Program::~Program() {
  if (running()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
  }
  std::error_code ignored;
  fs::remove(output_, ignored);
}

bool Program::running() {
  if (!ended_) ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

bool Program::wait_until(const std::function<bool()>& condition) {
  const double end = now() + kLongest;
  while (running() && now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return false;
}

Outcome Program::wait() {
  wait_until([] { return false; });
  if (running()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
    ended_ = true;
    ADD_FAILURE() << "did not end within " << kLongest << " s: " << read_all(output_);
  }
  Outcome outcome;
  outcome.code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  outcome.text = read_all(output_);
  return outcome;
}

void Program::signal(int number) const {
  ::kill(pid_, number);
}

void Program::signal_rank(int rank, int number) const {
  const pid_t pid = rank_pid(rank);
  ASSERT_GT(pid, 0) << "rank " << rank << " is not running";
  ::kill(pid, number);
}

pid_t Program::rank_pid(int rank) const {
  using namespace std::string_literals;
  const std::string wanted = "\0OMPI_COMM_WORLD_RANK="s + std::to_string(rank) + "\0"s;
  for (const fs::directory_entry& process : fs::directory_iterator("/proc")) {
    const std::string name = process.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (parent_of(process.path()) != pid_) continue;
    if (read_all(process.path() / "environ").find(wanted) != std::string::npos) {
      return static_cast<pid_t>(std::stol(name));
    }
  }
  return 0;
}

Outcome run_gda(const std::vector<std::string>& arguments, int ranks) {
  return Program(arguments, ranks).wait();
}

}  // namespace gda::test
