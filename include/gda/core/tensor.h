// A view of typed memory on a device. Owns nothing: Buffer and Arena do.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gda/core/device.h"
#include "gda/core/dtype.h"
#include "gda/core/shape.h"

namespace gda {

// Row-major. Dimension 0 may have a stride larger than the rest of the shape asks for (a "row
// stride"), so that a column block of a matrix is a tensor too; all other dimensions are dense.
class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, DType dtype, Shape shape, Device device = {});
  // As above with the distance between rows (slices of dimension 0) in elements.
  Tensor(void* data, DType dtype, Shape shape, std::int64_t row_stride, Device device);

  bool empty() const { return data_ == nullptr; }
  explicit operator bool() const { return data_ != nullptr; }

  const Shape& shape() const { return shape_; }
  std::int64_t dim(int i) const { return shape_[i]; }
  int rank() const { return shape_.rank(); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype_); }
  std::int64_t row_stride() const { return row_stride_; }
  bool is_contiguous() const;

  void* raw() const { return data_; }
  template <class T>
  T* data() const {
    assert(dtype_of<T> == dtype_);
    return static_cast<T*>(data_);
  }

  // The same contiguous memory under another shape of as many elements.
  Tensor reshape(Shape shape) const;
  // Rows [begin, begin + count) of dimension 0.
  Tensor rows(std::int64_t begin, std::int64_t count) const;
  // Columns [begin, begin + count) of a rank-2 tensor.
  Tensor columns(std::int64_t begin, std::int64_t count) const;

  // "bf16[8, 128]", for messages.
  std::string str() const;

 private:
  void* data_ = nullptr;
  Shape shape_;
  std::int64_t row_stride_ = 0;
  DType dtype_ = DType::f32;
  Device device_;
};

}  // namespace gda
