// Tokens of words that were encoded before.
//
// Text repeats its words, and looking one up takes a twentieth of the time of merging its pairs.
// The cache is one word a slot, replaced by the next word that hashes there, so its size is bounded
// (about 10 MB); each thread has its own, so there is nothing to lock.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gda {

class WordCache {
 public:
  static constexpr std::size_t kSlots = std::size_t{1} << 16;
  static constexpr std::size_t kLongestWord = 64;  // bytes

  // The calling thread's cache for an owner. A thread keeps one: another owner begins anew.
  static WordCache& of_thread(std::uint64_t owner) {
    static thread_local WordCache cache;
    if (cache.owner_ != owner) {
      cache.slots_.assign(kSlots, {});
      cache.owner_ = owner;
    }
    return cache;
  }

  // Appends the ids of a word, calling encode(word, ids) if they are not known.
  template <class Encode>
  void append(std::string_view word, std::vector<std::int32_t>& ids, Encode&& encode) {
    Slot& slot = slots_[std::hash<std::string_view>{}(word) % kSlots];
    if (slot.word != word) {
      slot.ids.clear();
      slot.word.clear();  // stays so if encode throws
      encode(word, slot.ids);
      slot.word = word;
    }
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.end());
  }

 private:
  struct Slot {
    std::string word;
    std::vector<std::int32_t> ids;
  };
  std::uint64_t owner_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace gda
