// Runs the gda program as a user does, alone or under mpirun, and sends signals to it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace gda::test {

struct Outcome {
  int code = -1;     // 128 + the signal's number when one ended it
  std::string text;  // stdout and stderr

  bool says(const std::string& part) const { return text.find(part) != std::string::npos; }
  std::string last_line() const;
};

// A running gda, or an mpirun with `ranks` of them when ranks > 0. It is killed with its
// destructor.
class Program {
 public:
  Program(const std::vector<std::string>& arguments, int ranks = 0);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const;
  void signal_rank(int rank, int number) const;
  bool running();
  // Polls until a condition holds; false if the program ended, or ten minutes passed, before it
  // did.
  bool wait_until(const std::function<bool()>& condition);
  Outcome wait();

 private:
  // Of rank `rank` of this mpirun's own processes; 0 if there is none.
  pid_t rank_pid(int rank) const;

  pid_t pid_ = 0;
  int status_ = 0;
  bool ended_ = false;
  std::filesystem::path output_;
};

Outcome run_gda(const std::vector<std::string>& arguments, int ranks = 0);

}  // namespace gda::test
