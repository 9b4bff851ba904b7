#include "checkpoint/save_layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <tuple>

#include "checkpoint/coverage.h"
#include "checkpoint/flat_part.h"
#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "gda/dist/agreement.h"

namespace gda::checkpoint_internal {
namespace {

using Numbers = std::vector<std::int64_t>;

// What the lists of all ranks have in common.
std::int64_t fingerprint(const std::vector<ParameterSource>& parameters) {
  std::string text;
  for (const ParameterSource& parameter : parameters) {
    text += fmt::format("{} {} {} {}\n", parameter.name, name_of(parameter.dtype),
                        parameter.shape.str(), fmt::join(parameter.states, " "));
  }
  return static_cast<std::int64_t>(hash_name(text));
}

void append(Numbers& numbers, const Region& region) {
  numbers.insert(numbers.end(),
                 {region.rows.begin, region.rows.end, region.columns.begin, region.columns.end});
}

// A rank's part of the layout, to travel: the fingerprint, whether it has every parameter whole,
// its number among the ranks of its host, the number of boxes if it has not all and these
// (parameter, region), then the pieces (parameter, state, region, offset, length).
Numbers describe(const std::vector<ParameterSource>& parameters,
                 const std::vector<TensorPiece>& pieces, int rank_on_host) {
  const bool has_all = std::ranges::all_of(parameters, &ParameterSource::has_whole);
  Numbers numbers = {fingerprint(parameters), has_all, rank_on_host, 0};
  std::map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    index[parameters[i].name] = i;
    if (has_all) continue;
    for (const ParameterBox& box : parameters[i].boxes) {
      ++numbers[3];
      numbers.push_back(static_cast<std::int64_t>(i));
      append(numbers, box.region);
    }
  }
  for (const TensorPiece& piece : pieces) {
    if (piece.length == 0) continue;
    const std::size_t i = index.at(piece.name);
    const auto& states = parameters[i].states;
    numbers.push_back(static_cast<std::int64_t>(i));
    numbers.push_back(std::ranges::find(states, piece.state) - states.begin());
    append(numbers, piece.region);
    numbers.insert(numbers.end(), {piece.offset, piece.length});
  }
  return numbers;
}

std::vector<Numbers> gather_numbers(Communicator& group, const Numbers& own) {
  const auto* bytes = reinterpret_cast<const char*>(own.data());
  std::vector<Numbers> all;
  for (const std::string& text :
       gather_texts(group, std::string(bytes, own.size() * sizeof(std::int64_t)))) {
    Numbers& numbers = all.emplace_back(text.size() / sizeof(std::int64_t));
    std::memcpy(numbers.data(), text.data(), text.size());
  }
  return all;
}

// Numbers in turn.
class NumberReader {
 public:
  explicit NumberReader(const Numbers& numbers) : numbers_(numbers) {}
  bool at_end() const { return at_ == numbers_.size(); }
  std::int64_t next() { return numbers_.at(at_++); }
  Region region() {
    const std::int64_t row = next();
    const std::int64_t row_end = next();
    const std::int64_t column = next();
    return {{row, row_end}, {column, next()}};
  }

