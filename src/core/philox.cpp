#include "gda/core/philox.h"

#include <cmath>
#include <numbers>

#include "gda/core/checksum.h"

namespace gda {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53U;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57U;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;
constexpr int kRounds = 10;

double to_unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t word = (std::uint64_t{high} << 32) | low;
  return static_cast<double>(word >> 11) * 0x1.0p-53;
}

}  // namespace

Philox::Philox(std::uint64_t seed, RandomPurpose purpose, std::string_view name) {
  key_ = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const std::uint64_t hash = name.empty() ? 0 : hash_name(name);
  counter_high_ = {static_cast<std::uint32_t>(hash),
                   static_cast<std::uint32_t>(hash >> 32) ^ static_cast<std::uint32_t>(purpose)};
}

std::array<std::uint32_t, 4> Philox::block(std::uint64_t index) const {
  std::array<std::uint32_t, 4> c{static_cast<std::uint32_t>(index),
                                 static_cast<std::uint32_t>(index >> 32), counter_high_[0],
                                 counter_high_[1]};
  std::uint32_t k0 = key_[0];
  std::uint32_t k1 = key_[1];
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{kMultiplier0} * c[0];
    const std::uint64_t p1 = std::uint64_t{kMultiplier1} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

std::uint64_t Philox::bits(std::uint64_t index) const {
  const auto c = block(index);
  return (std::uint64_t{c[0]} << 32) | c[1];
}

double Philox::uniform(std::uint64_t index) const {
  const auto c = block(index);
  return to_unit(c[0], c[1]);
}

double Philox::normal(std::uint64_t index) const {
  const auto c = block(index);
  const double radius = std::sqrt(-2.0 * std::log(1.0 - to_unit(c[0], c[1])));
  return radius * std::cos(2.0 * std::numbers::pi * to_unit(c[2], c[3]));
}

}  // namespace gda
