// The emulated NCCL notices calls that a real one may survive now and then.
#include "nccl.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "core/device_runtime.h"
#include "gda/core/error.h"

namespace gda {
namespace {

// A group of this process alone.
class NcclTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cuda::use_device(0);
    ncclUniqueId id{};
    ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ASSERT_EQ(ncclCommInitRankConfig(&group_, 1, id, 0, &config), ncclInProgress);
    while (state() == ncclInProgress) {
    }
    ASSERT_EQ(state(), ncclSuccess);
  }
  void TearDown() override { ncclCommAbort(group_); }

  ncclResult_t state() const {
    ncclResult_t state = ncclSuccess;
    EXPECT_EQ(ncclCommGetAsyncError(group_, &state), ncclSuccess);
    return state;
  }

  ncclComm_t group_ = nullptr;
};

TEST_F(NcclTest, NoticesTwoThreadsInOneGroup) {
  std::atomic<bool> failed = false;
  const auto ask = [&] {
    cuda::use_device(0);
    while (!failed) failed = failed || state() != ncclSuccess;
  };
  std::thread other(ask);
  ask();
  other.join();
  EXPECT_EQ(state(), ncclInvalidUsage);
  EXPECT_STREQ(ncclGetLastError(nullptr), "two threads are in calls of one group");
}

TEST_F(NcclTest, NoticesAThreadWithoutADevice) {
  std::string message;
  std::thread([&] {
    try {
      state();
    } catch (const Error& error) {
      message = error.what();
    }
  }).join();
  EXPECT_EQ(message, "the emulated device: this thread has not chosen its device");
}

}  // namespace
}  // namespace gda
