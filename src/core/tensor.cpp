#include "gda/core/tensor.h"

#include <fmt/format.h>

#include "gda/core/error.h"

namespace gda {
namespace {

std::int64_t dense_row(const Shape& shape) {
  std::int64_t product = 1;
  for (int i = 1; i < shape.rank(); ++i) product *= shape[i];
  return product;
}

}  // namespace

Tensor::Tensor(void* data, DType dtype, Shape shape, Device device)
    : Tensor(data, dtype, shape, dense_row(shape), device) {}

Tensor::Tensor(void* data, DType dtype, Shape shape, std::int64_t row_stride, Device device)
    : data_(data), shape_(shape), row_stride_(row_stride), dtype_(dtype), device_(device) {}

bool Tensor::is_contiguous() const {
  return shape_.rank() == 0 || shape_[0] <= 1 || row_stride_ == dense_row(shape_);
}

Tensor Tensor::reshape(Shape shape) const {
  require<OpError>(is_contiguous() && shape.elements() == elements(),
                   "[reshape] {} (row stride {}) cannot be seen as {}", str(), row_stride_,
                   shape.str());
  return {data_, dtype_, shape, device_};
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t count) const {
  require<OpError>(rank() >= 1 && begin >= 0 && count >= 0 && begin + count <= shape_[0],
                   "[rows] rows {} to {} of {}", begin, begin + count, str());
  Shape shape = shape_;
  shape[0] = count;
  auto* base = static_cast<std::byte*>(data_);
  return {base + static_cast<std::size_t>(begin * row_stride_) * size_of(dtype_), dtype_, shape,
          row_stride_, device_};
}

Tensor Tensor::columns(std::int64_t begin, std::int64_t count) const {
  require<OpError>(rank() == 2 && begin >= 0 && count >= 0 && begin + count <= shape_[1],
                   "[columns] columns {} to {} of {}", begin, begin + count, str());
  auto* base = static_cast<std::byte*>(data_);
  return {base + static_cast<std::size_t>(begin) * size_of(dtype_),
          dtype_,
          {shape_[0], count},
          row_stride_,
          device_};
}

std::string Tensor::str() const {
  return fmt::format("{}{}", name_of(dtype_), shape_.str());
}

}  // namespace gda
