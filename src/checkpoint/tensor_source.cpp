#include "gda/checkpoint/tensor_source.h"

#include <utility>

#include "gda/core/error.h"

namespace gda {
namespace {

ByteProducer producer_of(const std::string& name, const Tensor& tensor) {
  require<OpError>(tensor.device().type == DeviceType::cpu,
                   "[checkpoint] {} is on {}; copy it to the host first", name,
                   tensor.device().str());
  require<OpError>(tensor.elements() == 0 || !tensor.empty(), "[checkpoint] {} has no memory",
                   name);
  return [tensor](const ByteSink& sink) {
    const auto* data = static_cast<const std::byte*>(tensor.raw());
    if (tensor.elements() == 0) return;
    if (tensor.is_contiguous()) {
      sink({data, tensor.bytes()});
      return;
    }
    const std::size_t row_bytes = tensor.bytes() / static_cast<std::size_t>(tensor.dim(0));
    const std::size_t stride =
        static_cast<std::size_t>(tensor.row_stride()) * size_of(tensor.dtype());
    for (std::int64_t row = 0; row < tensor.dim(0); ++row) {
      sink({data + static_cast<std::size_t>(row) * stride, row_bytes});
    }
  };
}

}  // namespace

TensorSource source_of(std::string name, const Tensor& tensor) {
  ByteProducer produce = producer_of(name, tensor);
  return {std::move(name), tensor.dtype(), tensor.shape(), std::move(produce)};
}

TensorPiece piece_of(std::string state, std::string name, std::int64_t offset, const Tensor& data) {
  ByteProducer produce = producer_of(name, data);
  return {std::move(state), std::move(name), offset,
          data.dtype(),     data.elements(), std::move(produce)};
}

}  // namespace gda
