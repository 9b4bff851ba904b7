#include "gda/model/growth_state.h"

#include <algorithm>
#include <string_view>

#include "gda/core/error.h"

namespace gda {
namespace {

void check_axis(std::string_view axis, const std::vector<IndexRange>& grown, std::int64_t size) {
  std::int64_t end = -1;  // of the range before
  std::int64_t count = 0;
  for (const IndexRange& range : grown) {
    require<ConfigError>(
        range.begin < range.end && range.begin >= 0 && range.end <= size,
        "growth mask: {}: new coordinates [{}, {}) are empty or outside the model's [0, {})", axis,
        range.begin, range.end, size);
    require<ConfigError>(range.begin > end,
                         "growth mask: {}: new coordinates [{}, {}) come after ones that end at "
                         "{}; expected rising ranges that do not touch",
                         axis, range.begin, range.end, end);
    end = range.end;
    count += range.end - range.begin;
  }
  require<ConfigError>(
      count < size, "growth mask: {}: all {} coordinates are new; expected old ones", axis, size);
}

}  // namespace

bool GrowthMask::empty() const {
  return hidden.empty() && feed_forward.empty() && heads.empty() && layers.empty();
}

void GrowthMask::validate(const ModelConfig& config) const {
  check_axis("hidden", hidden, config.hidden_size);
  check_axis("feed_forward", feed_forward, config.intermediate_size);
  check_axis("heads", heads, config.attention.out_size() / config.attention.value_dim());
  check_axis("layers", layers, config.num_hidden_layers);
}

double GrowthRamp::at(std::int64_t step) const {
  if (steps <= 0) return 1;
  const std::int64_t done = std::clamp<std::int64_t>(step - first_step, 0, steps);
  return static_cast<double>(done) / static_cast<double>(steps);
}

}  // namespace gda
