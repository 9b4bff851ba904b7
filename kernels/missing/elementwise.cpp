#include "ops/dispatch.h"
#include "ops/elementwise_kernels.h"

namespace gda::cuda {

void fill_zero(const Context&, const Tensor&) {
  ops::fail_missing("fill_zero", "GDA_CUDA");
}

void convert(const Context&, const Tensor&, const Tensor&) {
  ops::fail_missing("convert", "GDA_CUDA");
}

void stochastic_round(const Context&, const Tensor&, const Tensor&, const Philox&, std::uint64_t,
                      std::int64_t) {
  ops::fail_missing("stochastic_round", "GDA_CUDA");
}

void add(const Context&, const Tensor&, const Tensor&) {
  ops::fail_missing("add", "GDA_CUDA");
}

void scale_columns(const Context&, const Tensor&, const Tensor&, const Tensor&) {
  ops::fail_missing("scale_columns", "GDA_CUDA");
}

void axpby(const Context&, double, const Tensor&, double, const Tensor&) {
  ops::fail_missing("axpby", "GDA_CUDA");
}

void sum_of_squares(const Context&, const Tensor&, const Tensor&) {
  ops::fail_missing("sum_of_squares", "GDA_CUDA");
}

}  // namespace gda::cuda
