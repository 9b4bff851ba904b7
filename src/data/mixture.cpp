#include "gda/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gda/core/error.h"

namespace gda {
namespace {

constexpr int kShareBits = 30;
constexpr std::int64_t kWhole = std::int64_t{1} << kShareBits;

struct Plateau {
  std::int64_t first_step = 0;
  double middle = 0;  // the step at which weights are taken
};

// Timeline::at between steps.
double weight_at(const Timeline& timeline, double step) {
  const auto floor = static_cast<std::int64_t>(std::floor(step));
  const double below = timeline.at(floor);
  const double part = step - std::floor(step);
  return part == 0 ? below : below + part * (timeline.at(floor + 1) - below);
}

std::vector<Plateau> make_plateaus(const std::vector<Timeline>& weights) {
  std::vector<std::int64_t> knots{0};
  for (const auto& timeline : weights) {
    for (const auto& point : timeline.points)
      knots.push_back(std::max<std::int64_t>(point.step, 0));
  }
  std::sort(knots.begin(), knots.end());
  knots.erase(std::unique(knots.begin(), knots.end()), knots.end());
  std::vector<Plateau> plateaus;
  for (std::size_t i = 0; i + 1 < knots.size(); ++i) {
    const std::int64_t width = knots[i + 1] - knots[i];
    const bool moves = std::any_of(weights.begin(), weights.end(), [&](const Timeline& timeline) {
      return timeline.at(knots[i]) != timeline.at(knots[i + 1]);
    });
    const std::int64_t parts = moves ? std::min(width, Mixture::kPlateausPerInterval) : 1;
    for (std::int64_t j = 0; j < parts; ++j) {
      const auto begin =
          knots[i] + static_cast<std::int64_t>(static_cast<Quota>(width) * j / parts);
      const auto end =
          knots[i] + static_cast<std::int64_t>(static_cast<Quota>(width) * (j + 1) / parts);
      plateaus.push_back({begin, 0.5 * static_cast<double>(begin + end - 1)});
    }
  }
  plateaus.push_back({knots.back(), static_cast<double>(knots.back())});
  return plateaus;
}

// Shares of kWhole that sum to it, by largest remainders; a positive weight gets a positive share.
std::vector<std::int64_t> whole_shares(const std::vector<double>& weights, std::int64_t step) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  require<ConfigError>(sum > 0 && std::isfinite(sum),
                       "data.sources: the weights must have a positive sum at every step, at step "
                       "{} it is {}",
                       step, sum);
  std::vector<std::int64_t> shares;
  shares.reserve(weights.size());
  for (const double weight : weights) {
    const double exact = weight / sum * static_cast<double>(kWhole);
    shares.push_back(weight > 0 ? std::max<std::int64_t>(std::llround(exact), 1) : 0);
  }
  // Rounding is off by less than one unit a source; the largest can spare it.
  *std::max_element(shares.begin(), shares.end()) +=
      kWhole - std::accumulate(shares.begin(), shares.end(), std::int64_t{0});
  return shares;
}

}  // namespace

Mixture::Mixture(const std::vector<Timeline>& weights,
                 const std::function<std::int64_t(std::int64_t step)>& first_sample_of_step)
    : sources_(static_cast<int>(weights.size())) {
  require<ConfigError>(!weights.empty(), "data.sources: at least one source is needed");
  for (std::size_t k = 0; k < weights.size(); ++k) {
    for (const auto& point : weights[k].points) {
      require<ConfigError>(point.value >= 0 && std::isfinite(point.value),
                           "data.sources[{}].weight: expected a number of at least 0, found {}", k,
                           point.value);
    }
  }
  std::vector<std::vector<std::int64_t>> shares;  // [plateau][source]
  for (const Plateau& plateau : make_plateaus(weights)) {
    std::vector<double> values;
    values.reserve(weights.size());
    for (const auto& timeline : weights) values.push_back(weight_at(timeline, plateau.middle));
    shares.push_back(whole_shares(values, plateau.first_step));
    first_sample_.push_back(first_sample_of_step(plateau.first_step));
  }
  root_ = build(0, sources_, shares);
}

int Mixture::build(int first, int count, const std::vector<std::vector<std::int64_t>>& shares) {
  Node node;
  node.source = first;
  for (const auto& plateau : shares) {
    const auto begin = plateau.begin() + first;
    node.share.push_back(std::accumulate(begin, begin + count, std::int64_t{0}));
  }
  add_quotas(node);
  if (count > 1) {
    node.left = build(first, count / 2, shares);
    node.right = build(first + count / 2, count - count / 2, shares);
  }
  nodes_.push_back(std::move(node));
  return static_cast<int>(nodes_.size()) - 1;
}

void Mixture::add_quotas(Node& node) const {
  node.quota.reserve(first_sample_.size());
  node.quota.push_back(0);
  for (std::size_t p = 0; p + 1 < first_sample_.size(); ++p) {
    const Quota samples = first_sample_[p + 1] - first_sample_[p];
    node.quota.push_back(node.quota.back() + samples * node.share[p]);
  }
}

std::size_t Mixture::plateau_of(std::int64_t sample) const {
  const auto next = std::upper_bound(first_sample_.begin(), first_sample_.end(), sample);
  return static_cast<std::size_t>(next - first_sample_.begin()) - 1;
}

std::int64_t Mixture::left_count(const Node& node, std::int64_t m) const {
  const Quota reached = static_cast<Quota>(m) * kWhole;
  // The last plateau that begins at or below the quota and has a share of its own; past the end of
  // a node that is switched off, its last active plateau goes on.
  auto p =
      static_cast<std::size_t>(std::upper_bound(node.quota.begin(), node.quota.end(), reached) -
                               node.quota.begin()) -
      1;
  while (p > 0 && node.share[p] == 0) --p;
  if (node.share[p] == 0) return 0;
  const Node& left = nodes_[static_cast<std::size_t>(node.left)];
  const Quota grown = (reached - node.quota[p]) * left.share[p] / node.share[p];
  return static_cast<std::int64_t>((left.quota[p] + grown) >> kShareBits);
}

Mixture::Choice Mixture::at(std::int64_t sample) const {
  std::int64_t m = sample;
  int at = root_;
  while (nodes_[static_cast<std::size_t>(at)].left >= 0) {
    const Node& node = nodes_[static_cast<std::size_t>(at)];
    const std::int64_t taken = left_count(node, m);
    const bool goes_left = left_count(node, m + 1) > taken;
    at = goes_left ? node.left : node.right;
    m = goes_left ? taken : m - taken;
  }
  return {nodes_[static_cast<std::size_t>(at)].source, m};
}

std::int64_t Mixture::count(int source, std::int64_t sample) const {
  std::int64_t m = sample;
  int at = root_;
  while (nodes_[static_cast<std::size_t>(at)].left >= 0) {
    const Node& node = nodes_[static_cast<std::size_t>(at)];
    const std::int64_t taken = left_count(node, m);
    const bool goes_left = source < nodes_[static_cast<std::size_t>(node.right)].source;
    at = goes_left ? node.left : node.right;
    m = goes_left ? taken : m - taken;
  }
  return m;
}

double Mixture::share(int source, std::int64_t sample) const {
  for (const Node& node : nodes_) {
    if (node.left < 0 && node.source == source) {
      return static_cast<double>(node.share[plateau_of(sample)]) / static_cast<double>(kWhole);
    }
  }
  return 0;
}

}  // namespace gda
