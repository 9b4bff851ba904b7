// A linear layer: of one matrix (o, down, the head), or of several that have one input and whose
// outputs lie side by side (q, k and v; gate and up).
#pragma once

#include <string>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/model/deferred_products.h"
#include "gda/model/parameters.h"
#include "gda/ops/context.h"

namespace gda {

// y = [x W_0^T, x W_1^T, ...]. Where all W are trainable, or all frozen, they are one matrix in
// memory and one product; otherwise neighbours that are alike are.
// Sizes are those of the part of the matrices that this place holds. With N rows of tokens, of
// which each of S tensor-parallel places has n = N / S of the residual stream (tensor_exchange.h),
// what places exchange follows from the cut, which all W share:
//   rows     x [n, D] is gathered and y [N, out_size] is this place's features of all tokens; the
//            places' terms of dx are added and scattered
//   columns  x [N, D] is this place's features; the places' terms of y are added and scattered to
//            [n, out_size], dy is gathered
// Where x and y have as many rows, every place has all tokens: y's terms are added on all places.
// Without a group there is one term. Gradients of W are complete with either cut.
class Linear {
 public:
  Linear() = default;
  // `names`: matrices in the order of parameter_specs. OpError if they are cut differently.
  // `tensor`: the places that share them; null: one.
  Linear(const ParameterStore& parameters, const std::vector<std::string>& names,
         Communicator* tensor = nullptr);

  DType dtype() const { return parts_.front().weight.value.dtype(); }
  Cut cut() const { return cut_; }
  std::int64_t out_size() const { return out_size_; }
  // For the loss, which has the product in its own loop. Of a layer of one matrix.
  const Weight& weight() const { return parts_.front().weight; }

  // x [N, D], y [N, out_size] of the same type, or of its accumulate type if there is one W.
  // residual, as y: y = residual + x W^T.
  void forward(const Context& context, const Tensor& x, const Tensor& y,
               const Tensor& residual = {}) const;
  // dx = dy W, and dW += dy^T x for those that are not frozen, now or when `later` is carried out.
  // Exchanges run under the products.
  void backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx,
                DeferredProducts* later = nullptr) const;

  // The second product of backward in two steps: all rows of both, in the context's arena, where
  // another place has some, and the product, once they are here.
  struct Operands {
    Tensor x, dy;
    Pending fetched;
  };
  Operands fetch(const Context& context, const Tensor& x, const Tensor& dy) const;
  void backward_weight(const Context& context, const Tensor& x, const Tensor& dy) const;

 private:
  struct Part {
    Weight weight;
    std::int64_t column = 0;  // of y, where it begins
    Tensor of(const Tensor& y) const { return y.columns(column, weight.value.dim(0)); }
  };

  void product(const Context& context, const Tensor& x, const Tensor& y,
               const Tensor& residual) const;
  void backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const;
  bool is_trained() const;

  std::vector<Part> parts_;
  std::int64_t out_size_ = 0;
  Cut cut_ = Cut::none;
  Communicator* tensor_ = nullptr;
};

}  // namespace gda
