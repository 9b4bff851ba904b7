// Layout of a save over ranks: the parts that each has, known to every rank, and validated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gda/checkpoint/checkpoint_writer.h"
#include "gda/dist/communicator.h"

namespace gda::checkpoint_internal {

// A box of a parameter, and a rank that has it.
struct HeldBox {
  Region region;
  int rank = 0;
};

struct SaveLayout {
  bool has_boxes = false;    // some optimizer state is of a part of a tensor
  std::vector<int> owners;   // the ranks that have any, ascending
  std::vector<int> writers;  // of model files, who take turns: every rank
  // Of each parameter, ordered by region and then by rank; empty if every rank has the whole of
  // every parameter.
  std::vector<std::vector<HeldBox>> holders;

  int writer_of(std::size_t file) const { return writers[file % writers.size()]; }
  // The boxes that make up a parameter, each once, and who gives it to `writer`: that rank itself
  // where it has it, else the lowest that does.
  std::vector<HeldBox> givers(std::size_t parameter, int writer) const;
};

// The ranks in an order in which neighbours are on different hosts: the first of each host, then
// the second of each, ... `ranks_on_hosts`: of each rank, its number among those of its host.
std::vector<int> one_of_each_host_first(const std::vector<std::int64_t>& ranks_on_hosts);

// Throws FormatError, the same on every rank, where the ranks' lists of parameters differ, and
// where elements of a parameter or of one of its states are held by nobody or twice (copies of a
// parameter's box, which data-parallel ranks have, count once), with the tensor, the state, the box
// and the ranks. `contents` are valid for themselves. Collective.
SaveLayout agree_on_layout(Communicator& group, const CheckpointContents& contents,
                           int rank_on_host);

}  // namespace gda::checkpoint_internal
