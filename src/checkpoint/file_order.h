// The order of the tensors in a safetensors file: wider types first, then by name.
#pragma once

#include "gda/core/dtype.h"

namespace gda {

struct FileOrder {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    const std::size_t width = size_of(a.dtype);
    return width != size_of(b.dtype) ? width > size_of(b.dtype) : a.name < b.name;
  }
};

}  // namespace gda
