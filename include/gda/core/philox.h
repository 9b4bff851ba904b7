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
};

class Philox {
 public:
  // `name` tells parameters or sources apart; it is hashed.
  Philox(std::uint64_t seed, RandomPurpose purpose, std::string_view name = {});

  // Four independent 32-bit words for counter `index`.
  std::array<std::uint32_t, 4> block(std::uint64_t index) const;
  // 64 uniform bits.
  std::uint64_t bits(std::uint64_t index) const;
  // Uniform in [0, 1), 53 bits.
  double uniform(std::uint64_t index) const;
  // Standard normal (Box-Muller).
  double normal(std::uint64_t index) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> counter_high_;
};

}  // namespace gda
