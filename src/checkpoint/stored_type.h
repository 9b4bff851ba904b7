// Names of element types in a safetensors header.
#pragma once

#include <optional>
#include <string_view>

#include "gda/checkpoint/safetensors.h"

namespace gda {

// "BF16" -> bf16; nothing for a name that the format does not have.
std::optional<StoredType> parse_stored_type(std::string_view name);

}  // namespace gda
