// The ranks that a layer's places exchange with.
#pragma once

#include "gda/dist/communicator.h"
#include "gda/model/context_cut.h"

namespace gda {

struct LayerGroups {
  Communicator* tensor = nullptr;  // null: one place
  Communicator* context = nullptr;
  ContextCut cut;

  bool exchanges_heads() const {
    return context != nullptr && cut.method == ContextMethod::ulysses;
  }
  bool gathers_keys() const { return context != nullptr && cut.method == ContextMethod::gather; }
};

}  // namespace gda
