// Point-to-point messages under way, all of one collective operation at a time. Used on the MPI
// thread only.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <vector>

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

// A message that came is not the one that was expected: longer, say.
class MessageError : public DistError {
 public:
  using DistError::DistError;
};

class Transfers {
 public:
  // Starts an operation. Its messages share a tag; between two ranks they arrive in the order of
  // posting. Longer ones than message_bytes are cut.
  void begin(int tag, std::size_t message_bytes) {
    tag_ = tag;
    message_bytes_ = message_bytes;
  }
  // Memory for what arrives, until the operation ends. Kept, so that pages are touched once.
  std::byte* scratch(std::size_t bytes);

  void send(const void* data, std::size_t bytes, int peer);
  void receive(void* data, std::size_t bytes, int peer);
  // Lets MPI work; true when nothing is under way any more.
  bool done();
  // The ranks at the other end of what is under way, each once, ascending.
  std::vector<int> awaited() const;

 private:
  int tag_ = 0;
  std::size_t message_bytes_ = 0;
  std::vector<std::byte> scratch_;
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;  // of each request
};

}  // namespace gda::dist
