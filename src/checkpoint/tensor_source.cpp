#include "gda/checkpoint/tensor_source.h"

#include <fmt/format.h>

#include <utility>

#include "checkpoint/flat_part.h"
#include "gda/core/error.h"
#include "gda/core/stream.h"

namespace gda {
namespace {

void check_memory(const std::string& name, const Tensor& tensor) {
  require<OpError>(tensor.elements() == 0 || !tensor.empty(), "[checkpoint] {} has no memory",
                   name);
}

void produce_tensor(const Tensor& tensor, const Stream& stream, const ByteSink& sink) {
  if (tensor.elements() == 0) return;
  if (tensor.is_contiguous()) return read_bytes(stream, tensor, sink);
  for (std::int64_t row = 0; row < tensor.dim(0); ++row) {
    read_bytes(stream, tensor.rows(row, 1), sink);
  }
}

ByteProducer producer_of(const std::string& name, const Tensor& tensor, const Stream& stream) {
  check_memory(name, tensor);
  return [tensor, stream](const ByteSink& sink) { produce_tensor(tensor, stream, sink); };
}

ParameterBox box_of(const Region& region, const Tensor& part, const Stream& stream) {
  return {region,
          [part, stream, first = region.rows.begin](const IndexRange& rows, const ByteSink& sink) {
            produce_tensor(part.rows(rows.begin - first, rows.size()), stream, sink);
          }};
}

}  // namespace

TensorSource source_of(std::string name, const Tensor& tensor, const Stream& stream) {
  ByteProducer produce = producer_of(name, tensor, stream);
  return {std::move(name), tensor.dtype(), tensor.shape(), std::move(produce)};
}

ParameterSource parameter_source(std::string name, const Shape& shape, const Region& region,
                                 const Tensor& part, const Stream& stream) {
  check_memory(name, part);
  require<OpError>(part.shape() == region.shape(shape), "[checkpoint] {}: {} is not {} of {}", name,
                   part.str(), region.str(), shape.str());
  return {.name = std::move(name),
          .dtype = part.dtype(),
          .shape = shape,
          .boxes = {box_of(region, part, stream)}};
}

ParameterSource parameter_source(std::string name, const Shape& shape, const Region& region,
                                 std::int64_t offset, const Tensor& part, const Stream& stream) {
  check_memory(name, part);
  const FlatPart flat{region, offset, part.elements()};
  check_part(fmt::format("[checkpoint] {}", name), Region::whole(shape), flat);
  ParameterSource source{.name = std::move(name), .dtype = part.dtype(), .shape = shape};
  std::int64_t next = 0;
  for (const Region& box : rectangles(flat)) {
    const Tensor elements = part.rows(next, box.elements());
    source.boxes.push_back(box_of(box, elements.reshape(box.shape(shape)), stream));
    next += box.elements();
  }
  return source;
}

ParameterSource parameter_source(std::string name, const Tensor& tensor, const Stream& stream) {
  return parameter_source(std::move(name), tensor.shape(), Region::whole(tensor.shape()), tensor,
                          stream);
}

TensorPiece piece_of(std::string state, std::string name, const Region& region, std::int64_t offset,
                     const Tensor& data, const Stream& stream) {
  ByteProducer produce = producer_of(name, data, stream);
  return {std::move(state), std::move(name),   region, offset, data.dtype(),
          data.elements(),  std::move(produce)};
}

}  // namespace gda
