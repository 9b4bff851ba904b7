#include "gda/optim/update_rule.h"

#include "gda/core/error.h"

namespace gda {

const Tensor& OptimizerPiece::state(std::string_view name) const {
  for (const OptimizerState& state : states) {
    if (state.name == name) return state.tensor;
  }
  fail<OpError>("[optimizer] {} has no state {}", spec().name, name);
}

}  // namespace gda
