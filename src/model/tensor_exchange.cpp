#include "model/tensor_exchange.h"

#include "gda/core/error.h"

namespace gda {
namespace {

Tensor flat(const Tensor& x) {
  return x.reshape({x.elements()});
}

void check_rows(const Communicator& group, const Tensor& part, const Tensor& whole) {
  require<OpError>(part.dim(0) * group.size() == whole.dim(0),
                   "[tensor_exchange] {} rows of one place of {} do not make {}", part.dim(0),
                   group.size(), whole.dim(0));
}

}  // namespace

Pending start_gather(const Context& context, Communicator& group, const Tensor& part,
                     const Tensor& whole) {
  check_rows(group, part, whole);
  return context.arena.is_plan() ? Pending{} : group.all_gather(flat(part), flat(whole));
}

Pending start_reduce_scatter(const Context& context, Communicator& group, const Tensor& terms,
                             const Tensor& part) {
  check_rows(group, part, terms);
  return context.arena.is_plan() ? Pending{} : group.reduce_scatter(flat(terms), flat(part));
}

void reduce(const Context& context, Communicator& group, const Tensor& data, Reduction reduction) {
  if (!context.arena.is_plan()) group.all_reduce(flat(data), reduction).wait();
}

Tensor gathered(const Context& context, Communicator* group, const Tensor& part,
                std::int64_t rows) {
  if (group == nullptr || part.dim(0) == rows) return part;
  const Tensor whole = context.arena.allocate(part.dtype(), {rows, part.dim(1)});
  start_gather(context, *group, part, whole).wait();
  return whole;
}

}  // namespace gda
