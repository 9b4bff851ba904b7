#include "model/linear.h"

#include <algorithm>

#include "gda/core/error.h"
#include "gda/ops/elementwise.h"
#include "gda/ops/matmul.h"
#include "model/tensor_exchange.h"

namespace gda {

Linear::Linear(const ParameterStore& parameters, const std::vector<std::string>& names,
               Communicator* tensor)
    : cut_(parameters.at(names.front()).spec.cut), tensor_(tensor) {
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

bool Linear::is_trained() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return !part.weight.gradient.empty(); });
}

void Linear::product(const Context& context, const Tensor& x, const Tensor& y,
                     const Tensor& residual) const {
  for (const Part& part : parts_) {
    matmul(context, x, part.weight.value, part.of(y),
           {.transpose_b = true, .addend = residual ? part.of(residual) : Tensor{}});
  }
}

void Linear::forward(const Context& context, const Tensor& x, const Tensor& y,
                     const Tensor& residual) const {
  if (tensor_ == nullptr) return product(context, x, y, residual);
  const ArenaScope scope(context.arena);
  if (cut_ == Cut::rows) {
    return product(context, gathered(context, tensor_, x, y.dim(0)), y, residual);
  }
  sum_terms(context, tensor_, x.dim(0), y,
            [&](const Tensor& terms) { product(context, x, terms, {}); });
  if (residual) add(context, residual, y);
}

void Linear::backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx,
                      DeferredProducts* later) const {
  const ArenaScope scope(context.arena);
  const bool now = is_trained() && later == nullptr;
  Operands all{.x = x, .dy = dy, .fetched = {}};
  // A cut by columns needs all of dy in both products.
  if (now || cut_ != Cut::rows) all = fetch(context, x, dy);
  Pending scattered;
  if (tensor_ != nullptr && cut_ == Cut::rows) {
    const Tensor terms = context.arena.allocate(dx.dtype(), {dy.dim(0), dx.dim(1)});
    backward_input(context, dy, terms);
    scattered = start_reduce_scatter(context, *tensor_, terms, dx);
    all.fetched.wait();
  } else {
    all.fetched.wait();
    backward_input(context, all.dy, dx);
  }
  if (now) backward_weight(context, all.x, all.dy);
  if (is_trained() && later != nullptr) later->add(context, *this, x, dy);
  scattered.wait();
}

Linear::Operands Linear::fetch(const Context& context, const Tensor& x, const Tensor& dy) const {
  Operands all{.x = x, .dy = dy, .fetched = {}};
  if (tensor_ == nullptr) return all;
  const bool is_input = cut_ == Cut::rows;
  const Tensor& part = is_input ? x : dy;
  const std::int64_t rows = is_input ? dy.dim(0) : x.dim(0);
  const Tensor whole = context.arena.allocate(part.dtype(), {rows, part.dim(1)});
  all.fetched = start_gather(context, *tensor_, part, whole);
  (is_input ? all.x : all.dy) = whole;
  return all;
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
