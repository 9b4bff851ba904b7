// What the ranks of a pipeline do, one thing after another, as tables; and a simulation that checks
// a table, times it, and says when what is sent.
//
// A model is cut into S = ranks * chunks stages along its depth. Chunk c of rank p is stage
// c * ranks + p, so the residual stream goes from rank p to rank p + 1, and from the last rank to
// the first one's next chunk. Before a stage passes micro-batch m forward the stage before has, and
// before it passes m backward it has itself passed it forward and the stage behind it backward.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gda/core/words.h"

namespace gda {

enum class PipelineSchedule : std::uint8_t { one_forward_one_backward, interleaved, zero_bubble };
template <>
inline constexpr auto kWordsOf<PipelineSchedule> = words("1f1b", "interleaved", "zero-bubble");

enum class PipelineAction : std::uint8_t {
  forward,
  backward,         // all of it
  backward_input,   // up to the gradient of the stage's input; products for weights are left
  backward_weight,  // what backward_input left
};
template <>
inline constexpr auto kWordsOf<PipelineAction> = words("forward", "backward", "backward_input",
                                                       "backward_weight");

struct PipelineSlot {
  PipelineAction action = PipelineAction::forward;
  int chunk = 0;
  int micro_batch = 0;

  bool operator==(const PipelineSlot&) const = default;
};

struct PipelineTable {
  int chunks = 1;  // of each rank
  int micro_batches = 0;
  std::vector<std::vector<PipelineSlot>> slots;  // of each rank, in its order

  int ranks() const { return static_cast<int>(slots.size()); }
  int stages() const { return ranks() * chunks; }
  int stage(int rank, int chunk) const { return chunk * ranks() + rank; }
};

// For m micro-batches, with F, B and W the time of a rank's forward pass, its backward pass up to
// the input and its products for weights. The bubble is idle time in units of the work, and what a
// rank keeps is in micro-batches of one chunk.
//
//   1f1b         bubble (ranks - 1) / m. Rank p first passes ranks - p - 1 micro-batches forward,
//                then one forward, one backward. Keeps ranks - p.
//   interleaved  bubble (ranks - 1) / (chunks m), for chunks times as many messages. Micro-batches
//                go in rounds of `ranks` through a rank's chunks; m is a multiple of `ranks`.
//                Keeps up to ranks * chunks + ranks - 1 - 2 p.
//   zero_bubble  bubble (ranks - 1) (F + B - W) / (m (F + B + W)), a third of 1f1b's where the
//                three cost the same. The order of 1f1b, but the products for weights, which
//                nothing waits for, stay p micro-batches behind the backward passes and fill its
//                pauses (ZB-H1 of "Zero Bubble Pipeline Parallelism", arXiv 2401.10241). Keeps
//                `ranks`, of p of them only what the products need.
//
// ConfigError for numbers below 1, chunks above 1 where the schedule has one, and an interleaved
// table whose micro-batches do not divide. One rank alternates in every schedule.
PipelineTable make_pipeline_table(PipelineSchedule schedule, int ranks, int chunks,
                                  int micro_batches);

// What is wrong with cutting a batch into so many micro-batches; empty: nothing.
std::string pipeline_problem(PipelineSchedule schedule, int ranks, int chunks, int micro_batches);

// Times of a stage's actions, in any unit; all above 0.
struct PipelineCosts {
  double forward = 1;
  double backward_input = 1;
  double backward_weight = 1;

  double of(PipelineAction action) const;  // backward: both halves
};

// What a rank does, in the order in which it does it.
struct PipelineEvent {
  enum class Kind : std::uint8_t { compute, send, receive };
  Kind kind = Kind::compute;
  // compute: what. send: the slot of this rank whose result goes out, receive: the one that reads
  // what comes in. Forward slots pass on the residual stream, the others its gradient.
  PipelineSlot slot;
  int peer = -1;  // pipeline rank at the other end of a message

  bool operator==(const PipelineEvent&) const = default;
};

struct TimedSlot {
  PipelineSlot slot;
  double begin = 0;
  double end = 0;
};

// Micro-batches that a rank keeps activations of, the most at once. One is kept from the beginning
// of its forward slot to the end of its backward or backward_input slot, and deferred from there to
// the end of its backward_weight slot.
struct PipelineKept {
  std::vector<int> of_chunk;  // of each chunk by itself
  int together = 0;           // of all chunks at one time
  int deferred = 0;           // of all chunks at one time
  // Of all chunks at one time, deferred ones included. At most together + deferred.
  int with_deferred = 0;
  int arrived = 0;  // messages that have come and that no slot has begun to read
};

struct PipelineSimulation {
  std::vector<std::vector<TimedSlot>> slots;  // of each rank
  double length = 0;                          // from the first slot's begin to the last one's end
  double bubble = 0;                          // ranks * length / sum of all costs - 1
  std::vector<PipelineKept> kept;             // of each rank
  // Of each rank: its slots in the table's order, and its messages. All messages of a pipeline have
  // one total order, that of the time at which what they carry is computed (of two at one time, the
  // lower sender's comes first), and each rank meets its own in it: a send follows its slot at
  // once, and a receive comes before the first slot that does not begin earlier than what it
  // carries is computed. So ranks that take one event after another, each message when both ends
  // are at it, cannot wait for each other in a circle.
  std::vector<std::vector<PipelineEvent>> events;
};

// `costs`: of every stage, or one for all of them. Messages take no time. ConfigError that names
// the rank and the slot if a slot is of a chunk or micro-batch that there is not, something happens
// twice or never, or ranks wait for each other for ever.
PipelineSimulation simulate(const PipelineTable& table, std::span<const PipelineCosts> costs);
PipelineSimulation simulate(const PipelineTable& table, const PipelineCosts& costs = {});

// The table as text, a line a rank and a column a unit of time at the default costs: the number of
// the micro-batch behind f, b (backward, or backward_input) or w, and the chunk behind a dot where
// there are several. A dot alone is a pause.
std::string draw(const PipelineTable& table);

}  // namespace gda
