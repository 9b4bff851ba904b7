// Several operations under way at once, and what the cuts of large messages do to the result.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "dist/mpi_communicator.h"
#include "dist/numbers.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::tensor_of;
using test::world;

TEST(InFlightTest, ManyOperationsOfDifferentKinds) {
  const int size = world().size();
  const int rank = world().rank();
  constexpr int kCount = 40;
  std::vector<std::vector<float>> reduced(kCount);
  std::vector<std::vector<float>> gathered(kCount);
  std::vector<Pending> pending;
  for (int k = 0; k < kCount; ++k) {
    const std::int64_t n = 1 + k * 997 % 20011;
    reduced[k].assign(n, static_cast<float>(rank + k));
    gathered[k].assign(n * size, -1.0F);
    pending.push_back(world().all_reduce(tensor_of(reduced[k]), Reduction::sum));
    // Waits for nothing: the operation before fills what this one sends.
    pending.push_back(world().all_gather(tensor_of(reduced[k]), tensor_of(gathered[k])));
  }
  for (auto it = pending.rbegin(); it != pending.rend(); ++it) it->wait();
  for (int k = 0; k < kCount; ++k) {
    const auto expected = static_cast<float>(size * k + size * (size - 1) / 2);
    for (const float x : reduced[k]) ASSERT_EQ(x, expected);
    for (const float x : gathered[k]) ASSERT_EQ(x, expected);
  }
}

TEST(InFlightTest, ComputingMeanwhile) {
  const int size = world().size();
  std::vector<float> data(static_cast<std::size_t>(size) * 300007, 1.0F);
  std::vector<float> part(300007);
  const Pending pending = world().reduce_scatter(tensor_of(data), tensor_of(part));
  double sum = 0;
  for (int i = 1; i < 2000000; ++i) sum += 1.0 / (static_cast<double>(i) * i);
  pending.wait();
  EXPECT_NEAR(sum, 1.6449340668, 1e-6);  // pi^2/6 less the tail, 1/2000000
  for (const float x : part) ASSERT_EQ(x, static_cast<float>(size));
}

TEST(InFlightTest, NobodyWaitsForThePending) {
  std::vector<float> data(1000, 1.0F);
  world().all_reduce(tensor_of(data), Reduction::sum);
  world().barrier();  // runs after it
  EXPECT_EQ(data, std::vector<float>(1000, static_cast<float>(world().size())));
}

// Real limits are gigabytes; the same cuts at a few bytes.
TEST(InFlightTest, CutMessagesAndRoundsGiveTheSame) {
  if (session_thread() == nullptr) GTEST_SKIP() << "not under mpirun";
  const dist::TransferPolicy policy{.message_bytes = 52, .scratch_bytes = 700, .direct_bytes = 64};
  const auto group =
      dist::make_mpi_communicator(session_thread(), std::chrono::seconds(60), policy);
  const int size = world().size();
  const int rank = world().rank();
  for (const std::int64_t part : {1, 13, 997}) {
    std::vector<float> whole(part * size);
    for (std::size_t i = 0; i < whole.size(); ++i) whole[i] = std::sin(0.1F * (i + 31 * rank));
    std::vector<float> again = whole;
    const Tensor own = tensor_of(again).rows(rank * part, part);
    group->reduce_scatter(tensor_of(again), own);
    group->all_gather(own, tensor_of(again)).wait();
    world().all_reduce(tensor_of(whole), Reduction::sum).wait();
    ASSERT_EQ(again, whole);
    group->broadcast(tensor_of(again), size - 1).wait();
    ASSERT_EQ(again, whole);
    std::vector<float> passed(whole.size());
    group
        ->send_receive(tensor_of(again), (rank + 1) % size, tensor_of(passed),
                       (rank + size - 1) % size)
        .wait();
    ASSERT_EQ(passed, whole);
    group->all_to_all(tensor_of(again), tensor_of(passed)).wait();
    for (int r = 0; r < size; ++r) {
      ASSERT_TRUE(std::equal(passed.begin() + r * part, passed.begin() + (r + 1) * part,
                             whole.begin() + rank * part));
    }
  }
}

}  // namespace
}  // namespace gda
