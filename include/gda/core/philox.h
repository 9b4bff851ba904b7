// Counter-based random numbers: every number is a pure function of (seed, purpose, name, index), so
// nothing has to be saved and nothing depends on the number of processes.
//
// Philox4x32-10: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace gda {

// What a random number is for; keeps the streams of different uses apart.
enum class RandomPurpose : std::uint32_t {
  initialisation = 1,
  data_order = 2,
  mixture = 3,
  sampling = 4,
  growth_noise = 5,
  tokenizer_sample = 6,
  test = 7,
  rounding = 8,
};

class Philox {
 public:
  // `name` tells parameters or sources apart; it is hashed.
  Philox(std::uint64_t seed, RandomPurpose purpose, std::string_view name = {});

  // Four independent 32-bit words for counter `index`. (Here, so that kernels can call it, too.)
  constexpr std::array<std::uint32_t, 4> block(std::uint64_t index) const {
    std::uint32_t c[4] = {static_cast<std::uint32_t>(index),
                          static_cast<std::uint32_t>(index >> 32), counter_high_[0],
                          counter_high_[1]};
    std::uint32_t k0 = key_[0];
    std::uint32_t k1 = key_[1];
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t p0 = std::uint64_t{kMultiplier0} * c[0];
      const std::uint64_t p1 = std::uint64_t{kMultiplier1} * c[2];
      c[0] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0;
      c[1] = static_cast<std::uint32_t>(p1);
      c[2] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1;
      c[3] = static_cast<std::uint32_t>(p0);
      k0 += kWeyl0;
      k1 += kWeyl1;
    }
    return {c[0], c[1], c[2], c[3]};
  }
  // 16 uniform bits, number i of draw `draw`: half-word i % 8 of block((draw << 40) + i / 8).
  constexpr std::uint16_t half_word(std::uint64_t draw, std::uint64_t i) const {
    const auto words = block((draw << 40) + i / 8);
    return static_cast<std::uint16_t>(words[i % 8 / 2] >> (i % 2 * 16));
  }
  // 64 uniform bits.
  std::uint64_t bits(std::uint64_t index) const;
  // Uniform in [0, 1), 53 bits.
  double uniform(std::uint64_t index) const;
  // Standard normal (Box-Muller).
  double normal(std::uint64_t index) const;

 private:
  static constexpr std::uint32_t kMultiplier0 = 0xD2511F53U;
  static constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57U;
  static constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;
  static constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;
  static constexpr int kRounds = 10;

  std::uint32_t key_[2] = {};
  std::uint32_t counter_high_[2] = {};
};

}  // namespace gda
