// Collectives on tensors of a GPU (or the emulated one), on however many ranks mpirun started: by
// NCCL where the build has it, and through the host's memory.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/dist/device_communicator.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::world;

constexpr std::int64_t kPart = 1009;

class DeviceCommunicatorTest : public ::testing::TestWithParam<DeviceBackend> {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device is there";
    if (GetParam() == DeviceBackend::nccl && !nccl_is_available()) {
      GTEST_SKIP() << "this build has no NCCL";
    }
    device_ = choose_device(
        {.wanted = WantedDevice::cuda, .setting = "device: cuda", .may_share = true}, world());
    stream_ = OwnedStream(device_);
    group_ = make_device_communicator(world(), stream_.get(), {.backend = GetParam()});
  }

  // Of this rank: element i is i % 97 + 100 (rank + 1).
  OwnedTensor numbers(std::int64_t n) const {
    OwnedTensor tensor(DType::f32, {n}, device_);
    fill_from_host(stream_.get(), tensor.tensor, [&](const Tensor& host) {
      for (std::int64_t i = 0; i < n; ++i) host.data<float>()[i] = value(world().rank(), i);
    });
    return tensor;
  }
  static float value(int rank, std::int64_t i) {
    return static_cast<float>(i % 97) + 100 * static_cast<float>(rank + 1);
  }
  static float sum(std::int64_t i) {
    float total = 0;
    for (int rank = 0; rank < world().size(); ++rank) total += value(rank, i);
    return total;
  }
  void expect(const Tensor& tensor, const std::function<float(std::int64_t)>& expected) const {
    const HostCopy host(stream_.get(), tensor);
    for (std::int64_t i = 0; i < tensor.elements(); ++i) ASSERT_EQ(host[i], expected(i)) << i;
  }

  Device device_;
  OwnedStream stream_;
  std::unique_ptr<Communicator> group_;
};

TEST_P(DeviceCommunicatorTest, IsTheGroupOfTheHost) {
  EXPECT_EQ(group_->rank(), world().rank());
  EXPECT_EQ(group_->size(), world().size());
  EXPECT_EQ(group_->all_reduce(std::int64_t{1}, Reduction::sum), world().size());
  EXPECT_EQ(group_->broadcast("text of " + std::to_string(world().rank()), 0), "text of 0");
}

TEST_P(DeviceCommunicatorTest, AllReduce) {
  for (const Reduction reduction : {Reduction::sum, Reduction::min, Reduction::max}) {
    const OwnedTensor data = numbers(kPart);
    group_->all_reduce(data.tensor, reduction).wait();
    expect(data.tensor, [&](std::int64_t i) {
      if (reduction == Reduction::sum) return sum(i);
      return value(reduction == Reduction::min ? 0 : world().size() - 1, i);
    });
  }
}

TEST_P(DeviceCommunicatorTest, ReduceScatterAndAllGatherInPlace) {
  const std::int64_t n = kPart * world().size();
  const OwnedTensor data = numbers(n);
  const Tensor part = data.tensor.rows(kPart * world().rank(), kPart);
  group_->reduce_scatter(data.tensor, part).wait();
  expect(part, [&](std::int64_t i) { return sum(kPart * world().rank() + i); });
  group_->all_gather(part, data.tensor).wait();
  expect(data.tensor, [&](std::int64_t i) { return sum(i); });
}

TEST_P(DeviceCommunicatorTest, ReduceScatterAndAllGatherApart) {
  const std::int64_t n = kPart * world().size();
  const OwnedTensor data = numbers(n);
  const OwnedTensor part(DType::f32, {kPart}, device_);
  const OwnedTensor whole(DType::f32, {n}, device_);
  const Pending reduced = group_->reduce_scatter(data.tensor, part.tensor);
  reduced.wait();
  reduced.wait();  // may be called again
  group_->all_gather(part.tensor, whole.tensor).wait();
  expect(whole.tensor, [&](std::int64_t i) { return sum(i); });
}

TEST_P(DeviceCommunicatorTest, Broadcast) {
  const int root = world().size() - 1;
  const OwnedTensor data = numbers(kPart);
  group_->broadcast(data.tensor, root).wait();
  expect(data.tensor, [&](std::int64_t i) { return value(root, i); });
}

TEST_P(DeviceCommunicatorTest, AllToAll) {
  const int size = world().size();
  const OwnedTensor from = numbers(kPart * size);
  const OwnedTensor to(DType::f32, {kPart * size}, device_);
  group_->all_to_all(from.tensor, to.tensor).wait();
  expect(to.tensor, [&](std::int64_t i) {
    return value(static_cast<int>(i / kPart), kPart * world().rank() + i % kPart);
  });
}

TEST_P(DeviceCommunicatorTest, MessagesAroundARingAndBetweenTwo) {
  const int size = world().size();
  const int rank = world().rank();
  const int before = (rank + size - 1) % size;
  const OwnedTensor sent = numbers(kPart);
  const OwnedTensor received(DType::f32, {kPart}, device_);
  group_->send_receive(sent.tensor, (rank + 1) % size, received.tensor, before).wait();
  expect(received.tensor, [&](std::int64_t i) { return value(before, i); });
  if (size == 1) return;
  // Sent on by the first to the last alone.
  if (rank == 0) group_->send(received.tensor, size - 1).wait();
  if (rank == size - 1) {
    group_->receive(sent.tensor, 0).wait();
    expect(sent.tensor, [&](std::int64_t i) { return value(size - 1, i); });
  }
  group_->send_receive({}, kNobody, {}, kNobody).wait();
}

