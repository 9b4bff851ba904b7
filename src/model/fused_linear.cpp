#include "model/fused_linear.h"

#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"

namespace gda {

FusedLinear::FusedLinear(const ParameterStore& parameters, const std::vector<std::string>& names) {
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t bucket = parameters.at(names[begin]).bucket;
    std::size_t end = begin + 1;
    while (end < names.size() && parameters.at(names[end]).bucket == bucket) ++end;
    const std::string& first = names[begin];
    const std::string& last = names[end - 1];
    const Weight fused = parameters.fused(first, last);
    parts_.push_back({.weight = fused.value, .gradient = fused.gradient, .column = out_size_});
    out_size_ += parts_.back().weight.dim(0);
    begin = end;
  }
}

void FusedLinear::forward(const Context& context, const Tensor& x, const Tensor& y) const {
  for (const Part& part : parts_) {
    matmul(context, x, part.weight, y.columns(part.column, part.weight.dim(0)),
           {.transpose_b = true});
  }
}

void FusedLinear::backward(const Context& context, const Tensor& x, const Tensor& dy,
                           const Tensor& dx) const {
  for (const Part& part : parts_) {
    if (part.gradient.empty()) continue;
    matmul(context, dy.columns(part.column, part.weight.dim(0)), x, part.gradient,
           {.transpose_a = true, .accumulate = true});
  }
  backward_input(context, dy, dx);
}

void FusedLinear::backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const {
  if (parts_.size() == 1) return matmul(context, dy, parts_.front().weight, dx);
  // Summed in the accumulate type, so that dx is rounded once, as that of a single product is.
  const ArenaScope scope(context.arena);
  const DType wide = accumulate_type(dx.dtype());
  const Tensor sum = wide == dx.dtype() ? dx : context.arena.allocate(wide, dx.shape());
  for (const Part& part : parts_) {
    matmul(context, dy.columns(part.column, part.weight.dim(0)), part.weight, sum,
           {.accumulate = part.column > 0});
  }
  if (wide != dx.dtype()) convert(context, sum, dx);
}

}  // namespace gda
