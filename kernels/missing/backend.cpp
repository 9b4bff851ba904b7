#include "ops/backend.h"

namespace gda::cuda {

constinit const ops::Backend kBackend{};

}  // namespace gda::cuda
