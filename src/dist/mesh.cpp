#include "gda/dist/mesh.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "dist/counting_communicator.h"
#include "dist/forwarding_communicator.h"
#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {
namespace {

constexpr std::array<Axis, kAxes> kOrder = {Axis::pipeline, Axis::data, Axis::context,
                                            Axis::tensor};

// The distance in rank between neighbours along an axis.
int stride(const MeshShape& shape, Axis axis) {
  int ranks = 1;
  for (int inner = static_cast<int>(axis) + 1; inner < kAxes; ++inner) {
    ranks *= shape.size(static_cast<Axis>(inner));
  }
  return ranks;
}

int coordinate_of(int rank, const MeshShape& shape, Axis axis) {
  return rank / stride(shape, axis) % shape.size(axis);
}

// Of every rank, for errors. Along a single axis the number says it all.
std::vector<std::string> places(const MeshShape& shape) {
  const auto is_long = [&](Axis axis) { return shape.size(axis) > 1; };
  if (std::count_if(kOrder.begin(), kOrder.end(), is_long) < 2) return {};
  std::vector<std::string> all;
  for (int rank = 0; rank < shape.ranks(); ++rank) {
    std::vector<std::string> place;
    place.reserve(kOrder.size());
    for (const Axis axis : kOrder) {
      place.push_back(fmt::format("{} {}", name_of(axis), coordinate_of(rank, shape, axis)));
    }
    all.push_back(fmt::format("{}", fmt::join(place, ", ")));
  }
  return all;
}

}  // namespace

const char* name_of(Axis axis) {
  switch (axis) {
    case Axis::pipeline:
      return "pipeline";
    case Axis::data:
      return "data";
    case Axis::context:
      return "context";
    case Axis::tensor:
      return "tensor";
  }
  return "";
}

int MeshShape::size(Axis axis) const {
  switch (axis) {
    case Axis::pipeline:
      return pipeline;
    case Axis::data:
      return data;
    case Axis::context:
      return context;
    case Axis::tensor:
      return tensor;
  }
  return 0;
}

Mesh::Mesh(Communicator& world, const MeshShape& shape) : shape_(shape), rank_(world.rank()) {
  for (const Axis axis : kOrder) {
    require<ConfigError>(shape.size(axis) > 0, "the mesh has {} places along the {} axis",
                         shape.size(axis), name_of(axis));
  }
  require<ConfigError>(shape.ranks() == world.size(),
                       "{} cannot be laid out as pipeline {} x data {} x context {} x tensor "
                       "{}: start {}, or change the parallel section",
                       counted(world.size(), "rank"), shape.pipeline, shape.data, shape.context,
                       shape.tensor, shape.ranks());
  for (const Axis axis : kOrder) {
    groups_[static_cast<std::size_t>(axis)] = cut(world, {axis}, name_of(axis));
  }
  replicas_ = shape.context > 1 ? cut(world, {Axis::data, Axis::context}, "replicas")
                                : groups_[static_cast<std::size_t>(Axis::data)];
  world.set_rank_places(places(shape));
}

Mesh::Group Mesh::cut(Communicator& world, std::initializer_list<Axis> axes,
                      const char* name) const {
  int ranks = 1;
  int first = rank_;  // the one with coordinates 0 stands for all
  for (const Axis axis : axes) {
    ranks *= size(axis);
    first -= coordinate(axis) * stride(shape_, axis);
  }
  std::shared_ptr<Communicator> group =
      ranks == world.size() ? dist::kept_elsewhere(world) : world.split(first, name);
  if (ranks == 1) return {std::move(group), nullptr};
  auto counter = std::make_shared<dist::TrafficCounter>();
  return {dist::make_counting_communicator(std::move(group), counter), counter};
}

Traffic Mesh::traffic(Axis axis) const {
  const auto& counter = groups_[static_cast<std::size_t>(axis)].counter;
  return counter ? counter->total() : Traffic{};
}

Traffic Mesh::replica_traffic() const {
  return replicas_.counter ? replicas_.counter->total() : Traffic{};
}

int Mesh::coordinate(Axis axis) const {
  return coordinate_of(rank_, shape_, axis);
}

}  // namespace gda
