#include "gda/train/pipeline_schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "gda/core/error.h"
#include "gda/core/text.h"

namespace gda {
namespace {

std::vector<PipelineSlot> alternating_slots(int ranks, int rank, int micro_batches) {
  const int ahead = std::min(ranks - rank - 1, micro_batches);
  std::vector<PipelineSlot> slots;
  slots.reserve(2 * static_cast<std::size_t>(micro_batches));
  for (int m = 0; m < ahead; ++m) slots.push_back({PipelineAction::forward, 0, m});
  for (int m = 0; m < micro_batches; ++m) {
    if (m + ahead < micro_batches) slots.push_back({PipelineAction::forward, 0, m + ahead});
    slots.push_back({PipelineAction::backward, 0, m});
  }
  return slots;
}

// The same with halves of backward passes: products for weights are `rank` micro-batches behind,
// the more the longer a rank waits for its first one.
std::vector<PipelineSlot> zero_bubble_slots(int ranks, int rank, int micro_batches) {
  std::vector<PipelineSlot> slots;
  int products = 0;
  for (const PipelineSlot& slot : alternating_slots(ranks, rank, micro_batches)) {
    if (slot.action == PipelineAction::forward) {
      slots.push_back(slot);
      continue;
    }
    slots.push_back({PipelineAction::backward_input, 0, slot.micro_batch});
    if (slot.micro_batch < rank) continue;
    slots.push_back({PipelineAction::backward_weight, 0, products++});
  }
  while (products < micro_batches) {
    slots.push_back({PipelineAction::backward_weight, 0, products++});
  }
  return slots;
}

std::vector<PipelineSlot> interleaved_slots(int ranks, int rank, int chunks, int micro_batches) {
  const int passes = chunks * micro_batches;
  const int round = ranks * chunks;
  const auto nth = [&](PipelineAction action, int n) {
    const int step = n % round / ranks;
    return PipelineSlot{.action = action,
                        .chunk = action == PipelineAction::forward ? step : chunks - 1 - step,
                        .micro_batch = n / round * ranks + n % ranks};
  };
  // All chunks but the last of the first round, and one there and back for each rank behind.
  const int ahead = std::min(2 * (ranks - rank - 1) + (chunks - 1) * ranks, passes);
  std::vector<PipelineSlot> slots;
  slots.reserve(2 * static_cast<std::size_t>(passes));
  for (int n = 0; n < ahead; ++n) slots.push_back(nth(PipelineAction::forward, n));
  for (int n = 0; n < passes; ++n) {
    if (n + ahead < passes) slots.push_back(nth(PipelineAction::forward, n + ahead));
    slots.push_back(nth(PipelineAction::backward, n));
  }
  return slots;
}

std::vector<PipelineSlot> slots_of(PipelineSchedule schedule, int ranks, int rank, int chunks,
                                   int micro_batches) {
  if (schedule == PipelineSchedule::zero_bubble) {
    return zero_bubble_slots(ranks, rank, micro_batches);
  }
  return chunks > 1 ? interleaved_slots(ranks, rank, chunks, micro_batches)
                    : alternating_slots(ranks, rank, micro_batches);
}

}  // namespace

std::string pipeline_problem(PipelineSchedule schedule, int ranks, int chunks, int micro_batches) {
  if (ranks < 1 || chunks < 1 || micro_batches < 1) {
    return fmt::format("a pipeline needs at least one of each: {}, {} of each, {}",
                       counted(ranks, "rank"), counted(chunks, "stage"),
                       counted(micro_batches, "micro-batch"));
  }
  if (schedule != PipelineSchedule::interleaved && chunks > 1) {
    return fmt::format("{} has one stage a rank, not {}; interleaved has several", schedule,
                       chunks);
  }
  if (chunks == 1 || micro_batches % ranks == 0) return {};
  const int below = micro_batches / ranks * ranks;
  return fmt::format(
      "{} {} not divide by the pipeline's {}, as the interleaved schedule needs; {}",
      counted(micro_batches, "micro-batch"), micro_batches == 1 ? "does" : "do",
      counted(ranks, "rank"),
      below == 0 ? fmt::format("the nearest number that does: {}", ranks)
                 : fmt::format("the nearest numbers that do: {} and {}", below, below + ranks));
}

PipelineTable make_pipeline_table(PipelineSchedule schedule, int ranks, int chunks,
                                  int micro_batches) {
  const std::string problem = pipeline_problem(schedule, ranks, chunks, micro_batches);
  require<ConfigError>(problem.empty(), "pipeline: {}", problem);
  PipelineTable table{.chunks = chunks, .micro_batches = micro_batches, .slots = {}};
  for (int rank = 0; rank < ranks; ++rank) {
    table.slots.push_back(slots_of(schedule, ranks, rank, chunks, micro_batches));
  }
  return table;
}

}  // namespace gda
