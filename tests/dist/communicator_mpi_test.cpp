// Each collective on however many ranks mpirun started.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "dist/numbers.h"
#include "gda/core/error.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::number;
using test::tensor_of;
using test::value;
using test::values;
using test::world;

// Sizes around the cuts: none, fewer than ranks, primes, beyond the direct path, several rounds.
const std::vector<std::int64_t> kSizes = {0, 1, 2, 3, 5, 127, 1009, 4096, 4099, 100003};

template <class T>
void check_all_reduce(std::int64_t n) {
  for (const Reduction reduction : {Reduction::sum, Reduction::min, Reduction::max}) {
    std::vector<T> data = values<T>(world().rank(), n);
    world().all_reduce(tensor_of(data), reduction).wait();
    for (std::int64_t i = 0; i < n; ++i) {
      float expected = number<T>(0, i);
      for (int r = 1; r < world().size(); ++r) {
        const float term = number<T>(r, i);
        expected = reduction == Reduction::sum   ? expected + term
                   : reduction == Reduction::min ? std::min(expected, term)
                                                 : std::max(expected, term);
      }
      ASSERT_EQ(static_cast<float>(data[i]), expected) << "element " << i << " of " << n;
    }
  }
}

TEST(MpiCommunicatorTest, AllReduce) {
  for (const std::int64_t n : kSizes) {
    check_all_reduce<float>(n);
    check_all_reduce<double>(n);
    check_all_reduce<bfloat16>(n);
    check_all_reduce<std::int32_t>(n);
  }
}

template <class T>
void check_reduce_scatter(std::int64_t part, bool in_place) {
  const int rank = world().rank();
  std::vector<T> from = values<T>(rank, part * world().size());
  std::vector<T> apart(static_cast<std::size_t>(part));
  const Tensor whole = tensor_of(from);
  const Tensor to = in_place ? whole.rows(rank * part, part) : tensor_of(apart);
  world().reduce_scatter(whole, to).wait();
  for (std::int64_t i = 0; i < part; ++i) {
    float expected = 0;
    for (int r = 0; r < world().size(); ++r) expected += number<T>(r, rank * part + i);
    ASSERT_EQ(static_cast<float>(to.template data<T>()[i]), expected)
        << "element " << i << " of " << part;
  }
}

TEST(MpiCommunicatorTest, ReduceScatter) {
  for (const std::int64_t part : kSizes) {
    for (const bool in_place : {false, true}) {
      check_reduce_scatter<float>(part, in_place);
      check_reduce_scatter<double>(part, in_place);
      check_reduce_scatter<bfloat16>(part, in_place);
      check_reduce_scatter<std::int32_t>(part, in_place);
    }
  }
}

template <class T>
void check_all_gather(std::int64_t part, bool in_place) {
  const int rank = world().rank();
  std::vector<T> own = values<T>(rank, part);
  std::vector<T> to(static_cast<std::size_t>(part * world().size()));
  const Tensor whole = tensor_of(to);
  if (in_place) std::copy(own.begin(), own.end(), to.begin() + rank * part);
  world().all_gather(in_place ? whole.rows(rank * part, part) : tensor_of(own), whole).wait();
  for (int r = 0; r < world().size(); ++r) {
    const std::vector<T> expected = values<T>(r, part);
    ASSERT_TRUE(part == 0 || std::memcmp(&to[r * part], expected.data(), part * sizeof(T)) == 0)
        << "part of rank " << r << " of " << part << " elements";
  }
}

TEST(MpiCommunicatorTest, AllGather) {
  for (const std::int64_t part : kSizes) {
    for (const bool in_place : {false, true}) {
      check_all_gather<float>(part, in_place);
      check_all_gather<double>(part, in_place);
      check_all_gather<bfloat16>(part, in_place);
      check_all_gather<std::int32_t>(part, in_place);
    }
  }
}

template <class T>
void check_broadcast(std::int64_t n) {
  for (int root = 0; root < world().size(); ++root) {
    std::vector<T> data = values<T>(world().rank(), n);
    world().broadcast(tensor_of(data), root).wait();
    const std::vector<T> expected = values<T>(root, n);
    ASSERT_TRUE(n == 0 || std::memcmp(data.data(), expected.data(), n * sizeof(T)) == 0)
        << n << " elements from " << root;
  }
}

TEST(MpiCommunicatorTest, Broadcast) {
  for (const std::int64_t n : kSizes) {
    check_broadcast<float>(n);
    check_broadcast<double>(n);
    check_broadcast<bfloat16>(n);
    check_broadcast<std::int32_t>(n);
  }
}

TEST(MpiCommunicatorTest, ScalarsAndText) {
  const int rank = world().rank();
  const int size = world().size();
  const std::int64_t large = std::int64_t{1} << 60;
  EXPECT_EQ(world().all_reduce(std::int64_t{rank}, Reduction::sum), size * (size - 1) / 2);
  EXPECT_EQ(world().all_reduce(large + rank, Reduction::max), large + size - 1);
  EXPECT_EQ(world().all_reduce(large + rank, Reduction::min), large);
  EXPECT_EQ(world().all_reduce(0.5 * rank, Reduction::max), 0.5 * (size - 1));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(world().all_reduce(rank == size - 1 ? nan : 1.0, Reduction::min)));
  EXPECT_TRUE(world().any(rank == size - 1));
  EXPECT_FALSE(world().any(false));
  for (const std::string& text : {std::string(), std::string("a"), std::string(1001, 'x')}) {
    EXPECT_EQ(world().broadcast(rank == size - 1 ? text : "other", size - 1), text);
  }
  world().barrier();
}

// Sums in rank order, rounded once: the reference is exact arithmetic in f64 by the same rule, so
// every bit must agree, on every rank and in both paths (direct, and in parts).
TEST(MpiCommunicatorTest, SumsAreTheSameBitsEverywhere) {
  const int size = world().size();
  for (const std::int64_t n : {1000, 50021}) {
    const auto term = [](int rank, std::int64_t i) {
      return std::sin(static_cast<float>(i * 31 + rank * 17)) * std::pow(2.0F, i % 40 - 20);
    };
    std::vector<float> data(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) data[i] = term(world().rank(), i);
    world().all_reduce(tensor_of(data), Reduction::sum).wait();
    for (std::int64_t i = 0; i < n; ++i) {
      double expected = term(0, i);
      for (int r = 1; r < size; ++r) expected += term(r, i);
      ASSERT_EQ(data[i], static_cast<float>(expected)) << "element " << i << " of " << n;
    }
  }
}

TEST(MpiCommunicatorTest, RowsOfAMatrixAndCudaTensors) {
  std::vector<float> data(6, 1.0F);
  world().all_reduce(Tensor(data.data(), DType::f32, {2, 3}), Reduction::sum).wait();
  EXPECT_EQ(data, std::vector<float>(6, static_cast<float>(world().size())));
  try {
    world().all_reduce(Tensor(data.data(), DType::f32, {6}, Device{DeviceType::cuda, 0}),
                       Reduction::sum);
    FAIL() << "no error";
  } catch (const DistError& error) {
    EXPECT_STREQ(
        error.what(),
        "[all_reduce] fp32[6] is on cuda:0: this group of processes moves CPU memory only");
  }
}

}  // namespace
}  // namespace gda
