#include "model/linear.h"

#include "gda/core/error.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"

namespace gda {

Linear::Linear(const ParameterStore& parameters, const std::vector<std::string>& names)
    : cut_(parameters.at(names.front()).spec.cut) {
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t bucket = parameters.at(names[begin]).bucket;
    std::size_t end = begin + 1;
    while (end < names.size() && parameters.at(names[end]).bucket == bucket) ++end;
    parts_.push_back(
        {.weight = parameters.fused(names[begin], names[end - 1]), .column = out_size_});
    out_size_ += parts_.back().weight.value.dim(0);
    begin = end;
  }
  for (const std::string& name : names) {
    require<OpError>(parameters.at(name).spec.cut == cut_,
                     "[linear] expected matrices with one cut, {} is cut otherwise than {}", name,
                     names.front());
  }
}

void Linear::forward(const Context& context, const Tensor& x, const Tensor& y,
                     const Tensor& residual) const {
  for (const Part& part : parts_) {
    matmul(context, x, part.weight.value, part.of(y),
           {.transpose_b = true, .addend = residual ? part.of(residual) : Tensor{}});
  }
}

void Linear::backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const {
  if (parts_.size() == 1) return matmul(context, dy, parts_.front().weight.value, dx);
  // Summed in the accumulate type, so that dx is rounded once, as that of a single product is.
  const ArenaScope scope(context.arena);
  const DType wide = accumulate_type(dx.dtype());
  const Tensor sum = wide == dx.dtype() ? dx : context.arena.allocate(wide, dx.shape());
  for (const Part& part : parts_) {
    matmul(context, part.of(dy), part.weight.value, sum, {.accumulate = part.column > 0});
  }
  if (wide != dx.dtype()) convert(context, sum, dx);
}

void Linear::backward_weight(const Context& context, const Tensor& x, const Tensor& dy) const {
  for (const Part& part : parts_) {
    if (part.weight.gradient.empty()) continue;
    matmul(context, part.of(dy), x, part.weight.gradient,
           {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace gda
