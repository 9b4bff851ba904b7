#include "gda/train/pipeline_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "gda/core/error.h"

namespace gda {
namespace {

using Action = PipelineAction;
using Kind = PipelineEvent::Kind;

struct Pipeline {
  PipelineSchedule schedule;
  int ranks, chunks, micro_batches;
};

std::vector<Pipeline> all_pipelines() {
  std::vector<Pipeline> pipelines;
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int m = 1; m <= 12; ++m) {
      pipelines.push_back({PipelineSchedule::one_forward_one_backward, ranks, 1, m});
      pipelines.push_back({PipelineSchedule::zero_bubble, ranks, 1, m});
      for (int chunks = 1; chunks <= 3; ++chunks) {
        if (chunks > 1 && m % ranks != 0) continue;
        pipelines.push_back({PipelineSchedule::interleaved, ranks, chunks, m});
      }
    }
  }
  return pipelines;
}

std::string text_of(const Pipeline& p) {
  return fmt::format("{}, {} ranks, {} chunks, {} micro-batches", p.schedule, p.ranks, p.chunks,
                     p.micro_batches);
}

PipelineTable table_of(const Pipeline& p) {
  return make_pipeline_table(p.schedule, p.ranks, p.chunks, p.micro_batches);
}

// A rank's work on a micro-batch takes 3, however many chunks it has.
PipelineCosts unit_costs(int chunks) {
  const double unit = 1.0 / chunks;
  return {.forward = unit, .backward_input = unit, .backward_weight = unit};
}

// Ranks take one event after another, and a message is done when both ends are at it: what ranks
// with blocking messages do. Faults: what a slot reads has not come, or ranks wait for each other.
class Replay {
 public:
  Replay(const PipelineTable& table, const std::vector<std::vector<PipelineEvent>>& events)
      : table_(table), events_(events), next_(events.size()), arrived_(events.size()) {}

  std::string fault() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < table_.ranks(); ++rank) {
        if (!take(rank)) continue;
        moved = true;
      }
      if (!fault_.empty()) return fault_;
    }
    for (int rank = 0; rank < table_.ranks(); ++rank) {
      if (at(rank) != nullptr) {
        return fmt::format("rank {} stops at event {}", rank,
                           next_[static_cast<std::size_t>(rank)]);
      }
    }
    return {};
  }

 private:
  const PipelineEvent* at(int rank) const {
    const auto r = static_cast<std::size_t>(rank);
    return next_[r] < events_[r].size() ? &events_[r][next_[r]] : nullptr;
  }
  static bool goes_up(const PipelineSlot& slot) { return slot.action == Action::forward; }

  bool take(int rank) {
    const PipelineEvent* event = at(rank);
    if (event == nullptr || event->kind == Kind::receive) return false;
    const auto r = static_cast<std::size_t>(rank);
    if (event->kind == Kind::compute) {
      const int stage = table_.stage(rank, event->slot.chunk);
      const bool is_end = stage == (goes_up(event->slot) ? 0 : table_.stages() - 1);
      if (table_.ranks() > 1 && !is_end && event->slot.action != Action::backward_weight &&
          std::erase(arrived_[r], event->slot) != 1) {
        fault_ = fmt::format("rank {} begins event {} before its input comes", rank, next_[r]);
      }
      ++next_[r];
      return true;
    }
    const PipelineEvent* other = at(event->peer);
    if (other == nullptr || other->kind != Kind::receive || other->peer != rank) return false;
    const int from = table_.stage(rank, event->slot.chunk);
    const int to = table_.stage(event->peer, other->slot.chunk);
    if (to != from + (goes_up(event->slot) ? 1 : -1) ||
        goes_up(event->slot) != goes_up(other->slot) ||
        event->slot.micro_batch != other->slot.micro_batch) {
      fault_ = fmt::format("rank {} takes for event {} what stage {} sends", event->peer,
                           next_[static_cast<std::size_t>(event->peer)], from);
    }
    arrived_[static_cast<std::size_t>(event->peer)].push_back(other->slot);
    ++next_[r], ++next_[static_cast<std::size_t>(event->peer)];
    return true;
  }

  const PipelineTable& table_;
  const std::vector<std::vector<PipelineEvent>>& events_;
  std::vector<std::size_t> next_;
  std::vector<std::vector<PipelineSlot>> arrived_;
  std::string fault_;
};

