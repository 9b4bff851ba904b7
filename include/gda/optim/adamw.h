// AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) as an update rule.
#pragma once

#include <string>
#include <vector>

#include "gda/optim/update_rule.h"

namespace gda {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0;  // of parameters that ask for it
  double lr_scale = 1;      // multiplies the rates of the steps
};

// Takes every parameter. States: "exp_avg" and "exp_avg_sq", the names that PyTorch has for them.
// Formula and step counts of regions: gda/ops/adamw.h.
class AdamW : public UpdateRule {
 public:
  explicit AdamW(const AdamWOptions& options) : options_(options) {}

  bool takes(const ParameterSpec&) const override { return true; }
  std::vector<std::string> states() const override { return {kFirst, kSecond}; }
  void update(const Context& context, const std::vector<OptimizerPiece>& pieces,
              const UpdateStep& step) override;

 private:
  static constexpr const char* kFirst = "exp_avg";
  static constexpr const char* kSecond = "exp_avg_sq";

  AdamWOptions options_;
};

}  // namespace gda
