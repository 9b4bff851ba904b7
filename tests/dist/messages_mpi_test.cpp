// Messages between ranks, on however many ranks mpirun started.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "dist/numbers.h"
#include "gda/core/error.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::tensor_of;
using test::values;
using test::world;

// None, one, a prime, and beyond what MPI sends without the other's help.
const std::vector<std::int64_t> kMessageSizes = {0, 1, 127, 100003};

template <class T>
void check_all_to_all(std::int64_t part) {
  const int rank = world().rank();
  std::vector<T> from = values<T>(rank, part * world().size());
  std::vector<T> to(from.size());
  world().all_to_all(tensor_of(from), tensor_of(to)).wait();
  for (int r = 0; r < world().size(); ++r) {
    const std::vector<T> sent = values<T>(r, part * world().size());
    ASSERT_TRUE(part == 0 || std::memcmp(&to[r * part], &sent[rank * part], part * sizeof(T)) == 0)
        << "part of rank " << r << " of " << part << " elements";
  }
}

TEST(MessagesTest, AllToAll) {
  for (const std::int64_t part : kMessageSizes) {
    check_all_to_all<float>(part);
    check_all_to_all<double>(part);
    check_all_to_all<bfloat16>(part);
    check_all_to_all<std::int32_t>(part);
  }
}

// In a group of one it is a copy.
TEST(MessagesTest, AroundARingInBothDirections) {
  const int size = world().size();
  const int rank = world().rank();
  for (const std::int64_t n : kMessageSizes) {
    for (const int distance : {1, size - 1}) {
      const int to = (rank + distance) % size;
      const int from = (rank + size - distance) % size;
      std::vector<double> sent = values<double>(rank, n);
      std::vector<double> received(sent.size());
      world().send_receive(tensor_of(sent), to, tensor_of(received), from).wait();
      ASSERT_EQ(received, values<double>(from, n)) << n << " elements over " << distance;
    }
  }
}

// As activations go from stage to stage: each rank adds itself and passes on what it got.
TEST(MessagesTest, DownAChain) {
  const int size = world().size();
  const int rank = world().rank();
  for (const std::int64_t n : kMessageSizes) {
    std::vector<float> data(static_cast<std::size_t>(n), 1.0F);
    if (rank > 0) world().receive(tensor_of(data), rank - 1).wait();
    for (float& x : data) x = x * 2 + static_cast<float>(rank);
    if (rank + 1 < size) world().send(tensor_of(data), rank + 1).wait();
    float expected = 1;
    for (int r = 0; r <= rank; ++r) expected = expected * 2 + static_cast<float>(r);
    ASSERT_EQ(data, std::vector<float>(static_cast<std::size_t>(n), expected));
  }
}

// Only their two ends call them, so ranks may have called different numbers of them when the next
// collective comes; several from one rank to another arrive in order.
TEST(MessagesTest, BetweenTwoRanksAmongCollectives) {
  const int size = world().size();
  const int rank = world().rank();
  std::vector<std::vector<float>> boxes(5);
  std::vector<float> ones(5003, 1.0F);
  std::vector<Pending> pending;
  for (int k = 0; k < 5; ++k) {
    boxes[k].assign(1 + 2003 * k, rank == 0 ? static_cast<float>(k) : -1.0F);
    if (size > 1 && rank == 0) pending.push_back(world().send(tensor_of(boxes[k]), size - 1));
    if (size > 1 && rank == size - 1) pending.push_back(world().receive(tensor_of(boxes[k]), 0));
    if (k == 2) pending.push_back(world().all_reduce(tensor_of(ones), Reduction::sum));
  }
  for (const Pending& operation : pending) operation.wait();
  EXPECT_EQ(ones, std::vector<float>(5003, static_cast<float>(size)));
  if (rank != size - 1) return;
  for (int k = 0; k < 5; ++k) {
    EXPECT_EQ(boxes[k], std::vector<float>(1 + 2003 * k, static_cast<float>(k)));
  }
}

}  // namespace
}  // namespace gda
