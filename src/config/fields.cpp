#include "gda/config/fields.h"

#include <algorithm>

namespace gda {

double Timeline::at(std::int64_t step) const {
  const auto next =
      std::upper_bound(points.begin(), points.end(), step,
                       [](std::int64_t wanted, const Point& point) { return wanted < point.step; });
  if (next == points.begin()) return points.front().value;
  const Point& before = *(next - 1);
  if (next == points.end()) return before.value;
  const double share =
      static_cast<double>(step - before.step) / static_cast<double>(next->step - before.step);
  return before.value + share * (next->value - before.value);
}

}  // namespace gda
