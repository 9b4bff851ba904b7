#include "gda/model/layer_part.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>

#include "gda/core/error.h"

namespace gda {
namespace {

// "2 and 4": the divisors of `count` next to `wanted`, which is none.
std::string nearest_divisors(std::int64_t count, std::int64_t wanted) {
  std::int64_t below = std::min(wanted, count);
  while (count % below != 0) --below;
  std::int64_t above = wanted;
  while (above < count && count % above != 0) ++above;
  return above > count ? fmt::format("{}", below) : fmt::format("{} and {}", below, above);
}

}  // namespace

AttentionConfig share_of(const AttentionConfig& heads, std::int64_t count) {
  AttentionConfig share = heads;
  share.num_attention_heads /= count;
  share.signal_heads /= count;
  share.noise_heads /= count;
  share.num_key_value_heads /= count;
  return share;
}

LayerPart layer_part(const ModelConfig& config, const Placement& placement) {
  const AttentionConfig& all = config.attention;
  const std::int64_t count = placement.tensor_size;
  const std::int64_t groups = all.kv_groups();
  // A size that is fit for one of the axes and not for the next would be no help.
  const std::int64_t common = std::gcd(groups, config.intermediate_size);
  const auto divides = [&](std::string_view key, std::int64_t size, std::string_view what) {
    require<ConfigError>(size % count == 0,
                         "model.{}: {} do not divide over {} tensor-parallel ranks; the nearest "
                         "numbers of ranks that suit this model: {}",
                         key, what, count, nearest_divisors(common, count));
  };
  divides("attention.num_key_value_heads", groups,
          all.is_differential()
              ? fmt::format("{} K/V groups, of a signal and a noise head each,", groups)
              : fmt::format("{} K/V groups", groups));
  divides("intermediate_size", config.intermediate_size,
          fmt::format("{} units", config.intermediate_size));
  require<ConfigError>(config.vocab_size >= count,
                       "model.vocab_size: {} entries are too few for {} tensor-parallel ranks",
                       config.vocab_size, count);

  LayerPart part{.attention = share_of(all, count), .heads = {}, .units = {}};
  const auto stretch = [&](std::int64_t size) {
    return IndexRange{placement.tensor * size / count, (placement.tensor + 1) * size / count};
  };
  part.heads = stretch(all.out_size() / all.value_dim());
  part.units = stretch(config.intermediate_size);
  return part;
}

}  // namespace gda
