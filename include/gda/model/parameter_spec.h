// Logical parameters: what checkpoints, growth, optimizer state, initialisation and export speak
// of, whichever part of them a rank holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gda/core/shape.h"
#include "gda/model/model_config.h"

namespace gda {

// What a parameter is for.
enum class Role : std::uint8_t {
  embedding,          // [vocabulary, hidden]: writes to the residual stream
  norm,               // [hidden]: in front of attention and of the feed-forward block
  query,              // [query, hidden]
  key,                // [key, hidden]
  value,              // [value, hidden]
  lambda_projection,  // [heads, hidden], differential_v2
  output,             // [hidden, output]
  head_vector,        // lambda vectors and subln: shared by the heads of a layer
  gate,               // [feed_forward, hidden]
  up,                 // [feed_forward, hidden]
  down,               // [hidden, feed_forward]
  activation_weight,  // PolyNorm's
  activation_bias,
  final_norm,  // [hidden]
  head,        // [vocabulary, hidden]: an untied output projection
};

// Whether its columns are the residual stream, read through a norm.
bool reads_hidden(Role role);
// Whether its rows are the residual stream, added to it.
bool writes_hidden(Role role);

// The axis that is cut over the tensor-parallel ranks.
enum class Cut : std::uint8_t {
  none,     // every rank has all of it
  rows,     // output features, or the vocabulary: a column-parallel layer, in Megatron's words
  columns,  // input features: a row-parallel layer
};

// Which sums complete a gradient that a rank has computed. Over data and context ranks all are
// summed; they differ in what the tensor-parallel ranks and the pipeline's stages add.
enum class Completion : std::uint8_t {
  cut,               // nothing: each tensor-parallel rank has computed all of its own part
  partial_by_token,  // repeated; each tensor-parallel rank has seen its tokens: their sum
  partial_by_head,   // repeated; each has seen its heads or channels: their sum
  tied,              // cut, and the first and the last stage hold the same: the sum of both
};

// How a parameter starts: the constant `value`, or N(0, stddev^2) drawn by
// Philox(seed, initialisation, name) at the element's row-major index in the global tensor, the
// same wherever it is.
struct Initializer {
  double stddev = 0;
  double value = 0;  // used when stddev is 0
};

struct ParameterSpec {
  std::string name;  // Hugging Face's: model.layers.0.self_attn.q_proj.weight
  Role role = Role::norm;
  Shape shape;  // global
  Initializer init;
  bool decay = false;  // weight decay: matrices, not vectors
  Cut cut = Cut::none;
  Completion completion = Completion::cut;
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

}  // namespace gda
