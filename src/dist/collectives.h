// The collective operations as rounds of point-to-point messages.
//
// They are built here and not taken from MPI because their sums must be taken in rank order (the
// same bits everywhere and always), because they must work beyond 2^31 elements, and because a
// round of messages knows which rank has not answered. Data flows directly between each pair of
// ranks: each rank sends and receives (size-1)/size of the data once for a reduce-scatter or an
// all-gather, which is the least possible.
#pragma once

#include <memory>

#include "dist/transfers.h"
#include "gda/dist/communicator.h"

namespace gda::dist {

class Collective {
 public:
  virtual ~Collective() = default;
  // Called when all messages of the round before have arrived: takes them in and posts the next
  // ones. False when the operation is complete.
  virtual bool next_round(Transfers& transfers) = 0;
};

struct Group {
  int rank = 0;
  int size = 1;
};

std::unique_ptr<Collective> make_all_reduce(Group group, const Tensor& data, Reduction reduction,
                                            const TransferPolicy& policy);
std::unique_ptr<Collective> make_reduce_scatter(Group group, const Tensor& from, const Tensor& to,
                                                const TransferPolicy& policy);
std::unique_ptr<Collective> make_all_gather(Group group, const Tensor& from, const Tensor& to);
std::unique_ptr<Collective> make_broadcast(Group group, const Tensor& data, int root);

}  // namespace gda::dist
