// What tensor-parallel places exchange of the residual stream, whose rows are cut over them: place
// t of S has rows [t n, (t+1) n). Where one token cannot be cut, as in generation, every place has
// all rows. In a plan, which has no memory, nothing is sent.
#pragma once

#include "gda/dist/communicator.h"
#include "gda/ops/context.h"

namespace gda {

// whole [S n, D] = the parts [n, D] of all places.
Pending start_gather(const Context& context, Communicator& group, const Tensor& part,
                     const Tensor& whole);
// part [n, D] = this place's rows of the sum of all places' terms [S n, D].
Pending start_reduce_scatter(const Context& context, Communicator& group, const Tensor& terms,
                             const Tensor& part);
// In place, of all places.
void reduce(const Context& context, Communicator& group, const Tensor& data, Reduction reduction);

// `part` as all rows: itself where it has them (`rows`), else gathered into the context's arena.
Tensor gathered(const Context& context, Communicator* group, const Tensor& part, std::int64_t rows);

// y = the sum of the terms that `write` fills [rows, D], one of each place: all of its rows, or
// this place's.
template <class Write>
void sum_terms(const Context& context, Communicator* group, std::int64_t rows, const Tensor& y,
               const Write& write) {
  if (group == nullptr || y.dim(0) == rows) {
    write(y);
    if (group != nullptr) reduce(context, *group, y, Reduction::sum);
    return;
  }
  const ArenaScope scope(context.arena);
  const Tensor terms = context.arena.allocate(y.dtype(), {rows, y.dim(1)});
  write(terms);
  start_reduce_scatter(context, *group, terms, y).wait();
}

}  // namespace gda
