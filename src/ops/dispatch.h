// Shared by the operators: checks of arguments, and the choice of a type.
#pragma once

#include <string_view>
#include <type_traits>

#include "gda/core/error.h"
#include "gda/core/tensor.h"
#include "gda/ops/column_mask.h"
#include "gda/ops/context.h"
#include "gda/ops/vocabulary_part.h"

namespace gda::ops {

// Throws OpError "[op] name: expected ..., got ..." unless the tensor has this type and shape and
// is on the context's device. `strided`: a row stride is allowed.
void check_tensor(std::string_view op, std::string_view name, const Tensor& tensor, DType dtype,
                  const Shape& shape, const Context& context, bool strided = false);

// Throws unless the mask is empty, or of `columns` factors of type `dtype` with a sum in
// (0, total]: `columns` of `total` are here.
void check_mask(std::string_view op, const ColumnMask& mask, DType dtype, std::int64_t columns,
                std::int64_t total, const Context& context);

// The part that the `rows` of table `name` are, with its total. Throws unless they lie in it.
VocabularyPart checked_part(std::string_view op, VocabularyPart part, std::string_view name,
                            std::int64_t rows);

// Throws unless the type is f64, f32 or bf16.
void check_compute_type(std::string_view op, const Tensor& tensor);

// Calls f with std::type_identity<double>, <float> or <bfloat16>.
template <class F>
void with_compute_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64:
      return f(std::type_identity<double>{});
    case DType::f32:
      return f(std::type_identity<float>{});
    case DType::bf16:
      return f(std::type_identity<bfloat16>{});
    default:
      fail<OpError>("[dispatch] {} is not a compute type", name_of(dtype));
  }
}

// This build has no backend for the operator's device.
[[noreturn]] void fail_missing(std::string_view op);

}  // namespace gda::ops
