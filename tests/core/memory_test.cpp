#include "gda/core/memory.h"

#include <gtest/gtest.h>

#include "gda/core/error.h"

namespace gda {
namespace {

TEST(Arena, ReusesItsBlocksAfterARewind) {
  Arena arena({}, 1024);
  const auto start = arena.mark();
  const Tensor a = arena.allocate(DType::f32, {100});
  const Tensor b = arena.allocate(DType::f32, {200});  // does not fit the first block's rest
  const std::size_t capacity = arena.capacity();
  arena.rewind(start);
  EXPECT_EQ(arena.allocate(DType::f32, {100}).raw(), a.raw());
  EXPECT_EQ(arena.allocate(DType::f32, {200}).raw(), b.raw());
  EXPECT_EQ(arena.capacity(), capacity);
}

TEST(Tensor, ViewsShareMemory) {
  const OwnedTensor owner(DType::f32, {4, 6});
  float* data = owner.tensor.data<float>();
  for (int i = 0; i < 24; ++i) data[i] = static_cast<float>(i);
  const Tensor block = owner.tensor.columns(2, 3);
  EXPECT_EQ(block.row_stride(), 6);
  EXPECT_FALSE(block.is_contiguous());
  EXPECT_EQ(block.data<float>()[block.row_stride()], 8.0F);
  EXPECT_EQ(owner.tensor.rows(1, 2).data<float>()[0], 6.0F);
  EXPECT_EQ(owner.tensor.reshape({3, 8}).dim(-1), 8);
  EXPECT_THROW(block.reshape({12}), OpError);
  EXPECT_THROW(owner.tensor.columns(5, 2), OpError);
}

TEST(Buffer, OnADeviceThatIsNotBuiltInNamesTheOption) {
  EXPECT_THROW(Buffer(16, Device{DeviceType::cuda, 0}), OpError);
}

}  // namespace
}  // namespace gda
