#include <gtest/gtest.h>

#include <csignal>

#include "gda/train/stop_request.h"
#include "support/mpi.h"

namespace gda {
namespace {

TEST(StopRequestMpiTest, OneRankIsAskedAllStop) {
  const StopRequest stop;
  EXPECT_EQ(stop.anywhere(test::world()), StopReason::none);
  const bool last = test::world().rank() == test::world().size() - 1;
  if (last) std::raise(SIGUSR1);
  EXPECT_EQ(stop.anywhere(test::world()), StopReason::sigusr1);
  EXPECT_EQ(stop.here(), last ? StopReason::sigusr1 : StopReason::none);
}

}  // namespace
}  // namespace gda
