#include "ops/backend.h"

namespace gda::cuda {

constinit const ops::Backend kBackend GDA_TABLE;

}  // namespace gda::cuda