 private:
  const Numbers& numbers_;
  std::size_t at_ = 0;
};

auto order_of(const HeldBox& box) {
  const Region& region = box.region;
  return std::tuple(region.rows.begin, region.columns.begin, region.rows.end, region.columns.end,
                    box.rank);
}

// Boxes of every parameter's every state.
using StateBoxes = std::vector<std::vector<std::vector<Covering>>>;

void require_coverage(const ParameterSource& parameter, std::string_view state,
                      std::vector<Covering> boxes) {
  const auto fault = find_coverage_fault(Region::whole(parameter.shape), std::move(boxes));
  if (!fault) return;
  fail<FormatError>("cannot save a checkpoint: {}{} {}: {}",
                    state.empty() ? "" : fmt::format("{} of ", state), parameter.name,
                    parameter.shape.str(),
                    fault->str([](std::size_t rank) { return fmt::format("rank {}", rank); }));
}

// What a rank has described.
void add_rank(const std::vector<ParameterSource>& parameters, const Numbers& described, int rank,
              SaveLayout& layout, StateBoxes& state_boxes) {
  NumberReader reader(described);
  reader.next();  // the fingerprint
  const bool has_all = reader.next() != 0;
  reader.next();  // its number on its host
  for (std::int64_t left = reader.next(); left > 0; --left) {
    const auto parameter = static_cast<std::size_t>(reader.next());
    layout.holders[parameter].push_back({reader.region(), rank});
  }
  for (std::size_t i = 0; has_all && i < layout.holders.size(); ++i) {
    layout.holders[i].push_back({Region::whole(parameters[i].shape), rank});
  }
  if (!reader.at_end()) layout.owners.push_back(rank);
  while (!reader.at_end()) {
    const auto parameter = static_cast<std::size_t>(reader.next());
    const auto state = static_cast<std::size_t>(reader.next());
    FlatPart part{.box = reader.region()};
    part.offset = reader.next();
    part.length = reader.next();
    layout.has_boxes |= part.box != Region::whole(parameters[parameter].shape);
    for (const Region& region : rectangles(part)) {
      state_boxes[parameter][state].push_back({region, static_cast<std::size_t>(rank)});
    }
  }
}

void check_parameters(const std::vector<ParameterSource>& parameters, const SaveLayout& layout) {
  for (std::size_t i = 0; i < layout.holders.size(); ++i) {
    std::vector<Covering> boxes;
    for (const HeldBox& box : layout.givers(i, -1)) {
      boxes.push_back({box.region, static_cast<std::size_t>(box.rank)});
    }
    require_coverage(parameters[i], "", std::move(boxes));
  }
}

void check_states(const std::vector<ParameterSource>& parameters, StateBoxes& boxes) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    for (std::size_t s = 0; s < boxes[i].size(); ++s) {
      require_coverage(parameters[i], parameters[i].states[s], std::move(boxes[i][s]));
    }
  }
}

}  // namespace

std::vector<HeldBox> SaveLayout::givers(std::size_t parameter, int writer) const {
  std::vector<HeldBox> result;
  for (const HeldBox& box : holders[parameter]) {
    if (result.empty() || result.back().region != box.region) {
      result.push_back(box);
    } else if (box.rank == writer) {
      result.back() = box;
    }
  }
  return result;
}

std::vector<int> one_of_each_host_first(const std::vector<std::int64_t>& ranks_on_hosts) {
  std::vector<int> order(ranks_on_hosts.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(
      order, {}, [&](int rank) { return ranks_on_hosts[static_cast<std::size_t>(rank)]; });
  return order;
}

SaveLayout agree_on_layout(Communicator& group, const CheckpointContents& contents,
                           int rank_on_host) {
  const std::vector<ParameterSource>& parameters = contents.parameters;
  const std::vector<Numbers> all =
      gather_numbers(group, describe(parameters, contents.pieces, rank_on_host));
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    require<FormatError>(
        all[rank][0] == all[0][0],
        "cannot save a checkpoint: rank {} lists other parameters, or other states "
        "of them, than rank 0",
        rank);
  }
  SaveLayout layout;
  std::vector<std::int64_t> ranks_on_hosts;
  ranks_on_hosts.reserve(all.size());
  for (const Numbers& numbers : all) ranks_on_hosts.push_back(numbers[2]);
  layout.writers = one_of_each_host_first(ranks_on_hosts);
  const bool all_whole =
      std::ranges::all_of(all, [](const Numbers& numbers) { return numbers[1] != 0; });
  if (!all_whole) layout.holders.resize(parameters.size());
  StateBoxes state_boxes(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    state_boxes[i].resize(parameters[i].states.size());
  }
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    add_rank(parameters, all[rank], static_cast<int>(rank), layout, state_boxes);
  }
  for (auto& boxes : layout.holders) std::ranges::sort(boxes, {}, order_of);
  check_parameters(parameters, layout);
  check_states(parameters, state_boxes);
  return layout;
}

}  // namespace gda::checkpoint_internal
