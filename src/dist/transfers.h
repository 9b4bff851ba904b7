// Point-to-point messages under way, all of one collective operation at a time. Used on the MPI
// thread only.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dist/rank_names.h"
#include "gda/core/error.h"

namespace gda::dist {

// Sizes that decide how operations are cut up. The same on all ranks.
struct TransferPolicy {
  // Counts of MPI messages are ints; one GiB is far from their end and long enough for the wire.
  std::size_t message_bytes = std::size_t{1} << 30;
  // Memory for what other ranks sent and is still to be added; larger reductions go in rounds.
  std::size_t scratch_bytes = std::size_t{16} << 20;
  // All-reduces up to this size go to every rank whole, in one round instead of two.
  std::size_t direct_bytes = std::size_t{16} << 10;
};

// Throws DistError with MPI's text unless the code is MPI_SUCCESS.
void check_mpi(int code, const char* call);

// A rank does something else than this one, or sends another length than is expected.
class MessageError : public DistError {
 public:
  using DistError::DistError;
};

class Transfers {
 public:
  // Where the messages of an operation go.
  struct Channel {
    MPI_Comm comm = MPI_COMM_NULL;
    int tag = 0;  // between two ranks, messages of one tag arrive in the order of posting
    const std::vector<int>* world_ranks = nullptr;  // of the ranks of `comm`, for errors
    const RankNames* names = nullptr;
    std::size_t message_bytes = 0;  // longer messages are cut
  };

  void begin(const Channel& channel) { channel_ = channel; }
  // Memory for what arrives, until the operation ends. Kept, so that pages are touched once.
  std::byte* scratch(std::size_t bytes);

  void send(const void* data, std::size_t bytes, int peer);
  // No more than `bytes` may come: Open MPI may write what is longer over the end (seen with 4.1,
  // shared memory and messages beyond some 4 KiB). So ranks compare first.
  void receive(void* data, std::size_t bytes, int peer);
  // Lets MPI work; true when nothing is under way any more.
  bool done();
  // What errors call a rank of the channel.
  std::string name(int peer) const { return channel_.names->name(world_rank(peer)); }
  // Those at the other end of what is under way, each once, ascending, by their world ranks.
  std::vector<int> awaited() const;

 private:
  struct Message {
    int peer;
    int awaited_bytes;  // negative: it is sent
  };

  int world_rank(int peer) const { return (*channel_.world_ranks)[static_cast<std::size_t>(peer)]; }
  // Throws MessageError unless the whole message has come.
  void check(const Message& message, const MPI_Status& status) const;

  Channel channel_;
  std::vector<std::byte> scratch_;
  std::vector<MPI_Request> requests_;
  std::vector<Message> messages_;  // of each request
};

}  // namespace gda::dist
