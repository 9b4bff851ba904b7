#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "gda/core/error.h"
#include "gda/core/text.h"
#include "gda/train/pipeline_schedule.h"

namespace gda {
namespace {

constexpr double kNotYet = std::numeric_limits<double>::infinity();

bool is_backward(PipelineAction action) {
  return action == PipelineAction::backward || action == PipelineAction::backward_input;
}

std::string described(const PipelineTable& table, int rank, const PipelineSlot& slot) {
  const std::string chunk = table.chunks > 1 ? fmt::format(", chunk {}", slot.chunk) : "";
  return fmt::format("rank {}: {} of micro-batch {}{}", rank, slot.action, slot.micro_batch, chunk);
}

// Each stage passes each micro-batch forward once, and backward once in one piece or in halves.
void check_completeness(const PipelineTable& table, int rank) {
  std::map<std::tuple<int, int, PipelineAction>, int> times;
  const std::vector<PipelineSlot>& slots = table.slots[static_cast<std::size_t>(rank)];
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto& [action, chunk, micro_batch] = slots[i];
    require<ConfigError>(
        chunk >= 0 && chunk < table.chunks && micro_batch >= 0 && micro_batch < table.micro_batches,
        "pipeline table, {} (slot {}): there are {} and {}", described(table, rank, slots[i]), i,
        counted(table.chunks, "chunk"), counted(table.micro_batches, "micro-batch"));
    const int before = times[{chunk, micro_batch, action}]++;
    require<ConfigError>(before == 0, "pipeline table, {} (slot {}): done before",
                         described(table, rank, slots[i]), i);
  }
  for (int chunk = 0; chunk < table.chunks; ++chunk) {
    for (int m = 0; m < table.micro_batches; ++m) {
      const auto has = [&](PipelineAction action) { return times.contains({chunk, m, action}); };
      const auto fault = [&](PipelineAction action, std::string_view what) {
        fail<ConfigError>("pipeline table, {} {}", described(table, rank, {action, chunk, m}),
                          what);
      };
      if (!has(PipelineAction::forward)) fault(PipelineAction::forward, "is never done");
      const bool in_one = has(PipelineAction::backward);
      for (const auto half : {PipelineAction::backward_input, PipelineAction::backward_weight}) {
        if (in_one && has(half)) fault(half, "is a part of backward, which is done, too");
        if (!in_one && !has(half)) fault(half, "is never done, and neither is backward");
      }
    }
  }
}

// When slots end, and which can begin.
class PipelineClock {
 public:
  PipelineClock(const PipelineTable& table, std::span<const PipelineCosts> costs)
      : table_(table),
        costs_(costs),
        ends_(3 * static_cast<std::size_t>(table.stages() * table.micro_batches), kNotYet),
        next_(table.slots.size()),
        slots_(table.slots.size()) {}

