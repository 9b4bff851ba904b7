// What kernels/cuda/native/ptx.cuh does by PTX instructions, from their documented semantics
// (PTX ISA 8: mma.sync fragment layouts of .m16n8k16, ldmatrix, cp.async).
#pragma once

#include "execution.cuh"
#include "gda/core/dtype.h"

namespace gda::cuda {

// Lower half lo, upper half hi, each rounded to nearest even.
inline std::uint32_t pack_bf16x2(float lo, float hi) {
  return static_cast<std::uint32_t>(bfloat16(hi).bits) << 16 | bfloat16(lo).bits;
}

inline float exp2_approximate(float x) {
  return std::exp2(x);
}

namespace detail {

inline float half_of(std::uint32_t pair, int i) {
  bfloat16 value;
  value.bits = static_cast<std::uint16_t>(pair >> (16 * i));
  return static_cast<float>(value);
}

struct MmaOperands {
  std::uint32_t a[4];
  std::uint32_t b[2];
};

// Element (row, k) of A and (k, column) of B, from the lanes that hold them.
inline float mma_a(const emulation::Deposit* all, int row, int k) {
  const auto from = emulation::taken<MmaOperands>(all[row % 8 * 4 + k % 8 / 2]);
  return half_of(from.a[row / 8 + k / 8 * 2], k % 2);
}
inline float mma_b(const emulation::Deposit* all, int k, int column) {
  const auto from = emulation::taken<MmaOperands>(all[column * 4 + k % 8 / 2]);
  return half_of(from.b[k / 8], k % 2);
}

inline void load_matrices(std::uint32_t (&to)[4], const bfloat16* row, bool transposed) {
  using namespace emulation;
  require<Fault>(reinterpret_cast<std::uintptr_t>(row) % 16 == 0,
                 "ldmatrix: a row that is not aligned to 16 bytes");
  const Deposit* rows = meet_with(transposed ? "ldmatrix.trans" : "ldmatrix", 0xffffffffU, row);
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto element = [&](int i, int j) {
      return taken<const bfloat16*>(rows[8 * matrix + i])[j];
    };
    const int i = lane() / 4;
    const int j = lane() % 4 * 2;
    const bfloat16 lo = transposed ? element(j, i) : element(i, j);
    const bfloat16 hi = transposed ? element(j + 1, i) : element(i, j + 1);
    to[matrix] = static_cast<std::uint32_t>(hi.bits) << 16 | lo.bits;
  }
}

}  // namespace detail

// c += A B of a warp: A [16, 16] and B [16, 8] bf16, c [16, 8] f32.
inline void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  using namespace emulation;
  const detail::MmaOperands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const Deposit* all = meet_with("mma.m16n8k16", 0xffffffffU, mine);
  for (int i = 0; i < 4; ++i) {
    const int row = lane() / 4 + i / 2 * 8;
    const int column = lane() % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) c[i] += detail::mma_a(all, row, k) * detail::mma_b(all, k, column);
  }
}

// Four 8 x 8 matrices; lane l names row l % 8 of matrix l / 8.
inline void load_matrix_x4(std::uint32_t (&to)[4], const bfloat16* row) {
  detail::load_matrices(to, row, false);
}
inline void load_matrix_x4_transposed(std::uint32_t (&to)[4], const bfloat16* row) {
  detail::load_matrices(to, row, true);
}

namespace detail {
template <int kBytes>
void copy_async(void* shared, const void* global, bool valid) {
  using namespace emulation;
  static const std::array<std::byte, kBytes> zeros{};
  const auto aligned = [](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % kBytes == 0;
  };
  require<Fault>(aligned(shared) && (!valid || aligned(global)),
                 "cp.async: an address that is not aligned to {} bytes", kBytes);
  copy_later(shared, valid ? global : zeros.data(), kBytes);
}
}  // namespace detail

// 16 bytes from global to shared memory, zeros where not `valid`.
inline void copy_async_16(void* shared, const void* global, bool valid) {
  detail::copy_async<16>(shared, global, valid);
}
// The same of 4 bytes.
inline void copy_async_4(void* shared, const void* global, bool valid) {
  detail::copy_async<4>(shared, global, valid);
}
inline void copy_async_commit() {
  emulation::end_copy_group();
}
template <int kGroupsLeft>
void copy_async_wait() {
  emulation::wait_for_copies(kGroupsLeft);
}

}  // namespace gda::cuda
