#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gda/train/pipeline_schedule.h"

namespace gda {
namespace {

char letter_of(PipelineAction action) {
  switch (action) {
    case PipelineAction::forward:
      return 'f';
    case PipelineAction::backward_weight:
      return 'w';
    default:
      return 'b';
  }
}

std::string name_of(const PipelineTable& table, const PipelineSlot& slot) {
  const std::string name = fmt::format("{}{}", letter_of(slot.action), slot.micro_batch);
  return table.chunks > 1 ? fmt::format("{}.{}", name, slot.chunk) : name;
}

}  // namespace

std::string draw(const PipelineTable& table) {
  const PipelineSimulation simulation = simulate(table);
  std::size_t width = 1;
  for (const auto& slots : table.slots) {
    for (const PipelineSlot& slot : slots) width = std::max(width, name_of(table, slot).size());
  }
  const std::size_t column = width + 1;
  std::string text;
  for (int rank = 0; rank < table.ranks(); ++rank) {
    std::string line;
    const auto fill_to = [&](double time) {
      while (line.size() < static_cast<std::size_t>(std::lround(time)) * column) {
        line += fmt::format("{:<{}}", ".", column);
      }
    };
    for (const TimedSlot& timed : simulation.slots[static_cast<std::size_t>(rank)]) {
      fill_to(timed.begin);
      const auto units = static_cast<std::size_t>(std::lround(timed.end - timed.begin));
      line += fmt::format("{:-<{}} ", name_of(table, timed.slot),
                          units > 1 ? units * column - 1 : name_of(table, timed.slot).size());
      line.resize(static_cast<std::size_t>(std::lround(timed.end)) * column, ' ');
    }
    fill_to(simulation.length);
    line.erase(line.find_last_not_of(' ') + 1);
    text += fmt::format("rank {:<3} {}\n", rank, line);
  }
  return text;
}

}  // namespace gda
