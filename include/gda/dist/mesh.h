// The ranks of a run as a grid, with a group of processes along each of its axes.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>

#include "gda/dist/communicator.h"

namespace gda {

namespace dist {
class TrafficCounter;
}

// From the outermost to the innermost: neighbours in rank, which a launcher puts on one host, are
// neighbours along the axis that sends most.
enum class Axis {
  pipeline,  // layers are cut
  data,      // samples are cut
  context,   // tokens of a sample are cut
  tensor,    // matrices are cut
};

constexpr int kAxes = 4;

const char* name_of(Axis axis);

struct MeshShape {
  int pipeline = 1;
  int data = 1;
  int context = 1;
  int tensor = 1;

  int size(Axis axis) const;
  int ranks() const { return pipeline * data * context * tensor; }
};

// What this rank has sent to the others of a group, as a ring would: of n bytes between s ranks
// n (s - 1) / s for a collective (of the longer tensor), twice that for an all-reduce, and n for a
// message. And how long the host waited in Pending::wait: on a GPU for nothing.
struct Traffic {
  double bytes_sent = 0;
  double seconds_waited = 0;
};

// Rank ((p * data + d) * context + c) * tensor + t is at (p, d, c, t). Where several axes have more
// than one place, errors of all groups tell the ranks' coordinates.
class Mesh {
 public:
  // Groups are cut from `world`, which outlives the mesh. Collective. Throws ConfigError unless the
  // shape has a place for each rank and each rank has one.
  Mesh(Communicator& world, const MeshShape& shape);

  int size(Axis axis) const { return shape_.size(axis); }
  // Of this rank.
  int coordinate(Axis axis) const;
  // The ranks whose coordinates are those of this one but along `axis`, in the order of that
  // coordinate, which is their rank in the group.
  Communicator& group(Axis axis) const { return *groups_[static_cast<std::size_t>(axis)].group; }
  // The ranks that share this one's pipeline and tensor coordinates, and so hold the same
  // parameters, ordered by (data, context). Named "replicas"; along one context place it is the
  // data group, else one of its own, whose sums do not hold up what attention exchanges.
  Communicator& replicas() const { return *replicas_.group; }

  // Since the mesh was made, of operations of group(axis) or replicas(); nothing in a group of one.
  Traffic traffic(Axis axis) const;
  Traffic replica_traffic() const;

 private:
  struct Group {
    std::shared_ptr<Communicator> group;
    std::shared_ptr<dist::TrafficCounter> counter;  // null in a group of one
  };

  // The ranks that differ from this one in the coordinates along the axes at most. It is the world
  // itself where that is all.
  Group cut(Communicator& world, std::initializer_list<Axis> axes, const char* name) const;

  MeshShape shape_;
  int rank_;
  std::array<Group, kAxes> groups_;
  Group replicas_;
};

}  // namespace gda
