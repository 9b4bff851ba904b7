// Products of Hopper's tensor cores: wgmma.mma_async of compute capability 9.0 (PTX ISA 8.0,
// "Asynchronous warpgroup level matrix instructions"). A warpgroup of four warps multiplies; B, and
// A where it is not in registers, are read from shared memory behind the threads' backs.
// tests/support/cuda_emulation/wgmma.cuh does the same on the host.
//
// Compiled for another architecture the functions trap: attention_hopper.h says where they run.
#pragma once

#include "ptx.cuh"

namespace gda::cuda {

// A matrix of bf16 in shared memory, in the layout of 128 bytes' swizzle: blocks of 64 columns;
// rows of a block are 128 bytes; the 16-byte chunk c of row r lies in place c ^ (r % 8). A block
// begins on 1024 bytes.
struct SwizzledMatrix {
  std::uint64_t bits;

  // `block_bytes`: from one block of columns to the next.
  __device__ SwizzledMatrix(const bfloat16* start, int block_bytes)
      : bits(((detail::shared_address(start) & 0x3ffffU) >> 4U) |
             static_cast<std::uint64_t>(block_bytes >> 4) << 16U |  // leading dimension
             std::uint64_t{kRowsBytes >> 4} << 32U |                // stride of eight rows
             std::uint64_t{1} << 62U) {}                            // 128 bytes' swizzle

  // From another element: as many bytes on, before the swizzle. Rows may begin at multiples of 8,
  // columns at multiples of 16.
  __device__ SwizzledMatrix moved(int bytes) const {
    SwizzledMatrix other = *this;
    other.bits += static_cast<std::uint64_t>(bytes >> 4);
    return other;
  }

 private:
  static constexpr unsigned kRowsBytes = 8 * 128;
};

// What threads wrote into shared memory (copy_async_16, too, after its wait) is there for products
// that are begun after the next barrier.
__device__ inline void fence_shared_for_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Before the first product after threads touched registers that products read or add to.
__device__ inline void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// The products begun so far are a group.
__device__ inline void end_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

namespace detail {
template <int kColumns>
__device__ void keep_order(float (&c)[kColumns][4]) {
#pragma unroll
  for (int n = 0; n < kColumns; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(c[n][i])::"memory");
  }
}
}  // namespace detail

// Waits until at most so many groups are under way; `c` are the sums that are whole then, which
// nobody may read before.
template <int kGroupsLeft, class... Sums>
__device__ void wait_for_products(Sums&... c) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroupsLeft) : "memory");
  (detail::keep_order(c), ...);
}

// The registers of a warpgroup's sums [64, 8 kColumns]: warp w has rows [16 w, 16 w + 16) as
// mma_m16n8k16 has them.
// clang-format off
#define GDA_REGISTERS_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, " \
  "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"

#define GDA_REGISTERS_64 \
  GDA_REGISTERS_32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define GDA_REGISTERS_128 \
  GDA_REGISTERS_64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, " \
  "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, " \
  "%123, %124, %125, %126, %127"
#define GDA_SUMS_4(c, n) "+f"((c)[n][0]), "+f"((c)[n][1]), "+f"((c)[n][2]), "+f"((c)[n][3])
#define GDA_SUMS_32(c, n)                                                                  \
  GDA_SUMS_4(c, n), GDA_SUMS_4(c, (n) + 1), GDA_SUMS_4(c, (n) + 2), GDA_SUMS_4(c, (n) + 3), \
  GDA_SUMS_4(c, (n) + 4), GDA_SUMS_4(c, (n) + 5), GDA_SUMS_4(c, (n) + 6), GDA_SUMS_4(c, (n) + 7)
#define GDA_SUMS_64(c, n) GDA_SUMS_32(c, n), GDA_SUMS_32(c, (n) + 8)
#define GDA_SUMS_128(c, n) GDA_SUMS_64(c, n), GDA_SUMS_64(c, (n) + 16)
// clang-format on

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define GDA_ON_HOPPER(...) __VA_ARGS__
#else
#define GDA_ON_HOPPER(...) __trap()
#endif

// multiply_rows: c = A B^T, or c += A B^T; A [64, 16], B [8 kColumns, 16], rows in shared memory.
// multiply_columns: c += A B; A [64, 16] as mma_m16n8k16 has it for each warp, B [16, 8 kColumns]
// in shared memory.
#define GDA_WGMMA(N, REGISTERS, O0, O1, O2, O3, O4)                                                \
  __device__ inline void multiply_rows_async(float(&c)[(N) / 8][4], SwizzledMatrix a,              \
                                             SwizzledMatrix b, bool add) {                         \
    GDA_ON_HOPPER(asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " O2 ", 0;\n"                 \
                               "wgmma.mma_async.sync.aligned.m64n" #N                              \
                               "k16.f32.bf16.bf16 {" GDA_REGISTERS_##REGISTERS                     \
                               "}, " O0 ", " O1 ", add, 1, 1, 0, 0;\n}"                            \
                               : GDA_SUMS_##REGISTERS(c, 0)                                        \
                               : "l"(a.bits), "l"(b.bits), "r"(static_cast<int>(add))));           \
  }                                                                                                \
  __device__ inline void multiply_columns_async(float(&c)[(N) / 8][4], const std::uint32_t(&a)[4], \
                                                SwizzledMatrix b) {                                \
    GDA_ON_HOPPER(asm volatile("wgmma.mma_async.sync.aligned.m64n" #N                              \
                               "k16.f32.bf16.bf16 {" GDA_REGISTERS_##REGISTERS                     \
                               "}, {" O0 ", " O1 ", " O2 ", " O3 "}, " O4 ", 1, 1, 1, 1;"          \
                               : GDA_SUMS_##REGISTERS(c, 0)                                        \
                               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits)));        \
  }
GDA_WGMMA(64, 32, "%32", "%33", "%34", "%35", "%36")
GDA_WGMMA(128, 64, "%64", "%65", "%66", "%67", "%68")
GDA_WGMMA(256, 128, "%128", "%129", "%130", "%131", "%132")

#undef GDA_WGMMA
#undef GDA_ON_HOPPER
#undef GDA_SUMS_128
#undef GDA_SUMS_64
#undef GDA_SUMS_32
#undef GDA_SUMS_4
#undef GDA_REGISTERS_128
#undef GDA_REGISTERS_64
#undef GDA_REGISTERS_32

}  // namespace gda::cuda
