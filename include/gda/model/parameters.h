// The parameters that a rank holds, in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gda/core/memory.h"
#include "gda/model/parameter_spec.h"
#include "gda/model/placement.h"
#include "gda/ops/context.h"

namespace gda {

// What a module computes with.
struct Weight {
  Tensor value;     // compute type for matrices, accumulate type for vectors
  Tensor gradient;  // accumulate type, same shape; empty if the parameter is frozen
};

// A parameter, or the part of it that this rank holds.
struct Parameter : Weight {
  ParameterSpec spec;
  Region region;           // of the global tensor; value and gradient have its shape
  bool is_primary = true;  // whether this rank speaks for it (placement.h)
  std::size_t bucket = 0;  // index into ParameterStore::buckets()

  const Weight& weight() const { return *this; }
};

// A run of parameters that live side by side and whose gradients are reduced together. Padded with
// zeros to a multiple of `alignment` elements so that it divides over the ranks.
struct Bucket {
  DType dtype = DType::f32;             // of values
  bool trainable = true;                // all of its parameters are, or all are frozen
  std::int64_t elements = 0;            // padded
  std::vector<std::size_t> parameters;  // indices into ParameterStore::all()
  std::vector<std::int64_t> offsets;    // element offset of each inside the bucket
  Tensor values;                        // [elements]
  Tensor gradients;                     // [elements], accumulate type; empty if frozen
};

// Owns values and gradients, in buckets: one for each decoder layer's matrices, one for the
// embedding, one for an untied head, and one for all vectors; frozen and trainable parameters of
// each are apart.
class ParameterStore {
 public:
  // `alignment`: buckets are padded to a multiple of it (the number of data-parallel ranks).
  // `with_gradients` false: for inference, gradient tensors are empty.
  ParameterStore(const std::vector<PlacedSpec>& placed, DType compute, std::int64_t alignment,
                 bool with_gradients, Device device = {});
  // All of these.
  ParameterStore(const std::vector<ParameterSpec>& specs, DType compute, std::int64_t alignment,
                 bool with_gradients, Device device = {});

  const std::vector<Parameter>& all() const { return parameters_; }
  std::vector<ParameterSpec> specs() const;
  const Parameter& at(std::string_view name) const;
  const Parameter* find(std::string_view name) const;
  const std::vector<Bucket>& buckets() const { return buckets_; }
  DType compute_type() const { return compute_; }
  // Numbers of all parameters that are here, and of those that are trained.
  std::int64_t count() const;
  std::int64_t trainable_count() const;

  // The bucket of the trainable matrices of a layer, or of all trainable vectors; none if they are
  // all frozen.
  std::optional<std::size_t> trainable_matrices(std::int64_t layer) const;
  std::optional<std::size_t> trainable_vectors() const;

  // Neighbouring matrices of equal width in one bucket as one: `first` through `last`, stacked
  // along rows.
  Weight fused(std::string_view first, std::string_view last) const;

  // Fills all values by their initialisers. `stream`: of the device that they are on.
  void initialize(std::uint64_t seed, const Stream& stream = {});
  void zero_gradients(const Context& context) const;

 private:
  DType compute_;
  std::vector<Parameter> parameters_;
  std::vector<Bucket> buckets_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<Buffer> memory_;
};

}  // namespace gda
