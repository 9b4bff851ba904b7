#include "gda/checkpoint/tensor_source.h"

#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"

namespace gda {
namespace {

ByteProducer producer_of(const std::string& name, const Tensor& tensor, const Stream& stream) {
  require<OpError>(tensor.elements() == 0 || !tensor.empty(), "[checkpoint] {} has no memory",
                   name);
  return [tensor, stream](const ByteSink& sink) {
    if (tensor.elements() == 0) return;
    if (tensor.is_contiguous()) return read_bytes(stream, tensor, sink);
    for (std::int64_t row = 0; row < tensor.dim(0); ++row) {
      read_bytes(stream, tensor.rows(row, 1), sink);
    }
  };
}

}  // namespace

TensorSource source_of(std::string name, const Tensor& tensor, const Stream& stream) {
  ByteProducer produce = producer_of(name, tensor, stream);
  return {std::move(name), tensor.dtype(), tensor.shape(), std::move(produce)};
}

TensorPiece piece_of(std::string state, std::string name, std::int64_t offset, const Tensor& data,
                     const Stream& stream) {
  ByteProducer produce = producer_of(name, data, stream);
  return {std::move(state), std::move(name), offset,
          data.dtype(),     data.elements(), std::move(produce)};
}

}  // namespace gda
