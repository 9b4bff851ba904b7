#include "gda/data/permutation.h"

#include <cassert>

namespace gda {
namespace {

// Four rounds are the least that is provably strong; the rest is margin for a cheap round function.
constexpr int kRounds = 8;

// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit reaches every output
// bit.
std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

}  // namespace

KeyedPermutation::KeyedPermutation(const Philox& random, std::uint64_t key, std::int64_t size)
    : key_(random.bits(key)), size_(size) {
  assert(size >= 1 && size <= std::int64_t{1} << 60);
  while ((std::int64_t{1} << (2 * half_bits_)) < size) ++half_bits_;
}

std::uint64_t KeyedPermutation::encrypt(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    const std::uint64_t next = left ^ (mix(mix(key_ + round * 0x9e3779b97f4a7c15U) ^ right) & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

std::int64_t KeyedPermutation::operator()(std::int64_t index) const {
  assert(index >= 0 && index < size_);
  auto value = static_cast<std::uint64_t>(index);
  do {
    value = encrypt(value);
  } while (value >= static_cast<std::uint64_t>(size_));
  return static_cast<std::int64_t>(value);
}

}  // namespace gda
