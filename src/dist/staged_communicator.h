// Groups whose operations on tensors of a device go through the host's memory.
#pragma once

#include <memory>

#include "gda/core/stream.h"
#include "gda/dist/communicator.h"

namespace gda::dist {

// The group of `host`. Where that is one process, copies on the device are all there is to do.
std::unique_ptr<Communicator> make_staged_communicator(std::shared_ptr<Communicator> host,
                                                       const Stream& compute);

}  // namespace gda::dist