  std::vector<std::vector<TimedSlot>> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < table_.ranks(); ++rank) {
        while (advance(rank)) moved = true;
      }
    }
    check_end();
    return slots_;
  }

 private:
  // What must have ended before a slot begins: at most two actions of stages.
  struct Need {
    int stage;
    PipelineAction action;
  };
  std::vector<Need> needs(int rank, const PipelineSlot& slot) const {
    const int stage = table_.stage(rank, slot.chunk);
    switch (slot.action) {
      case PipelineAction::forward:
        if (stage == 0) return {};
        return {{stage - 1, PipelineAction::forward}};
      case PipelineAction::backward_weight:
        return {{stage, PipelineAction::backward_input}};
      default:
        if (stage == table_.stages() - 1) return {{stage, PipelineAction::forward}};
        return {{stage, PipelineAction::forward}, {stage + 1, PipelineAction::backward_input}};
    }
  }

  double& end(int stage, PipelineAction action, int micro_batch) {
    const int kind = action == PipelineAction::forward           ? 0
                     : action == PipelineAction::backward_weight ? 2
                                                                 : 1;
    const int index = (kind * table_.stages() + stage) * table_.micro_batches + micro_batch;
    return ends_[static_cast<std::size_t>(index)];
  }

  bool advance(int rank) {
    const auto r = static_cast<std::size_t>(rank);
    if (next_[r] == table_.slots[r].size()) return false;
    const PipelineSlot slot = table_.slots[r][next_[r]];
    double begin = slots_[r].empty() ? 0 : slots_[r].back().end;
    for (const Need& need : needs(rank, slot)) {
      begin = std::max(begin, end(need.stage, need.action, slot.micro_batch));
    }
    if (begin == kNotYet) return false;
    const int stage = table_.stage(rank, slot.chunk);
    const PipelineCosts& cost = costs_[costs_.size() == 1 ? 0 : static_cast<std::size_t>(stage)];
    slots_[r].push_back({slot, begin, begin + cost.of(slot.action)});
    end(stage, slot.action, slot.micro_batch) = slots_[r].back().end;
    ++next_[r];
    return true;
  }

  void check_end() {
    for (int rank = 0; rank < table_.ranks(); ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      if (next_[r] == table_.slots[r].size()) continue;
      const PipelineSlot& slot = table_.slots[r][next_[r]];
      for (const Need& need : needs(rank, slot)) {
        if (end(need.stage, need.action, slot.micro_batch) != kNotYet) continue;
        const int other = need.stage % table_.ranks();
        PipelineSlot missing{need.action, need.stage / table_.ranks(), slot.micro_batch};
        const std::vector<PipelineSlot>& theirs = table_.slots[static_cast<std::size_t>(other)];
        if (is_backward(need.action) &&
            std::find(theirs.begin(), theirs.end(), missing) == theirs.end()) {
          missing.action = PipelineAction::backward;
        }
        fail<ConfigError>("pipeline table, {} (slot {}) waits for ever for {}",
                          described(table_, rank, slot), next_[r],
                          described(table_, other, missing));
      }
    }
  }

  const PipelineTable& table_;
  std::span<const PipelineCosts> costs_;
  std::vector<double> ends_;  // [forward, backward_input, backward_weight][stage][micro-batch]
  std::vector<std::size_t> next_;
  std::vector<std::vector<TimedSlot>> slots_;
};

// The sum of the costs of all slots.
double work_of(const std::vector<std::vector<TimedSlot>>& slots) {
  double work = 0;
  for (const auto& of_rank : slots) {
    for (const TimedSlot& slot : of_rank) work += slot.end - slot.begin;
  }
  return work;
}

PipelineKept kept_by(const PipelineTable& table, const std::vector<PipelineSlot>& slots) {
  PipelineKept most{.of_chunk = std::vector<int>(static_cast<std::size_t>(table.chunks))};
  std::vector<int> kept(most.of_chunk.size());
  int together = 0;
  int deferred = 0;
  for (const PipelineSlot& slot : slots) {
    int& of_chunk = kept[static_cast<std::size_t>(slot.chunk)];
    if (slot.action == PipelineAction::forward) ++of_chunk, ++together;
    most.of_chunk[static_cast<std::size_t>(slot.chunk)] =
        std::max(most.of_chunk[static_cast<std::size_t>(slot.chunk)], of_chunk);
    most.together = std::max(most.together, together);
    most.with_deferred = std::max(most.with_deferred, together + deferred);
    if (is_backward(slot.action)) --of_chunk, --together;
    if (slot.action == PipelineAction::backward_input) ++deferred;
    most.deferred = std::max(most.deferred, deferred);
    if (slot.action == PipelineAction::backward_weight) --deferred;
  }
  return most;
}

// What a slot's rank sends when the slot ends, and who reads it where.
struct Message {
  double time = 0;
  int from = 0;
  int to = 0;
  PipelineSlot sent, read;

  bool is_before(const Message& other) const {
    return std::tie(time, from) < std::tie(other.time, other.from);
  }
};

// Which backward passes of each rank are in one piece: [rank][chunk * micro-batches + micro-batch].
std::vector<std::vector<bool>> whole_backward_passes(const PipelineTable& table) {
  std::vector<std::vector<bool>> whole;
  for (const std::vector<PipelineSlot>& slots : table.slots) {
    std::vector<bool>& of_rank = whole.emplace_back(static_cast<std::size_t>(table.chunks) *
                                                    static_cast<std::size_t>(table.micro_batches));
    for (const PipelineSlot& slot : slots) {
      if (slot.action != PipelineAction::backward) continue;
      const int index = slot.chunk * table.micro_batches + slot.micro_batch;
      of_rank[static_cast<std::size_t>(index)] = true;
    }
  }
  return whole;
}

