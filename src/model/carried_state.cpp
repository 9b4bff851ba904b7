#include "gda/model/carried_state.h"

#include <array>
#include <utility>

#include "gda/core/error.h"

namespace gda {
namespace {

constexpr std::array<std::pair<std::string_view, CarriedState>, 4> kStates{{
    {kMasterState, CarriedState::value},
    {"exp_avg", CarriedState::first_moment},
    {"exp_avg_sq", CarriedState::second_moment},
    {"momentum", CarriedState::first_moment},
}};

}  // namespace

CarriedState carried_state(std::string_view name) {
  for (const auto& [known, rule] : kStates) {
    if (known == name) return rule;
  }
  fail<FormatError>(
      "\"{}\" is not a state of an optimizer of this program: growth does not know how "
      "to carry it",
      name);
}

}  // namespace gda
