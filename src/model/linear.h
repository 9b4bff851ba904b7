// A linear layer: of one matrix (o, down, the head), or of several that have one input and whose
// outputs lie side by side (q, k and v; gate and up).
#pragma once

#include <string>
#include <vector>

#include "gda/model/parameters.h"
#include "gda/ops/context.h"

namespace gda {

// y = [x W_0^T, x W_1^T, ...]. Where all W are trainable, or all frozen, they are one matrix in
// memory and one product; otherwise neighbours that are alike are.
// Sizes are those of the part of the matrices that this place holds. What the tensor-parallel
// places have to exchange follows from the cut, which all W share:
//   rows     y is this place's features, of all of x; dx is one place's term of the gradient
//   columns  x is this place's features; y is one place's term of the sum, dx is whole
// With one place there is one term. Gradients of W are complete with either cut.
class Linear {
 public:
  Linear() = default;
  // `names`: matrices in the order of parameter_specs. OpError if they are cut differently.
  Linear(const ParameterStore& parameters, const std::vector<std::string>& names);

  DType dtype() const { return parts_.front().weight.value.dtype(); }
  Cut cut() const { return cut_; }
  std::int64_t out_size() const { return out_size_; }
  // For the loss, which has the product in its own loop. Of a layer of one matrix.
  const Weight& weight() const { return parts_.front().weight; }

  // x [N, D], y [N, out_size] of the same type, or of its accumulate type if there is one W.
  // residual, as y: y = residual + x W^T; it is one term of the sum.
  void forward(const Context& context, const Tensor& x, const Tensor& y,
               const Tensor& residual = {}) const;
  // dx [N, D] = dy W.
  void backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const;
  // dW += dy^T x for those that are not frozen. A call of its own: nothing of this pass waits for
  // it, but it needs both x and dy.
  void backward_weight(const Context& context, const Tensor& x, const Tensor& dy) const;

 private:
  struct Part {
    Weight weight;
    std::int64_t column = 0;  // of y, where it begins
    Tensor of(const Tensor& y) const { return y.columns(column, weight.value.dim(0)); }
  };

  std::vector<Part> parts_;
  std::int64_t out_size_ = 0;
  Cut cut_ = Cut::none;
};

}  // namespace gda
