#include "gda/core/dtype.h"

namespace gda {

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "fp64";
    case DType::f32:
      return "fp32";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "int32";
  }
  return "unknown";
}

}  // namespace gda
