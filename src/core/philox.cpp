#include "gda/core/philox.h"

#include <cmath>
#include <numbers>

#include "gda/core/checksum.h"

namespace gda {
namespace {

double to_unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t word = (std::uint64_t{high} << 32) | low;
  return static_cast<double>(word >> 11) * 0x1.0p-53;
}

}  // namespace

Philox::Philox(std::uint64_t seed, RandomPurpose purpose, std::string_view name) {
  key_[0] = static_cast<std::uint32_t>(seed);
  key_[1] = static_cast<std::uint32_t>(seed >> 32);
  const std::uint64_t hash = name.empty() ? 0 : hash_name(name);
  counter_high_[0] = static_cast<std::uint32_t>(hash);
  counter_high_[1] = static_cast<std::uint32_t>(hash >> 32) ^ static_cast<std::uint32_t>(purpose);
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
