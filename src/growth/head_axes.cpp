#include "growth/head_axes.h"

#include "growth/head_layout.h"

namespace gda {
namespace {

// Stripes of `heads` heads of `width` coordinates, with `trailing` coordinates behind them.
AxisMap striped(const HeadLayout& from, const HeadLayout& to, std::int64_t width,
                std::int64_t trailing) {
  AxisMap map;
  const std::int64_t stripe = from.heads * width + trailing;
  for (std::int64_t s = 0; s < to.stripes; ++s) {
    if (s >= from.stripes) {
      map.append_filled(to.heads * width + trailing);
      continue;
    }
    map.append({.length = from.heads * width, .source = s * stripe});
    map.append_filled((to.heads - from.heads) * width);
    map.append({.length = trailing, .source = s * stripe + from.heads * width});
  }
  return map;
}

}  // namespace

AxisMap query_rows(const AttentionConfig& from, const AttentionConfig& to) {
  const HeadLayout layout = head_layout(from);
  return striped(layout, head_layout(to), layout.query_rows, layout.noise_rows);
}

AxisMap output_columns(const AttentionConfig& from, const AttentionConfig& to) {
  const HeadLayout layout = head_layout(from);
  return striped(layout, head_layout(to), layout.output_width, 0);
}

AxisMap lambda_rows(const AttentionConfig& from, const AttentionConfig& to) {
  return striped(head_layout(from), head_layout(to), 1, 0);
}

AxisMap extended(std::int64_t size, std::int64_t new_size, double scale, double gradient_scale) {
  AxisMap map = AxisMap::tiled(size, 1, scale, gradient_scale);
  map.append_filled(new_size - size);
  return map;
}

std::vector<IndexRange> filled_ranges(const AxisMap& map) {
  std::vector<IndexRange> ranges;
  std::int64_t first = 0;
  for (const AxisMap::Run& run : map.runs) {
    if (run.source == AxisMap::kFilled) ranges.push_back({first, first + run.length});
    first += run.length;
  }
  return ranges;
}

}  // namespace gda
