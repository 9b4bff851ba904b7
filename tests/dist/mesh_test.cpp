#include "gda/dist/mesh.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "gda/core/error.h"
#include "support/stub_communicator.h"

namespace gda {
namespace {

// Remembers what it was asked to cut.
class Rank final : public test::StubCommunicator {
 public:
  using StubCommunicator::StubCommunicator;

  std::unique_ptr<Communicator> split(int colour, const std::string& name) override {
    cuts.emplace_back(name, colour);
    return make_self_communicator();
  }

  void set_rank_places(const std::vector<std::string>& all) override { places = all; }

  std::vector<std::pair<std::string, int>> cuts;
  std::vector<std::string> places{"from before"};
};

constexpr MeshShape kShape = {.pipeline = 2, .data = 3, .context = 4, .tensor = 5};

TEST(MeshTest, TensorIsInnermost) {
  int rank = 0;
  for (int p = 0; p < kShape.pipeline; ++p) {
    for (int d = 0; d < kShape.data; ++d) {
      for (int c = 0; c < kShape.context; ++c) {
        for (int t = 0; t < kShape.tensor; ++t) {
          Rank world(rank++, kShape.ranks());
          const Mesh mesh(world, kShape);
          EXPECT_EQ(std::make_tuple(mesh.coordinate(Axis::pipeline), mesh.coordinate(Axis::data),
                                    mesh.coordinate(Axis::context), mesh.coordinate(Axis::tensor)),
                    std::make_tuple(p, d, c, t));
        }
      }
    }
  }
}

// The lowest rank along the axis: 88 is (1, 1, 1, 3).
TEST(MeshTest, CutsByTheOtherCoordinates) {
  Rank world(88, kShape.ranks());
  const Mesh mesh(world, kShape);
  const std::vector<std::pair<std::string, int>> expected = {
      {"pipeline", 28}, {"data", 68}, {"context", 83}, {"tensor", 85}, {"replicas", 63}};
  EXPECT_EQ(world.cuts, expected);
}

TEST(MeshTest, AnAxisOfAllRanksIsTheWorld) {
  Rank world(2, 8);
  const Mesh mesh(world, {.data = 8});
  EXPECT_EQ(world.cuts.size(), 3U);
  EXPECT_EQ(mesh.group(Axis::data).rank(), 2);
  EXPECT_EQ(mesh.group(Axis::data).size(), 8);
  EXPECT_EQ(mesh.coordinate(Axis::data), 2);
  EXPECT_EQ(mesh.group(Axis::tensor).size(), 1);
  EXPECT_EQ(mesh.size(Axis::tensor), 1);
}

TEST(MeshTest, ReplicasAreAnotherGroupWhereTheyCanBe) {
  Rank world(2, 8);
  const Mesh data(world, {.data = 4, .tensor = 2});
  EXPECT_EQ(&data.replicas(), &data.group(Axis::data));
  const Mesh context(world, {.pipeline = 2, .context = 4});
  EXPECT_NE(&context.replicas(), &context.group(Axis::context));
  EXPECT_EQ(context.replicas().size(), context.group(Axis::context).size());
  world.cuts.clear();
  const Mesh all(world, {.data = 2, .context = 4});
  EXPECT_EQ(world.cuts.size(), 4U);
  EXPECT_EQ(all.replicas().size(), 8);
}

TEST(MeshTest, SaysWhereRanksAre) {
  Rank world(83, kShape.ranks());
  const Mesh mesh(world, kShape);
  ASSERT_EQ(world.places.size(), 120U);
  EXPECT_EQ(world.places[83], "pipeline 1, data 1, context 0, tensor 3");
}

TEST(MeshTest, AlongOneAxisNumbersSayIt) {
  Rank world(2, 8);
  const Mesh mesh(world, {.tensor = 8});
  EXPECT_TRUE(world.places.empty());
}

// Groups of several ranks, here by a world that gives each a group of one.
TEST(MeshTest, CountsByAxis) {
  Rank world(0, 4);
  const Mesh mesh(world, {.data = 2, .tensor = 2});
  std::vector<float> memory(100);
  const Tensor tensor(memory.data(), DType::f32, {100});
  mesh.group(Axis::pipeline).all_reduce(tensor, Reduction::sum).wait();
  EXPECT_EQ(mesh.traffic(Axis::pipeline).bytes_sent, 0);
  mesh.group(Axis::data).send_receive(tensor.rows(0, 50), 0, tensor.rows(50, 50), 0).wait();
  EXPECT_EQ(mesh.traffic(Axis::tensor).seconds_waited, 0);
  EXPECT_GT(mesh.traffic(Axis::data).seconds_waited, 0);
  EXPECT_EQ(mesh.replica_traffic().seconds_waited, mesh.traffic(Axis::data).seconds_waited);
}

std::string refusal(int ranks, const MeshShape& shape) {
  Rank world(0, ranks);
  try {
    const Mesh mesh(world, shape);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(MeshTest, ShapesThatDoNotFitAreRefused) {
  EXPECT_EQ(refusal(8, {.data = 2, .tensor = 3}),
            "8 ranks cannot be laid out as pipeline 1 x data 2 x context 1 x tensor 3: start 6, or "
            "change the parallel section");
  EXPECT_EQ(refusal(8, {.data = 0}), "the mesh has 0 places along the data axis");
}

}  // namespace
}  // namespace gda
