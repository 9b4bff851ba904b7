#include "gda/dist/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

namespace gda {
namespace {

// One value of every rank, in rank order. Words of i32 carry types that tensors do not have.
template <class T>
std::vector<T> gather(Communicator& group, const T& value) {
  constexpr std::size_t kWordBytes = size_of(DType::i32);
  static_assert(sizeof(T) % kWordBytes == 0);
  constexpr std::int64_t kWords = sizeof(T) / kWordBytes;
  T own = value;
  std::vector<T> all(static_cast<std::size_t>(group.size()));
  group
      .all_gather(Tensor(&own, DType::i32, {kWords}),
                  Tensor(all.data(), DType::i32, {kWords * group.size()}))
      .wait();
  return all;
}

template <class T>
T reduce(const std::vector<T>& values, Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return std::accumulate(values.begin(), values.end(), T{});
    case Reduction::min:
    case Reduction::max:
      break;
  }
  T result = values.front();
  for (const T value : values) {
    const bool better = reduction == Reduction::min ? value < result : value > result;
    if (better || value != value) result = value;  // NaN stays: no comparison with it is true
  }
  return result;
}

}  // namespace

std::string Communicator::rank_name(int rank) const {
  return fmt::format("rank {}", world_rank(rank));
}

void Communicator::barrier() {
  gather(*this, std::int32_t{0});
}

double Communicator::all_reduce(double value, Reduction reduction) {
  return reduce(gather(*this, value), reduction);
}

std::int64_t Communicator::all_reduce(std::int64_t value, Reduction reduction) {
  return reduce(gather(*this, value), reduction);
}

std::string Communicator::broadcast(const std::string& text, int root) {
  auto length = static_cast<std::int64_t>(text.size());
  broadcast(Tensor(&length, DType::i32, {2}), root).wait();
  if (length == 0) return {};
  std::vector<std::int32_t> words(static_cast<std::size_t>(length + 3) / 4);
  if (rank() == root) std::memcpy(words.data(), text.data(), text.size());
  broadcast(Tensor(words.data(), DType::i32, {static_cast<std::int64_t>(words.size())}), root)
      .wait();
  return {reinterpret_cast<const char*>(words.data()), static_cast<std::size_t>(length)};
}

}  // namespace gda
