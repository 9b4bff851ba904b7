#include "gda/optim/optimizer_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace gda {

void OptimizerConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "name", .doc = "update rule"}, name);
  visit.field({.key = "lr", .doc = "learning rate at the peak of the schedule", .minimum = 0}, lr);
  visit.field({.key = "betas",
               .doc = "decay rates of the first and second moments",
               .minimum = 0,
               .maximum = 1},
              betas);
  visit.field(
      {.key = "eps", .doc = "added to the square root of the second moment", .minimum = 1e-30},
      eps);
  visit.field({.key = "weight_decay",
               .doc = "decoupled weight decay of matrices, multiplied by the learning rate",
               .minimum = 0},
              weight_decay);
  visit.field({.key = "grad_clip",
               .doc = "maximum global norm of the gradient; 0: no clipping",
               .minimum = 0},
              grad_clip);
  visit.rule("betas", betas.size() == 2,
             fmt::format("expected two numbers, found {}", betas.size()));
  visit.rule("betas", std::all_of(betas.begin(), betas.end(), [](double beta) { return beta < 1; }),
             "a decay rate must be below 1");
}

}  // namespace gda