// Of each stage, in an order that no formula knows.
std::vector<PipelineCosts> uneven_costs(int stages) {
  std::vector<PipelineCosts> costs;
  for (int stage = 0; stage < stages; ++stage) {
    costs.push_back({.forward = 1 + 0.25 * (stage * 5 % 7),
                     .backward_input = 1 + 0.25 * (stage * 3 % 5),
                     .backward_weight = 0.5 + 0.25 * (stage % 3)});
  }
  return costs;
}

TEST(PipelineSchedule, RanksDoTheirSlotsAndNeverWaitInACircle) {
  for (const Pipeline& p : all_pipelines()) {
    SCOPED_TRACE(text_of(p));
    const PipelineTable table = table_of(p);
    for (const bool even : {true, false}) {
      const PipelineSimulation simulation =
          even ? simulate(table) : simulate(table, uneven_costs(table.stages()));
      int sends = 0;
      for (std::size_t rank = 0; rank < table.slots.size(); ++rank) {
        std::vector<PipelineSlot> computed;
        for (const PipelineEvent& event : simulation.events[rank]) {
          if (event.kind == Kind::compute) computed.push_back(event.slot);
          sends += event.kind == Kind::send ? 1 : 0;
        }
        EXPECT_EQ(computed, table.slots[rank]);
      }
      // A stream between any two stages that are neighbours, and its gradient.
      EXPECT_EQ(sends, p.ranks == 1 ? 0 : 2 * (table.stages() - 1) * p.micro_batches);
      EXPECT_EQ(Replay(table, simulation.events).fault(), "");
    }
  }
}

TEST(PipelineSchedule, BubblesAreTheFormulas) {
  for (const Pipeline& p : all_pipelines()) {
    if (p.micro_batches < p.ranks) continue;
    SCOPED_TRACE(text_of(p));
    const double bubble = simulate(table_of(p), unit_costs(p.chunks)).bubble;
    const double share = p.schedule == PipelineSchedule::zero_bubble ? 1.0 / 3 : 1.0;
    // Times are sums of fewer than 200 numbers below 100.
    EXPECT_NEAR(bubble, share * (p.ranks - 1) / (p.chunks * p.micro_batches), 200 * 100 * 1e-15);
  }
}

TEST(PipelineSchedule, TheZeroBubbleTableIsNeverLongerThan1F1B) {
  for (const Pipeline& p : all_pipelines()) {
    if (p.schedule != PipelineSchedule::zero_bubble) continue;
    SCOPED_TRACE(text_of(p));
    const Pipeline plain{PipelineSchedule::one_forward_one_backward, p.ranks, 1, p.micro_batches};
    EXPECT_LE(simulate(table_of(p)).length, simulate(table_of(plain)).length);
  }
}

TEST(PipelineSchedule, KeepsNoMoreThanItSays) {
  for (const Pipeline& p : all_pipelines()) {
    SCOPED_TRACE(text_of(p));
    const PipelineSimulation simulation = simulate(table_of(p));
    for (int rank = 0; rank < p.ranks; ++rank) {
      const PipelineKept& kept = simulation.kept[static_cast<std::size_t>(rank)];
      const int m = p.micro_batches;
      if (p.chunks > 1) {
        EXPECT_EQ(kept.together, std::min(p.ranks * (p.chunks + 1) - 1 - 2 * rank, p.chunks * m));
        EXPECT_LE(*std::max_element(kept.of_chunk.begin(), kept.of_chunk.end()),
                  std::min(2 * p.ranks, m));
      } else {
        EXPECT_EQ(kept.together, std::min(p.ranks - rank, m));
        EXPECT_EQ(kept.of_chunk, std::vector<int>{kept.together});
      }
      const bool defers = p.schedule == PipelineSchedule::zero_bubble;
      EXPECT_EQ(kept.deferred, defers ? std::min(rank + 1, m) : 0);
      EXPECT_LE(kept.with_deferred, defers ? std::min(p.ranks, m) : kept.together);
      // Streams that come early wait where they are read: two rounds of them at most.
      EXPECT_LE(kept.arrived, 2 * p.ranks);
    }
  }
}

