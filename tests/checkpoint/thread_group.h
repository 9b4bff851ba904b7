// A group whose ranks are threads of this process.
#pragma once

#include <functional>

#include "gda/dist/communicator.h"

namespace gda::test {

// Runs f on `size` threads, each with its own rank, and waits for all. An exception that leaves f
// fails the test.
void run_ranks(int size, const std::function<void(Communicator&)>& f);

}  // namespace gda::test
