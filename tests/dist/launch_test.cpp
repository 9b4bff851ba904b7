#include "dist/launch.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "gda/core/error.h"

namespace gda::dist {
namespace {

bool launched(const std::map<std::string, std::string>& variables) {
  return launched_by_mpi([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(LaunchTest, PlainProgramIsAlone) {
  EXPECT_FALSE(launched({}));
  EXPECT_FALSE(launched({{"PATH", "/usr/bin"}, {"SLURM_NTASKS", "8"}}));
}

TEST(LaunchTest, MpirunAndSrunWithMpiAreSeen) {
  EXPECT_TRUE(launched({{"OMPI_COMM_WORLD_SIZE", "2"}}));
  EXPECT_TRUE(launched({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}}));
  EXPECT_TRUE(launched({{"PMI_RANK", "3"}}));
}

TEST(LaunchTest, SrunOfOneTaskIsAlone) {
  EXPECT_FALSE(launched({{"SLURM_STEP_NUM_TASKS", "1"}}));
}

TEST(LaunchTest, SrunWithoutMpiIsAnError) {
  try {
    launched({{"SLURM_STEP_NUM_TASKS", "8"}});
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, 33), "srun started 8 tasks but no MPI: ");
    EXPECT_NE(std::string(error.what()).find("srun --mpi=pmix"), std::string::npos);
  }
}

}  // namespace
}  // namespace gda::dist
