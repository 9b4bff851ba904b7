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

// What each of several ranks with the same parameters has whole in memory; of everything else it
// has a part (Rajbhandari et al. 2020). Masters and optimizer states are cut in all stages.
enum class ZeroStage : std::uint8_t {
  one = 1,  // values and gradients
  two,      // values; gradients of two layers at a time
  three,    // values and gradients of two layers at a time
};

// A run of parameters that live side by side and whose gradients are reduced together. Padded with
// zeros to a multiple of `alignment` elements so that it divides over the ranks.
//
// Its memory is a slot. Buckets of one slot have it in turn: their tensors, and the views of their
// parameters, are the same memory, of which the one that has its turn can be read and written.
struct Bucket {
  DType dtype = DType::f32;             // of values
  bool trainable = true;                // all of its parameters are, or all are frozen
  std::int64_t elements = 0;            // padded
  std::vector<std::size_t> parameters;  // indices into ParameterStore::all()
  std::vector<std::int64_t> offsets;    // element offset of each inside the bucket
  Tensor values;                        // [elements]
  Tensor gradients;                     // [elements], accumulate type; empty if frozen
  std::size_t value_slot = 0;
  std::size_t gradient_slot = 0;  // meaningless if frozen
  bool shares_values = false;     // with another bucket
};

struct ParameterStoreOptions {
  DType compute = DType::f32;
  std::int64_t alignment = 1;  // buckets are padded to a multiple of it: the number of replicas
  bool with_gradients = true;  // false: for inference, gradient tensors are empty
  Device device = {};
  ZeroStage zero = ZeroStage::one;
};

// Owns values and gradients, in buckets: one for each decoder layer's matrices, one for the
// embedding, one for an untied head, and one for all vectors; frozen and trainable parameters of
// each are apart.
//
// From stage two on the gradients of layers' matrices lie in two slots that layers take in turn, in
// the order of the buckets, and those of the embedding and of an untied head in a third. In stage
// three their values do so, too, those of frozen matrices of layers in two more. Vectors and a tied
// embedding have memory of their own.
class ParameterStore {
 public:
  // What is listed twice (a tied embedding, where a place has the first and the last stage) is held
  // once.
  ParameterStore(const std::vector<PlacedSpec>& placed, const ParameterStoreOptions& options);
  // All of these.
  ParameterStore(const std::vector<ParameterSpec>& specs, const ParameterStoreOptions& options);
  ParameterStore(const std::vector<PlacedSpec>& placed, DType compute, std::int64_t alignment,
                 bool with_gradients, Device device = {});
  ParameterStore(const std::vector<ParameterSpec>& specs, DType compute, std::int64_t alignment,
                 bool with_gradients, Device device = {});

  const std::vector<Parameter>& all() const { return parameters_; }
  std::vector<ParameterSpec> specs() const;
  const Parameter& at(std::string_view name) const;
  const Parameter* find(std::string_view name) const;
  const std::vector<Bucket>& buckets() const { return buckets_; }
  DType compute_type() const { return compute_; }
  ZeroStage zero() const { return zero_; }
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

  // Fills all values by their initialisers. `stream`: of the device that they are on. OpError where
  // buckets share values, which are filled one by one (GradientBuckets::initialize).
  void initialize(std::uint64_t seed, const Stream& stream = {});
  // Of one bucket.
  void initialize_bucket(std::size_t bucket, std::uint64_t seed, const Stream& stream) const;
  void zero_gradients(const Context& context) const;

 private:
  void add(const PlacedSpec& part, std::size_t bucket);
  void assign_slots();
  void allocate(const ParameterStoreOptions& options);

  DType compute_;
  ZeroStage zero_;
  std::vector<Parameter> parameters_;
  std::vector<Bucket> buckets_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<Buffer> memory_;
};

}  // namespace gda
