#include "model/growth_masks.h"

#include <algorithm>

#include "gda/core/stream.h"

namespace gda {
namespace {

template <class T>
void write_factors(const Tensor& factors, const std::vector<IndexRange>& grown, double m,
                   const IndexRange& here, std::int64_t width) {
  T* factor = factors.data<T>();
  std::fill_n(factor, factors.elements(), T{1});
  for (const IndexRange& range : grown) {
    const IndexRange part = intersection(range, here);
    if (part.size() == 0) continue;
    std::fill_n(factor + (part.begin - here.begin) * width, part.size() * width, static_cast<T>(m));
  }
}

}  // namespace

GrowthMasks::GrowthMasks(const ModelConfig& config, const LayerPart& part, DType statistics,
                         Device device)
    : hidden_axis_{.size = config.hidden_size, .here = {0, config.hidden_size}},
      unit_axis_{.size = config.intermediate_size, .here = part.units},
      head_axis_{.size = config.attention.out_size() / config.attention.value_dim(),
                 .here = part.heads,
                 .width = config.attention.value_dim()},
      statistics_(statistics),
      device_(device) {}

ColumnMask GrowthMasks::fill(OwnedTensor& factors, const std::vector<IndexRange>& grown, double m,
                             const Axis& axis) const {
  if (grown.empty()) return {};
  if (!factors.tensor) {
    factors = OwnedTensor(statistics_, {axis.here.size() * axis.width}, device_);
  }
  const Stream stream{.device = device_};
  fill_from_host(stream, factors.tensor, [&](const Tensor& host) {
    if (statistics_ == DType::f64) {
      write_factors<double>(host, grown, m, axis.here, axis.width);
    } else {
      write_factors<float>(host, grown, m, axis.here, axis.width);
    }
  });
  synchronize(stream);  // passes run on another one
  std::int64_t count = 0;
  for (const IndexRange& range : grown) count += range.size() * axis.width;
  const std::int64_t columns = axis.size * axis.width;
  return {.value = factors.tensor,
          .sum = static_cast<double>(columns - count) + m * static_cast<double>(count)};
}

void GrowthMasks::set(const GrowthMask& mask, double m) {
  // A mask of ones is none: the plain kernels give the same bits for less work.
  const GrowthMask grown = m == 1 ? GrowthMask{} : mask;
  hidden_ = fill(hidden_factors_, grown.hidden, m, hidden_axis_);
  feed_forward_ = fill(feed_forward_factors_, grown.feed_forward, m, unit_axis_);
  heads_ = fill(head_factors_, grown.heads, m, head_axis_);
  layers_ = grown.layers;
  m_ = m;
}

LayerMasks GrowthMasks::layer(std::int64_t index) const {
  const bool grows = std::any_of(layers_.begin(), layers_.end(), [&](const IndexRange& range) {
    return range.begin <= index && index < range.end;
  });
  return {.hidden = hidden_,
          .feed_forward = feed_forward_,
          .heads = heads_.value,
          .layer = grows ? m_ : 1};
}

}  // namespace gda
