// Groups of some of the ranks, on however many ranks mpirun started.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "dist/numbers.h"
#include "gda/dist/mesh.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::tensor_of;
using test::world;

// The world ranks of a group, as its own operations collect them.
std::vector<int> members(Communicator& group) {
  std::vector<std::int32_t> own{world().rank()};
  std::vector<std::int32_t> all(static_cast<std::size_t>(group.size()));
  group.all_gather(tensor_of(own), tensor_of(all)).wait();
  return {all.begin(), all.end()};
}

TEST(GroupsTest, RanksOfOneColourKeepTheirOrder) {
  const int parity = world().rank() % 2;
  const auto group = world().split(parity, "parity");
  std::vector<int> expected;
  for (int rank = parity; rank < world().size(); rank += 2) expected.push_back(rank);
  EXPECT_EQ(members(*group), expected);
  EXPECT_EQ(group->size(), static_cast<int>(expected.size()));
  EXPECT_EQ(group->rank(), world().rank() / 2);
  for (int rank = 0; rank < group->size(); ++rank) {
    EXPECT_EQ(group->world_rank(rank), expected[static_cast<std::size_t>(rank)]);
  }
}

TEST(GroupsTest, OfOneRankAndOfAll) {
  const auto alone = world().split(world().rank(), "alone");
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(alone->all_reduce(2.5, Reduction::sum), 2.5);
  const auto all = world().split(0, "all");
  EXPECT_EQ(all->rank(), world().rank());
  EXPECT_EQ(all->size(), world().size());
  EXPECT_EQ(all->all_reduce(std::int64_t{1}, Reduction::sum), world().size());
}

TEST(GroupsTest, AreCutFromGroups) {
  const auto half = world().split(world().rank() / 2, "half");
  const auto single = half->split(half->rank(), "single");
  EXPECT_EQ(members(*single), std::vector<int>{world().rank()});
}

// A group does nothing for the numbers of another: halves that have done different amounts of work
// meet in the world's operations.
TEST(GroupsTest, OperationsOfSeveralGroupsUnderWay) {
  const int half_number = world().rank() / 2;
  const auto half = world().split(half_number, "half");
  std::vector<float> own(4001, 1.0F);
  std::vector<float> whole(4001, 1.0F);
  std::vector<Pending> pending;
  for (int k = 0; k <= half_number; ++k) {
    pending.push_back(half->all_reduce(tensor_of(own), Reduction::sum));
  }
  pending.push_back(world().all_reduce(tensor_of(whole), Reduction::sum));
  pending.push_back(half->broadcast(tensor_of(whole), 0));
  for (const Pending& operation : pending) operation.wait();
  const auto size = static_cast<float>(half->size());
  EXPECT_EQ(own, std::vector<float>(4001, half_number == 0 ? size : size * size));
  EXPECT_EQ(whole, std::vector<float>(4001, static_cast<float>(world().size())));
}

// Every way to lay out the ranks: along each axis lie those that differ in that coordinate alone.
TEST(GroupsTest, AxesOfAMesh) {
  const int ranks = world().size();
  for (int pipeline = 1; pipeline <= ranks; ++pipeline) {
    for (int data = 1; pipeline * data <= ranks; ++data) {
      if (ranks % (pipeline * data) != 0) continue;
      const int tensor = ranks / (pipeline * data);
      const Mesh mesh(world(), {.pipeline = pipeline, .data = data, .tensor = tensor});
      const int p = mesh.coordinate(Axis::pipeline);
      const int d = mesh.coordinate(Axis::data);
      const int t = mesh.coordinate(Axis::tensor);
      EXPECT_EQ((p * data + d) * tensor + t, world().rank());
      EXPECT_EQ(mesh.coordinate(Axis::context), 0);
      std::vector<int> along_data;
      for (int i = 0; i < data; ++i) along_data.push_back((p * data + i) * tensor + t);
      EXPECT_EQ(members(mesh.group(Axis::data)), along_data);
      EXPECT_EQ(mesh.group(Axis::data).rank(), d);
      std::vector<int> along_tensor;
      for (int i = 0; i < tensor; ++i) along_tensor.push_back((p * data + d) * tensor + i);
      EXPECT_EQ(members(mesh.group(Axis::tensor)), along_tensor);
      EXPECT_EQ(mesh.group(Axis::pipeline).size(), pipeline);
      EXPECT_EQ(mesh.group(Axis::pipeline).rank(), p);
      EXPECT_EQ(members(mesh.group(Axis::context)), std::vector<int>{world().rank()});
    }
  }
}

TEST(GroupsTest, MeshCountsWhatGoesAlongAnAxis) {
  const int ranks = world().size();
  const int along_data = ranks % 2 == 0 ? 2 : 1;
  const Mesh mesh(world(), {.data = along_data, .tensor = ranks / along_data});
  std::vector<double> data(1000, 1.0);
  mesh.group(Axis::data).all_reduce(tensor_of(data), Reduction::sum).wait();
  mesh.group(Axis::tensor).broadcast(tensor_of(data), 0).wait();
  const double others = (mesh.size(Axis::tensor) - 1.0) / mesh.size(Axis::tensor);
  EXPECT_EQ(mesh.traffic(Axis::data).bytes_sent, along_data == 2 ? 8000.0 : 0.0);
  EXPECT_DOUBLE_EQ(mesh.traffic(Axis::tensor).bytes_sent, 8000.0 * others);
  EXPECT_EQ(mesh.traffic(Axis::pipeline).bytes_sent, 0);
  EXPECT_EQ(mesh.replica_traffic().bytes_sent, mesh.traffic(Axis::data).bytes_sent);
}

// In the order of (data, context), with pipeline or tensor ranks in between.
TEST(GroupsTest, ReplicasOfAMesh) {
  const int ranks = world().size();
  for (const MeshShape& shape :
       {MeshShape{.data = ranks}, MeshShape{.context = ranks}, MeshShape{.tensor = ranks},
        MeshShape{.data = 2, .context = 2}, MeshShape{.pipeline = 2, .data = 2},
        MeshShape{.context = 2, .tensor = 2}, MeshShape{.data = 2, .context = 2, .tensor = 2},
        MeshShape{.pipeline = 2, .data = 2, .context = 2}}) {
    if (shape.ranks() != ranks) continue;
    const Mesh mesh(world(), shape);
    std::vector<int> expected;
    for (int rank = 0; rank < ranks; ++rank) {
      const bool same_stage = rank / (ranks / shape.pipeline) == mesh.coordinate(Axis::pipeline);
      if (same_stage && rank % shape.tensor == mesh.coordinate(Axis::tensor)) {
        expected.push_back(rank);
      }
    }
    EXPECT_EQ(members(mesh.replicas()), expected);
    EXPECT_EQ(mesh.replicas().rank(),
              mesh.coordinate(Axis::data) * shape.context + mesh.coordinate(Axis::context));
  }
}

}  // namespace
}  // namespace gda
