// Tests of every kind of group that sends: of the host by MPI, and of a device by NCCL and through
// the host's memory.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gda/core/stream.h"
#include "gda/dist/device_communicator.h"
#include "support/mpi.h"

namespace gda::test {

enum class Backend { host, nccl, staged };

class BackendTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    if (GetParam() == Backend::host) return;
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device is there";
    if (GetParam() == Backend::nccl && !nccl_is_available()) {
      GTEST_SKIP() << "this build has no NCCL";
    }
    stream_ = OwnedStream(choose_device(
        {.wanted = WantedDevice::cuda, .setting = "device: cuda", .may_share = true}, world()));
    const bool nccl = GetParam() == Backend::nccl;
    group_ = make_device_communicator(world(), stream(),
                                      {.backend = nccl ? DeviceBackend::nccl : DeviceBackend::mpi});
  }

  // Of all ranks.
  Communicator& group() const { return group_ ? *group_ : world(); }
  const Stream& stream() const { return stream_.get(); }

 private:
  OwnedStream stream_;
  std::unique_ptr<Communicator> group_;
};

inline auto all_backends() {
  return ::testing::Values(Backend::host, Backend::nccl, Backend::staged);
}

inline std::string name_of_backend(const ::testing::TestParamInfo<Backend>& test) {
  switch (test.param) {
    case Backend::host:
      return "Host";
    case Backend::nccl:
      return "Nccl";
    case Backend::staged:
      return "Staged";
  }
  return "";
}

}  // namespace gda::test
