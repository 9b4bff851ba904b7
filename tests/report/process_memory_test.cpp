#include "gda/report/process_memory.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>

namespace gda {
namespace {

TEST(ProcessMemoryTest, SeesWhatIsTouchedAndFreed) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer keeps what is freed";
#endif
  constexpr std::int64_t kBytes = std::int64_t{64} << 20;
  const ProcessMemory before = process_memory();
  EXPECT_GT(before.resident_bytes, 0);
  EXPECT_GE(before.peak_resident_bytes, before.resident_bytes);
  auto block = std::make_unique<std::byte[]>(kBytes);  // zeroed, so every page is touched
  const ProcessMemory during = process_memory();
  // The kernel counts pages in batches per thread; a MiB is more than it can be off by here.
  EXPECT_GE(during.resident_bytes, before.resident_bytes + kBytes - (1 << 20));
  block.reset();
  const ProcessMemory after = process_memory();
  EXPECT_LT(after.resident_bytes, during.resident_bytes - kBytes / 2);
  EXPECT_GE(after.peak_resident_bytes, before.resident_bytes + kBytes - (1 << 20));
}

}  // namespace
}  // namespace gda
