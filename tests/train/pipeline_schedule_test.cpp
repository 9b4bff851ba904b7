#include "gda/train/pipeline_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "gda/core/error.h"

namespace gda {
namespace {

using Kind = PipelineEvent::Kind;

struct Case {
  PipelineSchedule schedule;
  int ranks, chunks, micro_batches;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int m = 1; m <= 12; ++m) {
      cases.push_back({PipelineSchedule::one_forward_one_backward, ranks, 1, m});
      cases.push_back({PipelineSchedule::zero_bubble, ranks, 1, m});
      for (int chunks = 1; chunks <= 3; ++chunks) {
        if (chunks > 1 && m % ranks != 0) continue;
        cases.push_back({PipelineSchedule::interleaved, ranks, chunks, m});
      }
    }
  }
  return cases;
}

std::string name(const Case& c) {
  return fmt::format("{}, {} ranks, {} chunks, {} micro-batches", c.schedule, c.ranks, c.chunks,
                     c.micro_batches);
}

PipelineTable table_of(const Case& c) {
  return make_pipeline_table(c.schedule, c.ranks, c.chunks, c.micro_batches);
}

// Costs under which a rank's work on a micro-batch takes 3, however many chunks it has.
PipelineCosts unit_costs(int chunks) {
  const double unit = 1.0 / chunks;
  return {.forward = unit, .backward_input = unit, .backward_weight = unit};
}

// Ranks take one event after another; a message is done when both ends are at it. The number of
// events that are never done.
std::size_t left_after_replay(const std::vector<std::vector<PipelineEvent>>& events) {
  std::vector<std::size_t> next(events.size());
  const auto at = [&](std::size_t rank) {
    return next[rank] < events[rank].size() ? &events[rank][next[rank]] : nullptr;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t rank = 0; rank < events.size(); ++rank) {
      const PipelineEvent* event = at(rank);
      if (event == nullptr) continue;
      if (event->kind == Kind::compute) {
        ++next[rank], moved = true;
        continue;
      }
      if (event->kind == Kind::receive) continue;
      const auto peer = static_cast<std::size_t>(event->peer);
      const PipelineEvent* other = at(peer);
      if (other == nullptr || other->kind != Kind::receive ||
          other->peer != static_cast<int>(rank) ||
          other->slot.micro_batch != event->slot.micro_batch) {
        continue;
      }
      ++next[rank], ++next[peer], moved = true;
    }
  }
  std::size_t left = 0;
  for (std::size_t rank = 0; rank < events.size(); ++rank) {
    left += events[rank].size() - next[rank];
  }
  return left;
}

TEST(PipelineSchedule, EverythingHappensOnceAndRanksNeverWaitInACircle) {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(name(c));
    const PipelineTable table = table_of(c);
    const PipelineSimulation simulation = simulate(table, unit_costs(c.chunks));
    std::size_t sends = 0;
    for (int rank = 0; rank < c.ranks; ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      std::vector<PipelineSlot> computed;
      for (const PipelineEvent& event : simulation.events[r]) {
        if (event.kind == Kind::compute) computed.push_back(event.slot);
        sends += event.kind == Kind::send ? 1 : 0;
      }
      EXPECT_EQ(computed, table.slots[r]);
    }
    // A stream between any two stages that are neighbours, and its gradient.
    const int messages = c.ranks == 1 ? 0 : 2 * (c.ranks * c.chunks - 1) * c.micro_batches;
    EXPECT_EQ(sends, static_cast<std::size_t>(messages));
    EXPECT_EQ(left_after_replay(simulation.events), 0U);
  }
}

TEST(PipelineSchedule, TheBubbleIsTheFormulas) {
  for (const Case& c : all_cases()) {
    if (c.micro_batches < c.ranks) continue;
    SCOPED_TRACE(name(c));
    const double bubble = simulate(table_of(c), unit_costs(c.chunks)).bubble;
    const double shortest = c.schedule == PipelineSchedule::zero_bubble ? 1.0 / 3 : 1.0;
    EXPECT_NEAR(bubble, shortest * (c.ranks - 1) / (c.chunks * c.micro_batches), 1e-12);
  }
}

}  // namespace
}  // namespace gda
