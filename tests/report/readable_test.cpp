#include "gda/report/readable.h"

#include <gtest/gtest.h>

#include <limits>

namespace gda {
namespace {

TEST(ReadableTest, Counts) {
  EXPECT_EQ(readable_count(0), "0");
  EXPECT_EQ(readable_count(999), "999");
  EXPECT_EQ(readable_count(1000), "1,000");
  EXPECT_EQ(readable_count(8030261248), "8,030,261,248");
  EXPECT_EQ(readable_count(-999), "-999");
  EXPECT_EQ(readable_count(-123456), "-123,456");
}

TEST(ReadableTest, Bytes) {
  EXPECT_EQ(readable_bytes(0), "0 B");
  EXPECT_EQ(readable_bytes(1023), "1023 B");
  EXPECT_EQ(readable_bytes(1024), "1.00 KiB");
  EXPECT_EQ(readable_bytes(3435973836), "3.20 GiB");
  EXPECT_EQ(readable_bytes(std::int64_t{50} << 20), "50.0 MiB");
  EXPECT_EQ(readable_bytes((std::int64_t{1} << 30) - 1), "1.00 GiB");
  EXPECT_EQ(readable_bytes(std::numeric_limits<std::int64_t>::max()), "8.00 EiB");
}

TEST(ReadableTest, Durations) {
  EXPECT_EQ(readable_duration(0), "0s");
  EXPECT_EQ(readable_duration(59.6), "1m 00s");
  EXPECT_EQ(readable_duration(372), "6m 12s");
  EXPECT_EQ(readable_duration(11530), "3h 12m");
  EXPECT_EQ(readable_duration(200000), "2d 07h");
  EXPECT_EQ(readable_duration(-1), "-");
  EXPECT_EQ(readable_duration(1e300), "-");
  EXPECT_EQ(readable_duration(std::numeric_limits<double>::quiet_NaN()), "-");
}

TEST(ReadableTest, UtcTimes) {
  using std::chrono::milliseconds;
  const auto at = [](std::int64_t count) {
    return utc_time(std::chrono::system_clock::time_point(milliseconds(count)));
  };
  EXPECT_EQ(at(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(at(1795818054123), "2026-11-27T22:20:54.123Z");
  EXPECT_EQ(at(951782400007), "2000-02-29T00:00:00.007Z");
  EXPECT_EQ(at(-1), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace gda