TEST(PipelineSchedule, LooksAsInTextbooks) {
  EXPECT_EQ(draw(make_pipeline_table(PipelineSchedule::one_forward_one_backward, 3, 1, 4)),
            "rank 0   f0 f1 f2 .  .  .  .  b0--- f3 b1--- .  b2--- .  b3---\n"
            "rank 1   .  f0 f1 .  .  b0--- f2 b1--- f3 b2--- .  b3--- .  .\n"
            "rank 2   .  .  f0 b0--- f1 b1--- f2 b2--- f3 b3--- .  .  .  .\n");
  EXPECT_EQ(draw(make_pipeline_table(PipelineSchedule::interleaved, 2, 2, 2)),
            "rank 0   f0.0 f1.0 f0.1 f1.1 .    .    b0.1----- .    b1.1----- b0.0----- "
            "b1.0-----\n"
            "rank 1   .    f0.0 f1.0 f0.1 b0.1----- f1.1 b1.1----- b0.0----- b1.0----- .    .\n");
  EXPECT_EQ(draw(make_pipeline_table(PipelineSchedule::zero_bubble, 3, 1, 4)),
            "rank 0   f0 f1 f2 .  .  b0 w0 f3 b1 w1 b2 w2 b3 w3\n"
            "rank 1   .  f0 f1 .  b0 f2 b1 w0 f3 b2 w1 b3 w2 w3\n"
            "rank 2   .  .  f0 b0 f1 b1 f2 b2 w0 f3 b3 w1 w2 w3\n");
}

std::string pipeline_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(PipelineSchedule, SaysWhyThereIsNoTable) {
  const auto error = [](PipelineSchedule schedule, int ranks, int chunks, int m) {
    return pipeline_error([&] { make_pipeline_table(schedule, ranks, chunks, m); });
  };
  EXPECT_EQ(error(PipelineSchedule::interleaved, 4, 2, 10),
            "pipeline: 10 micro-batches do not divide by the pipeline's 4 ranks, as the "
            "interleaved schedule needs; the nearest numbers that do: 8 and 12");
  EXPECT_EQ(error(PipelineSchedule::interleaved, 4, 2, 1),
            "pipeline: 1 micro-batch does not divide by the pipeline's 4 ranks, as the "
            "interleaved schedule needs; the nearest number that does: 4");
  EXPECT_EQ(error(PipelineSchedule::zero_bubble, 4, 2, 8),
            "pipeline: zero-bubble has one stage a rank, not 2; interleaved has several");
  EXPECT_EQ(error(PipelineSchedule::one_forward_one_backward, 2, 1, 0),
            "pipeline: a pipeline needs at least one of each: 2 ranks, 1 stage of each, 0 "
            "micro-batches");
}

// Two ranks, one micro-batch.
PipelineTable small_table() {
  return {.chunks = 1,
          .micro_batches = 1,
          .slots = {{{Action::forward, 0, 0}, {Action::backward, 0, 0}},
                    {{Action::forward, 0, 0}, {Action::backward, 0, 0}}}};
}

std::string fault_after(const std::function<void(std::vector<PipelineSlot>& of_rank_1)>& change) {
  PipelineTable table = small_table();
  change(table.slots[1]);
  return pipeline_error([&] { simulate(table); });
}

TEST(PipelineSchedule, TheSimulationFindsFaults) {
  using Slots = std::vector<PipelineSlot>;
  EXPECT_EQ(fault_after([](Slots&) {}), "(no error)");
  EXPECT_EQ(fault_after([](Slots& slots) { slots[1].micro_batch = 1; }),
            "pipeline table, rank 1: backward of micro-batch 1 (slot 1): there are 1 chunk and 1 "
            "micro-batch");
  EXPECT_EQ(fault_after([](Slots& slots) { slots.push_back(slots[0]); }),
            "pipeline table, rank 1: forward of micro-batch 0 (slot 2): done before");
  EXPECT_EQ(fault_after([](Slots& slots) { slots.erase(slots.begin()); }),
            "pipeline table, rank 1: forward of micro-batch 0 is never done");
  EXPECT_EQ(fault_after([](Slots& slots) { slots[1].action = Action::backward_input; }),
            "pipeline table, rank 1: backward_weight of micro-batch 0 is never done, and neither "
            "is backward");
  EXPECT_EQ(
      fault_after([](Slots& slots) {
        slots.push_back({Action::backward_weight, 0, 0});
      }),
      "pipeline table, rank 1: backward_weight of micro-batch 0 is a part of backward, which is "
      "done, too");
  EXPECT_EQ(fault_after([](Slots& slots) { std::swap(slots[0], slots[1]); }),
            "pipeline table, rank 0: backward of micro-batch 0 (slot 1) waits for ever for rank "
            "1: backward of micro-batch 0");
  EXPECT_EQ(pipeline_error([] { simulate(small_table(), std::vector<PipelineCosts>(3)); }),
            "pipeline table: 3 costs for 2 stages; give one for all, or one for each");
}

}  // namespace
}  // namespace gda
