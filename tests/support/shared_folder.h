// A folder of all ranks of a test under mpirun.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "support/mpi.h"

namespace gda::test {

class SharedFolder {
 public:
  SharedFolder() {
    const std::string name = world().broadcast("gda-shared-" + std::to_string(::getpid()), 0);
    path_ = std::filesystem::path(::testing::TempDir()) / name;
    if (world().rank() == 0) std::filesystem::create_directories(path_);
    world().barrier();
  }
  ~SharedFolder() {
    world().barrier();
    if (world().rank() == 0) std::filesystem::remove_all(path_);
    world().barrier();
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // A name of this rank alone.
  static std::string own(const std::string& name) {
    return name + "-of-" + std::to_string(world().rank());
  }

 private:
  std::filesystem::path path_;
};

}  // namespace gda::test
