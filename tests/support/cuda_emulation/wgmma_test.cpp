// The emulated products of warpgroups: by the documented layouts, and what they notice.
#include "wgmma.cuh"

#include <gtest/gtest.h>

#include "core/device_runtime.h"

namespace gda::cuda::wgmma_test {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 64;      // of A, and of B by rows
constexpr int kColumns = 128;  // of B by columns: two blocks
constexpr int kBlock = 64;     // columns of a block
constexpr int kShared = 16 * kColumns * 2 + 2 * kRows * kBlock * 2;

void run(void (*kernel)(float*), float* data) {
  use_device(0);
  Arena arena;
  const Context context{.stream = {.device = {DeviceType::cuda, 0}}, .arena = arena};
  launch(context, "kernel", kernel,
         {.blocks = {1, 1, 1}, .threads = kThreads, .shared_bytes = kShared}, data);
  cuda::synchronize(context.stream);
}

void expect_fault(void (*kernel)(float*), const std::string& text) {
  float data[1] = {};
  try {
    run(kernel, data);
    ADD_FAILURE() << "expected a fault: " << text;
  } catch (const emulation::Fault& fault) {
    EXPECT_NE(std::string(fault.what()).find(text), std::string::npos) << fault.what();
  }
}

// Small whole numbers: products of them are exact.
float a_at(int row, int k) {
  return static_cast<float>((row + 3 * k) % 11 - 5);
}
float b_at(int k, int column) {
  return static_cast<float>((5 * k + column) % 13 - 6);
}

// Puts a matrix of `columns` columns where SwizzledMatrix looks for it.
template <class At>
void put(const Shared<bfloat16>& memory, int rows, int columns, const At& at) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns; i += kThreads) {
    const int row = i / columns;
    const int column = i % columns;
    const int chunk = column % kBlock / 8 ^ row % 8;
    memory[column / kBlock * rows * kBlock + row * kBlock + chunk * 8 + column % 8] =
        bfloat16(at(row, column));
  }
}

// Element i of column group n is that of mma_m16n8k16, in each warp's 16 rows.
template <int kGroups>
void show(const float (&c)[kGroups][4], float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int n = 0; n < kGroups; ++n) {
    for (int i = 0; i < 4; ++i) {
      const int row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4 + i / 2 * 8;
      out[row * 8 * kGroups + 8 * n + lane % 4 * 2 + i % 2] = c[n][i];
    }
  }
}

TEST(CudaEmulationWgmma, RowsTimesRows) {
  std::vector<float> product(kRows * kRows);
  run(
      [](float* out) {
        const auto a = shared_memory<bfloat16>(0, kRows * kBlock);
        const auto b = shared_memory<bfloat16>(kRows * kBlock * 2, kRows * kBlock);
        put(a, kRows, kBlock, a_at);
        put(b, kRows, kBlock, [](int row, int k) { return b_at(k, row); });
        fence_shared_for_products();
        __syncthreads();
        const SwizzledMatrix left(a.span(0, 1), kRows * kBlock * 2);
        const SwizzledMatrix right(b.span(0, 1), kRows * kBlock * 2);
        float c[kRows / 8][4] = {{1}};
        begin_products();
        multiply_rows_async(c, left.moved(32), right.moved(32), false);  // columns [16, 32)
        multiply_rows_async(c, left.moved(64), right.moved(64), true);
        end_products();
        require<Error>(std::isnan(c[0][0]), "a sum is there before the wait");
        wait_for_products<0>(c);
        show(c, out);
      },
      product.data());
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kRows; ++column) {
      float sum = 0;
      for (int k = 16; k < 48; ++k) sum += a_at(row, k) * b_at(k, column);
      EXPECT_EQ(product[static_cast<std::size_t>(row * kRows + column)], sum);
    }
  }
}

TEST(CudaEmulationWgmma, RegistersTimesColumns) {
  std::vector<float> product(kRows * kColumns);
  run(
      [](float* out) {
        const auto b = shared_memory<bfloat16>(0, 16 * kColumns);
        put(b, 16, kColumns, b_at);
        fence_shared_for_products();
        __syncthreads();
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
        std::uint32_t a[4];
        for (int i = 0; i < 4; ++i) {
          const int k = lane % 4 * 2 + i / 2 * 8;
          a[i] = pack_bf16x2(a_at(row + i % 2 * 8, k), a_at(row + i % 2 * 8, k + 1));
        }
        float c[kColumns / 8][4] = {};
        begin_products();
        multiply_columns_async(c, a, SwizzledMatrix(b.span(0, 1), 16 * kBlock * 2));
        end_products();
        wait_for_products<0>(c);
        show(c, out);
      },
      product.data());
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a_at(row, k) * b_at(k, column);
      EXPECT_EQ(product[static_cast<std::size_t>(row * kColumns + column)], sum);
    }
  }
}

// One product of zeros; `before_wait` comes between.
template <class BeforeWait>
void multiply_zeros(const BeforeWait& before_wait, bool waits = true) {
  const auto a = shared_memory<bfloat16>(0, kRows * kBlock);
  put(a, kRows, kBlock, [](int, int) { return 0.0F; });
  fence_shared_for_products();
  __syncthreads();
  const SwizzledMatrix matrix(a.span(0, 1), kRows * kBlock * 2);
  float c[kRows / 8][4] = {};
  begin_products();
  multiply_rows_async(c, matrix, matrix, false);
  end_products();
  before_wait(a);
  if (waits) wait_for_products<0>(c);
}

TEST(CudaEmulationWgmma, WhatIsReadMayNotChange) {
  expect_fault(
      [](float*) {
        multiply_zeros([](const auto& a) {
          __syncthreads();  // all have begun
          a[0] = bfloat16(1);
        });
      },
      "wgmma: an operand changed while it was read");
}

TEST(CudaEmulationWgmma, EveryProductIsWaitedFor) {
  expect_fault([](float*) { multiply_zeros([](const auto&) {}, false); },
               "returned before it waited for its products");
}

TEST(CudaEmulationWgmma, CopiesAreFenced) {
  expect_fault(
      [](float*) {
        const auto a = shared_memory<bfloat16>(0, kRows * kBlock);
        copy_async_16(a.span(8 * static_cast<int>(threadIdx.x), 8), nullptr, false);
        copy_async_commit();
        copy_async_wait<0>();
        __syncthreads();
        const SwizzledMatrix matrix(a.span(0, 1), kRows * kBlock * 2);
        float c[kRows / 8][4] = {};
        begin_products();
        multiply_rows_async(c, matrix, matrix, false);
        end_products();
        wait_for_products<0>(c);
      },
      "are not fenced");
}

}  // namespace
}  // namespace gda::cuda::wgmma_test
