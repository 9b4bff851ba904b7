// Datasets that are not what is said of them.
#pragma once

#include <string>

#include "data/dataset_sidecar.h"

namespace gda::test {

// What was changed in PREFIX.bin and PREFIX.idx does not show in what a start compares.
inline void hide_damage(const std::string& prefix) {
  DatasetSidecar sidecar = read_sidecar(prefix + ".gda.json").value();
  sidecar.files = stamps_of({prefix + ".bin", prefix + ".idx"});
  write_sidecar(prefix + ".gda.json", sidecar);
}

}  // namespace gda::test
