// Linear layers of one input whose outputs lie side by side, as one: q, k and v, or gate and up.
#pragma once

#include <string>
#include <vector>

#include "gda/model/parameters.h"
#include "gda/ops/context.h"

namespace gda {

// y = [x W_0^T, x W_1^T, ...]. Where all W are trainable, or all frozen, they are one matrix in
// memory and one product; otherwise neighbours that are alike are.
class FusedLinear {
 public:
  FusedLinear() = default;
  // `names`: matrices in the order of parameter_specs.
  FusedLinear(const ParameterStore& parameters, const std::vector<std::string>& names);

  DType dtype() const { return parts_.front().weight.dtype(); }
  std::int64_t out_size() const { return out_size_; }

  // x [N, D], y [N, out_size].
  void forward(const Context& context, const Tensor& x, const Tensor& y) const;
  // dW += dy^T x for those that are not frozen; dx [N, D] = dy W.
  void backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx) const;

 private:
  struct Part {
    Tensor weight;
    Tensor gradient;          // empty: frozen
    std::int64_t column = 0;  // of y, where it begins
  };
  void backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const;

  std::vector<Part> parts_;
  std::int64_t out_size_ = 0;
};

}  // namespace gda
