// Sources of a checkpoint: named tensors whose bytes are asked for when their turn comes,
// so that they need not be in memory before or after.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gda/core/tensor.h"
#include "gda/model/region.h"

namespace gda {

// Takes the next bytes of a tensor.
using ByteSink = std::function<void(std::span<const std::byte>)>;

// Hands all bytes of a tensor (row-major, little-endian) to the sink, in order, in as many calls as
// it likes. May be called from another thread than the one that made it.
using ByteProducer = std::function<void(const ByteSink&)>;

// Hands rows [begin, end) of the global tensor, as far as a box has their columns, to the sink, in
// order. In any order of calls.
using RowProducer = std::function<void(const IndexRange& rows, const ByteSink&)>;

// A whole tensor, as a file holds it.
struct TensorSource {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  ByteProducer produce;

  std::size_t bytes() const { return static_cast<std::size_t>(shape.elements()) * size_of(dtype); }
};

// A box of a parameter, of which a rank gives the bytes.
struct ParameterBox {
  Region region;        // not empty
  RowProducer produce;  // of rows within `region`
};

// A parameter under its logical name, and what this rank gives of it.
struct ParameterSource {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;                           // of the whole
  std::vector<std::string> states = {};  // that the optimizer has of it; a frozen one may have none
  std::vector<ParameterBox> boxes = {};  // none: this rank gives nothing; they do not overlap

  bool has_whole() const {
    return boxes.size() == 1 && boxes.front().region == Region::whole(shape);
  }
};

// Elements [offset, offset + length), row-major in the box `region`, of one state of the optimizer
// for the parameter `name`, whatever rank holds them.
struct TensorPiece {
  std::string state;  // "master", "exp_avg", "momentum", ...; no colon
  std::string name;
  Region region;
  std::int64_t offset = 0;
  DType dtype = DType::f32;
  std::int64_t length = 0;
  ByteProducer produce;
};

// Sources over tensors, which must live, unchanged, until the checkpoint is written (or, with
// AsyncCheckpointWriter, until start() returns). Those on a GPU are read in the order of `stream`,
// through pinned memory. `tensor` may have a row stride.
TensorSource source_of(std::string name, const Tensor& tensor, const Stream& stream = {});
// `part` holds the box `region` of a parameter of shape `shape`.
ParameterSource parameter_source(std::string name, const Shape& shape, const Region& region,
                                 const Tensor& part, const Stream& stream = {});
// `part` [n] holds elements [offset, offset + n), row-major in the box `region`: at most three
// boxes, which are the rest of a row, whole rows, and the begin of a row.
ParameterSource parameter_source(std::string name, const Shape& shape, const Region& region,
                                 std::int64_t offset, const Tensor& part,
                                 const Stream& stream = {});
// The whole.
ParameterSource parameter_source(std::string name, const Tensor& tensor, const Stream& stream = {});
// `data` is dense; its shape does not matter.
TensorPiece piece_of(std::string state, std::string name, const Region& region, std::int64_t offset,
                     const Tensor& data, const Stream& stream = {});

}  // namespace gda
