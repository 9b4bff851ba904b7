#include "gda/dist/mesh.h"

#include <utility>

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
  const bool one_axis = shape.data == 1 || shape.context == 1;
  const Axis axis = shape.context == 1 ? Axis::data : Axis::context;
  replicas_ =
      one_axis ? Group{nullptr, &group(axis)} : cut(world, {Axis::data, Axis::context}, "replicas");
}

Mesh::Group Mesh::cut(Communicator& world, std::initializer_list<Axis> axes,
                      const char* name) const {
  int ranks = 1;
  int first = rank_;  // the one with coordinates 0 stands for all
  for (const Axis axis : axes) {
    ranks *= size(axis);
    first -= coordinate(axis) * stride(shape_, axis);
  }
  if (ranks == world.size()) return {nullptr, &world};
  std::unique_ptr<Communicator> own = world.split(first, name);
  Communicator* group = own.get();
  return {std::move(own), group};
}

int Mesh::coordinate(Axis axis) const {
  return rank_ / stride(shape_, axis) % shape_.size(axis);
}

}  // namespace gda
