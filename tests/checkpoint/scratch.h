// A folder for one test, and the text of errors.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

#include "gda/core/error.h"

namespace gda::test {

// An empty folder that is removed with what is in it.
class Scratch {
 public:
  Scratch() {
    std::string pattern = testing::TempDir() + "/gda-checkpoint-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw IoError("cannot make " + pattern);
    path_ = pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The message of the E that f throws; a test failure if it throws none.
template <class E>
std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error of the expected kind";
  return {};
}

}  // namespace gda::test