TEST_P(DeviceCommunicatorTest, GroupsOfSomeRanks) {
  const int parity = world().rank() % 2;
  const auto group = group_->split(parity, "parity");
  EXPECT_EQ(group->rank(), world().rank() / 2);
  EXPECT_EQ(group->world_rank(0), parity);
  const OwnedTensor data = numbers(kPart);
  const OwnedTensor whole = numbers(kPart);
  const Pending part_reduced = group->all_reduce(data.tensor, Reduction::sum);
  const Pending all_reduced = group_->all_reduce(whole.tensor, Reduction::sum);
  part_reduced.wait();
  all_reduced.wait();
  expect(data.tensor, [&](std::int64_t i) {
    float total = 0;
    for (int rank = parity; rank < world().size(); rank += 2) total += value(rank, i);
    return total;
  });
  expect(whole.tensor, sum);
}

// The ranks of a pair go on beside an operation of all that the others do not come to before the
// pair is done.
TEST_P(DeviceCommunicatorTest, OneGroupDoesNotWaitForAnother) {
  if (GetParam() != DeviceBackend::nccl || world().size() < 3) {
    GTEST_SKIP() << "for groups on devices, of three ranks or more";
  }
  const bool is_of_pair = world().rank() < 2;
  const auto pair = group_->split(is_of_pair ? 0 : 1, "pair");
  const OwnedTensor whole = numbers(kPart);
  const OwnedTensor data = numbers(kPart);
  // NCCL connects ranks at their first operation, and waits for all of them there.
  group_->all_reduce(whole.tensor, Reduction::max).wait();
  pair->all_reduce(data.tensor, Reduction::max).wait();
  synchronize(stream_.get());
  if (!is_of_pair) world().barrier();
  const Pending all = group_->all_reduce(whole.tensor, Reduction::sum);
  if (is_of_pair) {
    pair->all_reduce(data.tensor, Reduction::sum).wait();
    expect(data.tensor, [&](std::int64_t i) { return 2 * value(1, i); });
    world().barrier();
  }
  all.wait();
  const auto size = static_cast<float>(world().size());
  expect(whole.tensor, [&](std::int64_t i) { return size * value(world().size() - 1, i); });
}

// Several are under way while the device computes, and each sees the work before it.
TEST_P(DeviceCommunicatorTest, OperationsKeepTheOrderOfTheStream) {
  const OwnedTensor first = numbers(kPart);
  const OwnedTensor second(DType::f32, {kPart}, device_);
  std::vector<Pending> pending;
  pending.push_back(group_->all_reduce(first.tensor, Reduction::sum));
  pending.back().wait();
  copy(stream_.get(), first.tensor, second.tensor);
  pending.push_back(group_->all_reduce(second.tensor, Reduction::max));
  pending.push_back(group_->all_reduce(first.tensor, Reduction::max));
  for (const Pending& operation : pending) operation.wait();
  expect(second.tensor, sum);
  expect(first.tensor, sum);
}

// The watchdog asks for those that are done, while others are called.
TEST_P(DeviceCommunicatorTest, ManyOperationsAreCalledAndWatched) {
  const OwnedTensor data = numbers(kPart);
  for (int i = 0; i < 50; ++i) {
    group_->broadcast(data.tensor, i % world().size()).wait();
    synchronize(stream_.get());
  }
  expect(data.tensor, [&](std::int64_t i) { return value(0, i); });
}

TEST_P(DeviceCommunicatorTest, RefusesWhatDoesNotFit) {
  const OwnedTensor data = numbers(kPart * world().size() + 1);
  EXPECT_THROW(group_->reduce_scatter(data.tensor, data.tensor.rows(0, kPart)), DistError);
  EXPECT_THROW(group_->broadcast(data.tensor, world().size()), DistError);
  EXPECT_THROW(group_->all_to_all(data.tensor, data.tensor), DistError);
  EXPECT_THROW(group_->send(data.tensor, world().size()), DistError);
  EXPECT_THROW(group_->split(-1, "none"), DistError);
  // The host's group says so itself.
  EXPECT_THROW(world().all_reduce(data.tensor, Reduction::sum), DistError);
}

INSTANTIATE_TEST_SUITE_P(Backends, DeviceCommunicatorTest,
                         ::testing::Values(DeviceBackend::mpi, DeviceBackend::nccl),
                         [](const auto& test) { return std::string(word_of(test.param)); });

// As many ranks as the test has share the one device that a test can count on.
TEST(ChooseDevice, RanksDoNotShareUnasked) {
  if (cuda_device_count() != 1) GTEST_SKIP() << "no CUDA device is there, or there are several";
  EXPECT_EQ(choose_device({.wanted = WantedDevice::cpu, .setting = "device: cpu"}, world()),
            Device{});
  const DeviceRequest request{.wanted = WantedDevice::automatic, .setting = "device: auto"};
  const Device cuda{DeviceType::cuda, 0};
  if (world().size() == 1) {
    EXPECT_EQ(choose_device(request, world()), cuda);
    return;
  }
  try {
    choose_device(request, world());
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "device: auto: ranks 0 and 1 would use the same GPU: start one rank for each GPU "
                 "of a host, here at most 1");
  }
  EXPECT_EQ(
      choose_device({.wanted = WantedDevice::cuda, .setting = "", .may_share = true}, world()),
      cuda);
}

}  // namespace
}  // namespace gda
