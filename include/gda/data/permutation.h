// A pseudo-random permutation of 0 ... size - 1 that is computed, not stored.
//
// A balanced Feistel network (Luby and Rackoff, "How to Construct Pseudorandom Permutations from
// Pseudorandom Functions", 1988) permutes the smallest 4^h >= size; results outside are sent
// through it again until they fall inside ("cycle walking", Black and Rogaway, "Ciphers with
// Arbitrary Finite Domains", 2002), fewer than four times on average because 4^h < 4 size.
#pragma once

#include <cstdint>

#include "gda/core/philox.h"

namespace gda {

class KeyedPermutation {
 public:
  // Each `key` (an epoch, say) of a generator is another permutation. size >= 1.
  KeyedPermutation(const Philox& random, std::uint64_t key, std::int64_t size);

  // Where `index` goes; 0 <= index < size.
  std::int64_t operator()(std::int64_t index) const;

 private:
  std::uint64_t encrypt(std::uint64_t value) const;

  std::uint64_t key_;
  std::int64_t size_;
  int half_bits_ = 1;
};

}  // namespace gda
