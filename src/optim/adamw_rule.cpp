#include "gda/core/stream.h"
#include "gda/optim/adamw.h"

namespace gda {
namespace {

Tensor longer(const Tensor& first, std::int64_t length) {
  return {first.raw(), first.dtype(), {length}, first.device()};
}

bool follows(const Tensor& first, const Tensor& second) {
  return static_cast<const std::byte*>(first.raw()) + first.bytes() == second.raw();
}

// Pieces that are updated as one: neighbours in memory with the same weight decay and one count of
// updates.
std::vector<OptimizerPiece> joined(const std::vector<OptimizerPiece>& pieces) {
  std::vector<OptimizerPiece> result;
  for (const OptimizerPiece& piece : pieces) {
    const bool joins = !result.empty() &&
                       result.back().parameter->bucket == piece.parameter->bucket &&
                       follows(result.back().gradient, piece.gradient) &&
                       result.back().spec().decay == piece.spec().decay &&
                       result.back().origins.empty() && piece.origins.empty();
    if (!joins) {
      result.push_back(piece);
      continue;
    }
    OptimizerPiece& last = result.back();
    last.length += piece.length;
    for (Tensor* part : {&last.gradient, &last.value, &last.master}) {
      *part = longer(*part, last.length);
    }
    for (OptimizerState& state : last.states) state.tensor = longer(state.tensor, last.length);
  }
  return result;
}

}  // namespace

void AdamW::update(const Context& context, const std::vector<OptimizerPiece>& pieces,
                   const UpdateStep& step) {
  for (const OptimizerPiece& piece : joined(pieces)) {
    const AdamWStep options{.lr = options_.lr_scale * step.lr,
                            .beta1 = options_.beta1,
                            .beta2 = options_.beta2,
                            .eps = options_.eps,
                            .weight_decay = piece.spec().decay ? options_.weight_decay : 0,
                            .gradient_scale = step.gradient_scale,
                            .step = step.update};
    const bool copies = step.writes_values && piece.has_own_master();
    adamw_update(context, options, piece.gradient, piece.master, piece.state(kFirst),
                 piece.state(kSecond), copies ? piece.value : Tensor(), piece.origins);
  }
}

}  // namespace gda
