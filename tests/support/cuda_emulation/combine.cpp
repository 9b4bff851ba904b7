#include "combine.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "gda/core/dtype.h"

namespace gda::emulation {
namespace {

template <class T>
void combine_as(const std::byte* terms, std::byte* to, std::size_t count, std::size_t ranks,
                ncclRedOp_t operation) {
  using Number = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;
  const auto* term = reinterpret_cast<const T*>(terms);
  auto* result = reinterpret_cast<T*>(to);
  for (std::size_t i = 0; i < count; ++i) {
    T value = term[i];
    for (std::size_t rank = 1; rank < ranks; ++rank) {
      const auto before = static_cast<Number>(value);
      const auto next = static_cast<Number>(term[rank * count + i]);
      value = T(operation == ncclSum   ? before + next
                : operation == ncclMin ? std::min(before, next)
                                       : std::max(before, next));
    }
    result[i] = value;
  }
}

}  // namespace

void combine(const std::byte* terms, void* to, std::size_t count, std::size_t ranks,
             ncclDataType_t type, ncclRedOp_t operation) {
  auto* result = static_cast<std::byte*>(to);
  if (type == ncclFloat64) combine_as<double>(terms, result, count, ranks, operation);
  if (type == ncclFloat32) combine_as<float>(terms, result, count, ranks, operation);
  if (type == ncclBfloat16) combine_as<bfloat16>(terms, result, count, ranks, operation);
  if (type == ncclInt32) combine_as<std::int32_t>(terms, result, count, ranks, operation);
}

}  // namespace gda::emulation
