// Parts of parameters on their way to the ranks that write them.
//
// Files are made of whole tensors, ranks hold parts. Every rank knows who gives what to whom: the
// messages have one order on all ranks, in which the files of different ranks take turns. A rank
// carries out its own in that order, each when it is needed: those that come before the next block
// of rows that it writes, and at the end the rest. So they cannot deadlock, and a rank has at most
// two blocks under way besides the one that it writes.
//
// A rank that fails still carries out all of its messages; what it sends then is of no use, and it
// says so afterwards. Nobody is left waiting.
#pragma once

#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "checkpoint/save_layout.h"
#include "gda/checkpoint/tensor_source.h"

namespace gda::checkpoint_internal {

// Rows of a parameter, and who gives which columns of them, from left to right.
struct RowBlock {
  std::size_t parameter = 0;
  IndexRange rows;
  std::vector<HeldBox> parts;
};

// The blocks of a parameter, given by `givers`, from the first row to the last, each of at most
// `block_bytes` unless a row has more.
std::vector<RowBlock> row_blocks(std::size_t parameter, const ParameterSource& source,
                                 const std::vector<HeldBox>& givers, std::size_t block_bytes);

class RowExchange {
 public:
  // `lanes`: the blocks that each rank writes, in the order in which it does; the same on every
  // rank. `group` must outlive it.
  RowExchange(Communicator& group, std::vector<ParameterSource> parameters,
              const std::vector<std::vector<RowBlock>>& lanes);

  // Hands the rows of a block, the next of this rank's, to the sink.
  void assemble(const RowBlock& block, const ByteSink& sink);
  // What is left of the messages. Why this rank could not give what it should have, if it could
  // not.
  std::exception_ptr finish();

 private:
  struct Message {
    std::size_t parameter = 0;
    Region region;
    int from = 0;
    int to = 0;
  };
  struct Outgoing {
    std::vector<std::byte> bytes;
    Pending sent;
  };

  // Sends everything that comes before the next message to this rank.
  void send_until_next_receipt();
  void send(const Message& message);
  Tensor receive();
  // The bytes of a part that is here.
  void collect(std::size_t parameter, const Region& region, std::span<std::byte> to) const;
  std::size_t bytes_of(const Message& message) const;
  Tensor tensor_over(std::vector<std::byte>& bytes, const Message& message) const;

  Communicator& group_;
  std::vector<ParameterSource> parameters_;
  std::vector<Message> messages_;  // of this rank
  std::size_t next_ = 0;
  std::array<Outgoing, 2> outgoing_;
  std::size_t turn_ = 0;
  std::vector<std::byte> incoming_;
  std::exception_ptr error_;
};

}  // namespace gda::checkpoint_internal
