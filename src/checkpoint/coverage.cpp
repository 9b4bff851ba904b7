#include "checkpoint/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace gda {
namespace {

// The boxes that a line of rows crosses, as it moves down.
class Crossing {
 public:
  // What it shares with one that is there; then it is not added.
  std::optional<CoverageFault> add(const Covering& box) {
    const auto next = by_column_.upper_bound(box.region.columns.begin);
    if (next != by_column_.begin()) {
      if (auto fault = overlap(std::prev(next)->second, box)) return fault;
    }
    if (next != by_column_.end()) {
      if (auto fault = overlap(next->second, box)) return fault;
    }
    by_column_.emplace(box.region.columns.begin, box);
    width_ += box.region.columns.size();
    return std::nullopt;
  }
  void remove(const Covering& box) {
    by_column_.erase(box.region.columns.begin);
    width_ -= box.region.columns.size();
  }
  std::int64_t width() const { return width_; }
  // The first columns that none has.
  IndexRange first_gap(const IndexRange& columns) const {
    std::int64_t begin = columns.begin;
    for (const auto& [column, box] : by_column_) {
      if (column > begin) return {begin, column};
      begin = box.region.columns.end;
    }
    return {begin, columns.end};
  }

 private:
  static std::optional<CoverageFault> overlap(const Covering& a, const Covering& b) {
    const Region common = intersection(a.region, b.region);
    if (common.empty()) return std::nullopt;
    return CoverageFault{common, std::pair(a, b)};
  }

  std::map<std::int64_t, Covering> by_column_;
  std::int64_t width_ = 0;
};

}  // namespace

std::string CoverageFault::str(const std::function<std::string(std::size_t)>& name) const {
  if (!twice) return fmt::format("nothing covers {}", where.str());
  const auto& [a, b] = *twice;
  return fmt::format("{} is covered twice, by {} ({}) and {} ({})", where.str(), name(a.owner),
                     a.region.str(), name(b.owner), b.region.str());
}

std::optional<CoverageFault> find_coverage_fault(const Region& whole, std::vector<Covering> boxes) {
  std::vector<Covering> ends = boxes;
  std::ranges::stable_sort(boxes, {}, [](const Covering& box) { return box.region.rows.begin; });
  std::ranges::stable_sort(ends, {}, [](const Covering& box) { return box.region.rows.end; });
  Crossing crossing;
  auto end = ends.cbegin();
  auto begin = boxes.cbegin();
  for (std::int64_t row = 0; row < whole.rows.end;) {
    for (; end != ends.cend() && end->region.rows.end == row; ++end) crossing.remove(*end);
    for (; begin != boxes.cend() && begin->region.rows.begin == row; ++begin) {
      if (auto fault = crossing.add(*begin)) return fault;
    }
    std::int64_t next = whole.rows.end;
    if (end != ends.cend()) next = std::min(next, end->region.rows.end);
    if (begin != boxes.cend()) next = std::min(next, begin->region.rows.begin);
    if (crossing.width() != whole.columns.size()) {
      return CoverageFault{{{row, next}, crossing.first_gap(whole.columns)}, std::nullopt};
    }
    row = next;
  }
  return std::nullopt;
}

}  // namespace gda
