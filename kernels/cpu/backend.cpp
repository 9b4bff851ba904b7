#include "ops/backend.h"

namespace gda::cpu {

constinit const ops::Backend kBackend GDA_TABLE;

}  // namespace gda::cpu
