#include "gda/growth/width.h"

#include "gda/core/error.h"
#include "growth/head_layout.h"

namespace gda {
namespace {

// How the gradient is shared out, when all copies are alike: the loss depends on x through n equal
// copies of it, so each copy receives 1/n of dL/dx. What is written to the stream, and the norms
// that read it, therefore see 1/n of the gradient; a reader's columns see the old input and the
// gradient of its output, which is the old one divided by the copies of that output.
//   output side (rows):   scale 1,   gradient 1/copies
//   input side (columns): scale 1/n, gradient 1
class Tiling {
 public:
  Tiling(std::int64_t hidden, std::int64_t feed_forward, std::int64_t heads)
      : hidden_(hidden), feed_forward_(feed_forward), heads_(heads) {}

  void tile(bool tied, TensorMap& tensor) const {
    TensorStep& step = tensor.steps.front();
    const Role role = tensor.target.role;
    switch (role) {
      case Role::embedding:
        // Tied, the projection's part of the gradient is 1/n too: its input is divided by n.
        step.columns = written(tensor.source_shape[1], hidden_);
        break;
      case Role::norm:
        step.rows = written(tensor.source_shape[0], hidden_);
        break;
      case Role::final_norm:
        step.rows =
            tied ? read(tensor.source_shape[0], hidden_) : written(tensor.source_shape[0], hidden_);
        break;
      case Role::query:
      case Role::key:
      case Role::value:
      case Role::lambda_projection:
        tile_matrix(tensor, heads_, hidden_);
        break;
      case Role::output:
        tile_matrix(tensor, hidden_, heads_);
        break;
      case Role::gate:
      case Role::up:
        tile_matrix(tensor, feed_forward_, hidden_);
        break;
      case Role::down:
        tile_matrix(tensor, hidden_, feed_forward_);
        break;
      case Role::head:
        tile_matrix(tensor, 1, hidden_);
        break;
      // Their gradients sum over all heads or units, of which there are more with less each.
      case Role::head_vector:
      case Role::activation_weight:
      case Role::activation_bias:
        break;
    }
  }

 private:
  static AxisMap written(std::int64_t size, std::int64_t copies) {
    return AxisMap::tiled(size, copies, 1, 1.0 / static_cast<double>(copies));
  }
  static AxisMap read(std::int64_t size, std::int64_t copies) {
    return AxisMap::tiled(size, copies, 1.0 / static_cast<double>(copies), 1);
  }

  static void tile_matrix(TensorMap& tensor, std::int64_t row_copies, std::int64_t column_copies) {
    TensorStep& step = tensor.steps.front();
    const std::int64_t width = tensor.source_shape[1];
    step.rows = written(tensor.source_shape[0], row_copies);
    step.columns = read(width, column_copies);
    for (std::int64_t copy = 0; copy + 1 < column_copies; copy += 2) {
      step.noise.push_back({.plus = copy * width, .minus = (copy + 1) * width, .width = width});
    }
  }

  std::int64_t hidden_;
  std::int64_t feed_forward_;
  std::int64_t heads_;
};

}  // namespace

void Width::fields(FieldVisitor& visit) {
  visit.field({.key = "hidden_factor",
               .doc = "copies of the residual stream (hidden_size)",
               .minimum = 1,
               .formerly = "hidden"},
              hidden_factor);
  visit.field({.key = "feed_forward_factor",
               .doc = "copies of the feed-forward units (intermediate_size)",
               .minimum = 1,
               .formerly = "feed_forward"},
              feed_forward_factor);
  visit.field(
      {.key = "heads", .doc = "multiply: as many copies of all heads as of the residual stream"},
      heads);
  visit.field(
      {.key = "noise_db",
       .doc =
           "zero-sum noise that breaks the symmetry of copies, decibels below the weights; 0: none",
       .minimum = 0},
      noise_db);
  visit.rule("hidden_factor", hidden_factor > 1 || feed_forward_factor > 1,
             "nothing grows; give hidden_factor or feed_forward_factor, 2 or more");
  visit.rule("heads", heads == WidthHeads::keep || hidden_factor > 1,
             "multiply, but hidden_factor is 1; heads multiply with the residual stream");
}

GrowthMap Width::map(const ModelConfig& from) const {
  const std::int64_t copies = heads == WidthHeads::multiply ? hidden_factor : 1;
  ModelConfig to = from;
  to.hidden_size *= hidden_factor;
  to.intermediate_size *= feed_forward_factor;
  to.attention.num_attention_heads *= copies;
  to.attention.signal_heads *= copies;
  to.attention.noise_heads *= copies;
  to.attention.num_key_value_heads *= copies;
  to.validate();
  GrowthMap map = identity_map(from, to);
  const Tiling tiling(hidden_factor, feed_forward_factor, copies);
  for (TensorMap& tensor : map.tensors) {
    tiling.tile(from.tie_word_embeddings, tensor);
    tensor.steps.front().noise_db = noise_db;
  }
  return map;
}

}  // namespace gda
