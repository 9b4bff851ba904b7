// The emulated GPU notices what a real one would not say.
#include <gtest/gtest.h>

#include "core/device_runtime.h"
#include "ptx.cuh"

namespace gda::cuda {
namespace {

constexpr unsigned kThreads = 64;

void run(void (*kernel)(float*), float* data, std::size_t shared_bytes = 256) {
  use_device(0);
  Arena arena;
  const Context context{.stream = {.device = {DeviceType::cuda, 0}}, .arena = arena};
  launch(context, "kernel", kernel,
         {.blocks = {2, 1, 1}, .threads = kThreads, .shared_bytes = shared_bytes}, data);
  synchronize(context.stream);
}

void expect_fault(void (*kernel)(float*), const std::string& text) {
  float data[8] = {};
  try {
    run(kernel, data);
    ADD_FAILURE() << "expected a fault: " << text;
  } catch (const emulation::Fault& fault) {
    EXPECT_NE(std::string(fault.what()).find(text), std::string::npos) << fault.what();
  }
}

TEST(CudaEmulation, ThreadsMeetAtBarriersAndInWarps) {
  float sums[2] = {};
  run(
      [](float* out) {
        const Shared<float> values = shared_memory<float>(0, kThreads);
        const int i = static_cast<int>(threadIdx.x);
        values[i] = static_cast<float>(i);
        __syncthreads();
        float sum = values[static_cast<int>(kThreads) - 1 - i];
        for (int offset = 16; offset > 0; offset /= 2) {
          sum += __shfl_xor_sync(0xffffffffU, sum, offset);
        }
        __syncthreads();
        if (i % 32 == 0) values[i / 32] = sum;
        __syncthreads();
        if (i == 0) out[blockIdx.x] = values[0] + values[1];
      },
      sums);
  EXPECT_EQ(sums[0], 63 * 64 / 2);
  EXPECT_EQ(sums[1], 63 * 64 / 2);
}

TEST(CudaEmulation, LanesShowOneAnotherTheirValues) {
  float sums[2] = {};
  run(
      [](float* out) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int third = __shfl_sync(0xffffffffU, lane, 3);
        const bool some = __any_sync(0xffffffffU, lane == 31);
        const bool none = __any_sync(0xffffffffU, lane == 32);
        if (threadIdx.x == 40) out[blockIdx.x] = third == 3 && some && !none ? 1.0F : 0.0F;
      },
      sums);
  EXPECT_EQ(sums[0], 1);
  EXPECT_EQ(sums[1], 1);
}

TEST(CudaEmulation, SharedMemoryHasBoundsAndBeginsAsNan) {
  expect_fault([](float*) { shared_memory<float>(0, 64)[64] = 1; }, "element 64 of 64");
  expect_fault([](float*) { shared_memory<float>(0, 65); }, "bytes [0, 260) of 256");
  float data[2] = {};
  run([](float* out) { out[blockIdx.x] = shared_memory<float>(0, 1)[0]; }, data);
  EXPECT_TRUE(std::isnan(data[0]));
}

TEST(CudaEmulation, SharedMemoryHasAnEnd) {
  float data[2] = {};
  const auto nothing = [](float*) {};
  run(nothing, data, shared_memory_limit());
  EXPECT_THROW(run(nothing, data, shared_memory_limit() + 1), emulation::Fault);
}

TEST(CudaEmulation, EveryThreadMustReachABarrier) {
  expect_fault(
      [](float*) {
        if (threadIdx.x < 40) __syncthreads();
      },
      "a barrier that 40 of 64 threads reach");
}

TEST(CudaEmulation, EveryLaneOfTheMaskMustMeet) {
  expect_fault(
      [](float*) {
        if (threadIdx.x % 32 != 5) __shfl_xor_sync(0xffffffffU, 1, 1);
      },
      "__shfl_xor_sync waits for lane 5, which has returned");
  expect_fault(
      [](float*) {
        if (threadIdx.x % 32 == 5) {
          __syncwarp();
        } else {
          __shfl_xor_sync(0xffffffffU, 1, 1);
        }
      },
      "in different places");
}

// Copies that nobody waits for have not happened.
TEST(CudaEmulation, AsynchronousCopiesHappenAtTheirWait) {
  alignas(16) float data[8] = {1, 2, 3, 4, 0, 0, 0, 0};
  run(
      [](float* memory) {
        const Shared<float> here = shared_memory<float>(0, 8);
        if (threadIdx.x > 0 || blockIdx.x > 0) return;
        copy_async_16(here.span(0, 4), memory, true);
        copy_async_commit();
        copy_async_16(here.span(4, 4), nullptr, false);
        copy_async_commit();
        memory[4] = std::isnan(here[0]) ? 1.0F : 0.0F;
        copy_async_wait<1>();
        memory[5] = here[1];
        memory[6] = std::isnan(here[4]) ? 1.0F : 0.0F;
        copy_async_wait<0>();
        memory[7] = here[4];
      },
      data);
  EXPECT_EQ(data[4], 1);
  EXPECT_EQ(data[5], 2);
  EXPECT_EQ(data[6], 1);
  EXPECT_EQ(data[7], 0);
  expect_fault(
      [](float*) {
        copy_async_16(shared_memory<float>(0, 4).span(0, 4), nullptr, false);
        copy_async_commit();
      },
      "before it waited for its asynchronous copies");
}

// A and B by the documented layout, element by element.
TEST(CudaEmulation, TensorCoreProduct) {
  float product[16 * 8] = {};
  use_device(0);
  Arena arena;
  const Context context{.stream = {.device = {DeviceType::cuda, 0}}, .arena = arena};
  launch(
      context, "kernel",
      +[](float* out) {
        const int group = static_cast<int>(threadIdx.x) / 4;
        const int pair = static_cast<int>(threadIdx.x) % 4 * 2;
        const auto a = [](int row, int k) { return static_cast<float>(row - k); };
        const auto b = [](int k, int column) { return static_cast<float>(2 * k + column); };
        std::uint32_t left[4];
        for (int i = 0; i < 4; ++i) {
          const int row = group + i % 2 * 8;
          const int k = pair + i / 2 * 8;
          left[i] = pack_bf16x2(a(row, k), a(row, k + 1));
        }
        std::uint32_t right[2];
        for (int i = 0; i < 2; ++i) {
          right[i] = pack_bf16x2(b(pair + 8 * i, group), b(pair + 1 + 8 * i, group));
        }
        float sums[4] = {};
        mma_m16n8k16(sums, left, right);
        for (int i = 0; i < 4; ++i) out[(group + i / 2 * 8) * 8 + pair + i % 2] = sums[i];
      },
      {.blocks = {1, 1, 1}, .threads = 32}, product);
  synchronize(context.stream);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float expected = 0;
      for (int k = 0; k < 16; ++k) expected += static_cast<float>((row - k) * (2 * k + column));
      EXPECT_EQ(product[row * 8 + column], expected) << row << ", " << column;
    }
  }
}

}  // namespace
}  // namespace gda::cuda
