// The sample of sample.h for whole models, cut over places: stages, tensor-parallel ranks, and data
// ranks that each have a flat part of the optimizer's states.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/core/memory.h"
#include "gda/model/placement.h"

namespace gda::test {

// Three layers, every axis that is cut divisible by four.
ModelConfig placed_config(const std::string& attention, bool tied);

struct Layout {
  int stages = 1;  // ranks along the pipeline
  int tensor = 1;
  int data = 1;
  int chunks = 1;               // stages of each rank
  bool values_are_cut = false;  // a rank has a part of the values, too (ZeRO 3)

  int size() const { return stages * data * tensor; }
  // What a rank has, tensor innermost as in the mesh.
  std::vector<PlacedSpec> placed(const ModelConfig& config, int rank) const;
  int data_coordinate(int rank) const { return rank / tensor % data; }
  std::string str() const;
};

// What one rank of a layout saves: parameters in `compute`, their masters where they are narrower,
// and both moments; the last layer's MLP is frozen.
class PlacedSample {
 public:
  PlacedSample(const ModelConfig& config, const Layout& layout, int rank,
               DType compute = DType::bf16);
  const CheckpointContents& contents() const { return contents_; }
  CheckpointContents& contents() { return contents_; }

 private:
  void add_parameter(const ParameterSpec& spec, const PlacedSpec* placed, const Layout& layout,
                     int rank, DType compute);
  void add_pieces(const PlacedSpec& placed, const std::vector<std::string>& states,
                  const Layout& layout, int rank, DType dtype);
  Tensor filled(const std::string& state, const PlacedSpec& placed, std::int64_t offset,
                Shape shape, DType dtype);

  CheckpointContents contents_;
  std::vector<OwnedTensor> memory_;
};

// Expects every element that the ranks of a layout read, of parameters and states, to be as
// sample_value says, and all of them together to be the whole.
void expect_placed(const CheckpointReader& reader, const Layout& layout,
                   DType compute = DType::bf16);

}  // namespace gda::test
