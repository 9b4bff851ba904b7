#include "gda/optim/qk_clip.h"

#include <algorithm>
#include <cmath>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/ops/muon.h"

namespace gda {
namespace {

bool all_one(const std::vector<double>& factors) {
  return std::all_of(factors.begin(), factors.end(), [](double factor) { return factor == 1; });
}

}  // namespace

bool QkClipFactors::empty() const {
  return all_one(query) && all_one(key);
}

QkClipFactors qk_clip_factors(const std::vector<int>& key_head, std::int64_t key_heads,
                              const std::vector<double>& largest, double threshold) {
  require<OpError>(largest.size() == key_head.size(),
                   "[qk_clip] expected the largest logit of {} query heads, got {}",
                   key_head.size(), largest.size());
  const auto keys = static_cast<std::size_t>(key_heads);
  std::vector<double> gammas;          // of query heads
  std::vector<double> least(keys, 1);  // gamma of key heads
  std::vector<double> sharing(keys);   // n
  for (std::size_t head = 0; head < largest.size(); ++head) {
    require<OpError>(std::isfinite(largest[head]), "[qk_clip] the largest logit of head {} is {}",
                     head, largest[head]);
    gammas.push_back(largest[head] > threshold ? threshold / largest[head] : 1);
    const auto key = static_cast<std::size_t>(key_head[head]);
    least.at(key) = std::min(least[key], gammas.back());
    sharing[key] += 1;
  }
  QkClipFactors factors;
  for (std::size_t key = 0; key < keys; ++key) {
    factors.key.push_back(std::pow(least[key], 1 / (1 + std::sqrt(sharing[key]))));
  }
  for (std::size_t head = 0; head < largest.size(); ++head) {
    const double beta = factors.key[static_cast<std::size_t>(key_head[head])];
    factors.query.push_back(std::min(1.0, gammas[head] / beta));
  }
  return factors;
}

void scale_heads(const Context& context, const std::vector<double>& factors, std::int64_t head_dim,
                 const Region& region, std::int64_t offset, const Tensor& master,
                 const Tensor& copy) {
  if (all_one(factors)) return;
  const ArenaScope scope(context.arena);
  const Tensor rows = context.arena.allocate(master.dtype(), {region.rows.size()});
  fill_from_host(context.stream, rows, [&](const Tensor& host) {
    for (std::int64_t i = 0; i < host.elements(); ++i) {
      const double factor =
          factors.at(static_cast<std::size_t>((region.rows.begin + i) / head_dim));
      if (host.dtype() == DType::f64) {
        host.data<double>()[i] = factor;
      } else {
        host.data<float>()[i] = static_cast<float>(factor);
      }
    }
  });
  scale_rows(context, rows, region.columns.size(), offset, master, copy);
}

}  // namespace gda
