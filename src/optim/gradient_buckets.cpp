#include "gda/optim/gradient_buckets.h"

#include <cmath>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"

namespace gda {

GradientBuckets::GradientBuckets(const ParameterStore& parameters, Communicator& replicas)
    : parameters_(&parameters), replicas_(&replicas), traffic_(parameters.buckets().size()) {
  for (const Bucket& bucket : parameters.buckets()) {
    const std::int64_t length = bucket.elements / replicas.size();
    const std::int64_t begin = length * replicas.rank();
    parts_.push_back(
        {.begin = begin,
         .value = bucket.values.rows(begin, length),
         .gradient = bucket.gradients ? bucket.gradients.rows(begin, length) : Tensor()});
  }
}

void GradientBuckets::reduce(std::size_t bucket) {
  traffic_[bucket].reduced =
      replicas_->reduce_scatter(parameters_->buckets()[bucket].gradients, parts_[bucket].gradient);
}

double GradientBuckets::gradient_norm(const Context& context) {
  const ProfileRange range("gradient norm");
  const ArenaScope scope(context.arena);
  const auto count = static_cast<std::int64_t>(parts_.size());
  const Tensor squares = context.arena.allocate(DType::f64, {count});
  fill_zero(context, squares);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bucket = static_cast<std::size_t>(i);
    traffic_[bucket].reduced.wait();
    const Tensor& gradient = parts_[bucket].gradient;
    if (gradient) sum_of_squares(context, gradient, squares.rows(i, 1));
  }
  const HostCopy host(context.stream, squares);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += host[i];
  return std::sqrt(replicas_->all_reduce(sum, Reduction::sum));
}

void GradientBuckets::zero(const Context& context) {
  for (const Traffic& traffic : traffic_) traffic.reduced.wait();
  parameters_->zero_gradients(context);
}

void GradientBuckets::gather(std::size_t bucket) {
  traffic_[bucket].gathered =
      replicas_->all_gather(parts_[bucket].value, parameters_->buckets()[bucket].values);
}

void GradientBuckets::wait(std::size_t bucket) {
  traffic_[bucket].gathered.wait();
}

void GradientBuckets::wait_all() {
  for (const Traffic& traffic : traffic_) traffic.gathered.wait();
}

}  // namespace gda
