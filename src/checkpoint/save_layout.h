// Layout of a save over ranks: the parts that each has, known to every rank, and validated.
#pragma once

#include <cstddef>
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
  bool has_pieces = false;  // a rank has optimizer state
  bool has_boxes = false;   // some of it is of a part of a tensor
  // Of each parameter, ordered by region and then by rank; empty if every rank has the whole of
  // every parameter.
  std::vector<std::vector<HeldBox>> holders;

  // The boxes that make up a parameter, each once, and who gives it to `writer`: that rank itself
  // where it has it, else the lowest that does.
  std::vector<HeldBox> givers(std::size_t parameter, int writer) const;
};

// Throws FormatError, the same on every rank, where the ranks' lists of parameters differ, and
// where elements of a parameter or of one of its states are held by nobody or twice (copies of a
// parameter's box, which data-parallel ranks have, count once), with the tensor, the state, the box
// and the ranks. `contents` are valid for themselves. Collective.
SaveLayout agree_on_layout(Communicator& group, const CheckpointContents& contents);

}  // namespace gda::checkpoint_internal
