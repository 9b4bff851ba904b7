// A small model with optimizer state whose every number follows from its name and index.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/core/memory.h"
#include "gda/model/parameters.h"

namespace gda::test {

// grouped_differential, 3:1, two layers.
ModelConfig sample_config();

// A few of such a model's parameters, of odd sizes, in forward order.
std::vector<ParameterSpec> sample_specs();

// Element i of a state ("parameter", "master", "exp_avg", "exp_avg_sq") of a parameter: a multiple
// of 1/128 below 1 in size, which bf16 holds exactly.
double sample_value(const std::string& state, const std::string& name, std::int64_t i);

// What one rank of `size` saves: parameters in `compute` (vectors in its accumulate type), and its
// part of the flat optimizer state, all parameters one after the other cut into equal parts.
class Sample {
 public:
  Sample(std::int64_t step, DType compute, int rank, int size, bool with_masters = true);
  const CheckpointContents& contents() const { return contents_; }
  CheckpointContents& contents() { return contents_; }
  // Overwrites all tensors, as the next training step does.
  void overwrite();

 private:
  Tensor filled(const std::string& state, const std::string& name, std::int64_t offset, Shape shape,
                DType dtype);
  CheckpointContents contents_;
  std::vector<OwnedTensor> memory_;
};

// Expects every parameter and every state to be as sample_value says, reading the flat state in
// `parts` parts, as that many ranks do.
void expect_sample(const CheckpointReader& reader, DType accumulate, int parts);

}  // namespace gda::test
