// For tests that run under mpirun.
#pragma once

#include "gda/dist/communicator.h"

namespace gda::test {

// The group of all ranks of this run. Every rank runs every test, in the same order.
Communicator& world();

}  // namespace gda::test