// All messages in their order. Stages of one rank need none.
std::vector<Message> messages_of(const PipelineTable& table,
                                 const std::vector<std::vector<TimedSlot>>& slots) {
  const std::vector<std::vector<bool>> whole = whole_backward_passes(table);
  std::vector<Message> messages;
  for (int rank = 0; rank < table.ranks(); ++rank) {
    for (const TimedSlot& timed : slots[static_cast<std::size_t>(rank)]) {
      PipelineSlot read = timed.slot;
      if (read.action == PipelineAction::backward_weight) continue;
      const int stage =
          table.stage(rank, read.chunk) + (read.action == PipelineAction::forward ? 1 : -1);
      if (stage < 0 || stage == table.stages() || table.ranks() == 1) continue;
      const int to = stage % table.ranks();
      read.chunk = stage / table.ranks();
      if (is_backward(read.action)) {
        const int index = read.chunk * table.micro_batches + read.micro_batch;
        const bool in_one = whole[static_cast<std::size_t>(to)][static_cast<std::size_t>(index)];
        read.action = in_one ? PipelineAction::backward : PipelineAction::backward_input;
      }
      messages.push_back({timed.end, rank, to, timed.slot, read});
    }
  }
  std::sort(messages.begin(), messages.end(),
            [](const Message& a, const Message& b) { return a.is_before(b); });
  return messages;
}

std::vector<PipelineEvent> events_of(int rank, const std::vector<TimedSlot>& slots,
                                     const std::vector<Message>& messages) {
  std::vector<PipelineEvent> events;
  auto next = messages.begin();
  // Up to the first that is computed later than `time`, or that this rank sends later.
  const auto exchange = [&](double time) {
    for (; next != messages.end() && next->time <= time; ++next) {
      if (next->from == rank) {
        events.push_back({PipelineEvent::Kind::send, next->sent, next->to});
      } else if (next->to == rank) {
        events.push_back({PipelineEvent::Kind::receive, next->read, next->from});
      }
    }
  };
  for (const TimedSlot& timed : slots) {
    exchange(timed.begin);
    events.push_back({PipelineEvent::Kind::compute, timed.slot, -1});
  }
  if (!slots.empty()) exchange(slots.back().end);
  return events;
}

// The most messages that a rank has received and not begun to read.
int most_arrived(const std::vector<PipelineEvent>& events) {
  std::vector<PipelineSlot> arrived;
  std::size_t most = 0;
  for (const PipelineEvent& event : events) {
    if (event.kind == PipelineEvent::Kind::receive) arrived.push_back(event.slot);
    most = std::max(most, arrived.size());
    if (event.kind == PipelineEvent::Kind::compute) std::erase(arrived, event.slot);
  }
  return static_cast<int>(most);
}

}  // namespace

double PipelineCosts::of(PipelineAction action) const {
  switch (action) {
    case PipelineAction::forward:
      return forward;
    case PipelineAction::backward:
      return backward_input + backward_weight;
    case PipelineAction::backward_input:
      return backward_input;
    default:
      return backward_weight;
  }
}

PipelineSimulation simulate(const PipelineTable& table, std::span<const PipelineCosts> costs) {
  require<ConfigError>(
      costs.size() == 1 || costs.size() == static_cast<std::size_t>(table.stages()),
      "pipeline table: {} for {}; give one for all, or one for each", counted(costs.size(), "cost"),
      counted(table.stages(), "stage"));
  for (int rank = 0; rank < table.ranks(); ++rank) check_completeness(table, rank);

  PipelineSimulation result;
  result.slots = PipelineClock(table, costs).run();
  for (const auto& of_rank : result.slots) {
    if (!of_rank.empty()) result.length = std::max(result.length, of_rank.back().end);
  }
  const double work = work_of(result.slots);
  if (work > 0) result.bubble = table.ranks() * result.length / work - 1;
  const std::vector<Message> messages = messages_of(table, result.slots);
  for (int rank = 0; rank < table.ranks(); ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    result.kept.push_back(kept_by(table, table.slots[r]));
    result.events.push_back(events_of(rank, result.slots[r], messages));
    result.kept.back().arrived = most_arrived(result.events.back());
  }
  return result;
}

PipelineSimulation simulate(const PipelineTable& table, const PipelineCosts& costs) {
  return simulate(table, std::span(&costs, 1));
}

}  // namespace gda
