// Logical parameters: what checkpoints, growth, optimizer state, initialisation and export speak
// of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gda/core/memory.h"
#include "gda/model/model_config.h"
#include "gda/ops/context.h"

namespace gda {

// How a parameter starts: the constant `value`, or N(0, stddev^2) drawn by
// Philox(seed, initialisation, name) at the element's row-major index, the same at any world size.
struct Initializer {
  double stddev = 0;
  double value = 0;  // used when stddev is 0
};

struct ParameterSpec {
  std::string name;  // Hugging Face's: model.layers.0.self_attn.q_proj.weight
  Shape shape;       // global
  Initializer init;
  bool decay = false;       // weight decay: matrices, not vectors
  int partition_axis = -1;  // axis cut over the tensor-parallel group; -1: replicated
  std::int64_t layer = -1;  // -1 outside the decoder layers
  bool trainable = true;    // false: frozen; no gradient, no optimizer state, no communication

  // Matrices are stored in the compute type, vectors in its accumulate type.
  bool is_matrix() const { return shape.rank() == 2; }
};

// Names outside the layers. A tied model has no output projection of its own.
constexpr std::string_view kEmbeddingName = "model.embed_tokens.weight";
constexpr std::string_view kFinalNormName = "model.norm.weight";
constexpr std::string_view kHeadName = "lm_head.weight";

// Every parameter of a model in forward order, without allocating any. Within a layer q, k, v and
// gate, up follow one another, so that a store can view them as one fused matrix.
std::vector<ParameterSpec> parameter_specs(const ModelConfig& config);

std::int64_t parameter_count(const ModelConfig& config);

// The lowest layer that the backward pass reaches: one with a trainable parameter, 0 if the
// embedding is trainable; num_hidden_layers if it reaches none.
std::int64_t lowest_trained_layer(const ModelConfig& config,
                                  const std::vector<ParameterSpec>& specs);

// As training_flops_per_token (model_config.h), without the work that frozen parameters spare: the
// products for their gradients (2 FLOPs each of their numbers), and the backward pass of the layers
// below the lowest trained one.
FlopsPerToken training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length,
                                       const std::vector<ParameterSpec>& specs);

// A parameter in memory.
struct Parameter {
  ParameterSpec spec;
  std::size_t bucket = 0;  // index into ParameterStore::buckets()
  Tensor value;            // compute type for matrices, accumulate type for vectors
  Tensor gradient;         // accumulate type, same shape; empty if the parameter is frozen
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
  ParameterStore(const std::vector<ParameterSpec>& specs, DType compute, std::int64_t alignment,
                 bool with_gradients, Device device = {});

  const std::vector<Parameter>& all() const { return parameters_; }
  std::vector<ParameterSpec> specs() const;
  const Parameter& at(std::string_view name) const;
  const Parameter* find(std::string_view name) const;
  const std::vector<Bucket>& buckets() const { return buckets_; }
  DType compute_type() const { return compute_; }
  // Numbers of all parameters, and of those that are trained.
  std::int64_t count() const;
  std::int64_t trainable_count() const;

  // The bucket of the trainable matrices of a layer, or of all trainable vectors; none if they are
  // all frozen.
  std::optional<std::size_t> trainable_matrices(std::int64_t layer) const;
  std::optional<std::size_t> trainable_vectors() const;

  // Neighbouring matrices of equal width in one bucket as one: values (or gradients) of `first`
  // through `last`, stacked along rows.
  Tensor fused_value(std::string_view first, std::string_view last) const;
  Tensor fused_gradient(std::string_view first, std::string_view last) const;

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
