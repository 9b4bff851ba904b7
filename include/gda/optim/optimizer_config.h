// The `optimizer` section of a run's configuration.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/core/config.h"

namespace gda {

enum class OptimizerName : std::uint8_t { adamw };
template <>
inline constexpr auto kWordsOf<OptimizerName> = words("adamw");

// AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
struct OptimizerConfig {
  OptimizerName name = OptimizerName::adamw;
  double lr = 4e-4;                         // at the peak of the schedule
  std::vector<double> betas = {0.9, 0.95};  // decay rates of the first and second moment
  double eps = 1e-8;                        // added to the root of the second moment
  double weight_decay = 0.1;                // of matrices only, times the learning rate
  double grad_clip = 1.0;                   // largest global gradient norm; 0: no clipping

  bool operator==(const OptimizerConfig&) const = default;

  void fields(FieldVisitor& visit);
};

}  // namespace gda
