// The operations of a group as rounds of point-to-point messages.
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

class Operation {
 public:
  virtual ~Operation() = default;
  // Called when all messages of the round before have arrived: takes them in and posts the next
  // ones. False when the operation is complete.
  virtual bool next_round(Transfers& transfers) = 0;
};

struct Group {
  int rank = 0;
  int size = 1;
};

std::unique_ptr<Operation> make_all_reduce(Group group, const Tensor& data, Reduction reduction,
                                           const TransferPolicy& policy);
std::unique_ptr<Operation> make_reduce_scatter(Group group, const Tensor& from, const Tensor& to,
                                               const TransferPolicy& policy);
std::unique_ptr<Operation> make_all_gather(Group group, const Tensor& from, const Tensor& to);
std::unique_ptr<Operation> make_broadcast(Group group, const Tensor& data, int root);
std::unique_ptr<Operation> make_all_to_all(Group group, const Tensor& from, const Tensor& to);
// With kNobody as in Communicator::send_receive.
std::unique_ptr<Operation> make_send_receive(const Tensor& send, int to, const Tensor& receive,
                                             int from);

}  // namespace gda::dist
