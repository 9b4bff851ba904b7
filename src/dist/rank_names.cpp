#include "dist/rank_names.h"

#include <fmt/ranges.h>

#include <utility>

namespace gda::dist {
namespace {

// Places of more ranks than these are more than anybody reads in a line.
constexpr std::size_t kPlacesInALine = 8;

}  // namespace

void RankNames::set_places(std::vector<std::string> places) {
  const std::lock_guard lock(mutex_);
  places_ = std::move(places);
}

std::string RankNames::name(int rank) const {
  const std::lock_guard lock(mutex_);
  return name_with_place(rank);
}

std::string RankNames::list(const std::vector<int>& ranks) const {
  const std::lock_guard lock(mutex_);
  if (ranks.size() != 1 && (places_.empty() || ranks.size() > kPlacesInALine)) {
    return fmt::format("ranks {}", fmt::join(ranks, ", "));
  }
  std::string text;
  for (const int rank : ranks) text += (text.empty() ? "" : ", ") + name_with_place(rank);
  return text;
}

std::string RankNames::name_with_place(int rank) const {
  const auto index = static_cast<std::size_t>(rank);
  return index < places_.size() ? fmt::format("rank {} ({})", rank, places_[index])
                                : fmt::format("rank {}", rank);
}

}  // namespace gda::dist
