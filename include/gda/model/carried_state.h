// The states that optimizers have of a parameter, and how growth carries each: known by their names
// in checkpoints, here and nowhere else.
#pragma once

#include <cstdint>
#include <string_view>

namespace gda {

enum class CarriedState : std::uint8_t {
  value,          // as the parameter itself: its master
  first_moment,   // linear in the gradient
  second_moment,  // quadratic in it
};

// The state that holds a parameter in its accumulate type, where the parameter itself is narrower.
constexpr std::string_view kMasterState = "master";

// FormatError that names the state if there is none of that name.
CarriedState carried_state(std::string_view name);

}  // namespace gda
