// The extents of a tensor, outermost first. At most four dimensions.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace gda {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  // Extent of dimension i; negative i counts from the last.
  std::int64_t operator[](int i) const { return extents_[i < 0 ? rank_ + i : i]; }
  std::int64_t& operator[](int i) { return extents_[i < 0 ? rank_ + i : i]; }
  // Product of all extents (1 for rank 0).
  std::int64_t elements() const;
  // "[3, 4]".
  std::string str() const;

  bool operator==(const Shape& other) const = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace gda
