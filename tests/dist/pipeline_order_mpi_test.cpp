// Two stages of two tensor ranks, which pass micro-batches to and fro: messages and collectives of
// several groups in one order that all ranks keep, on four ranks, one of them late.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <thread>
#include <vector>

#include "dist/backends.h"
#include "gda/dist/mesh.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::world;

constexpr int kStages = 2;
constexpr int kMicroBatches = 5;
// Beyond what MPI sends without the receiver's help, so that a message waits for its other end.
constexpr std::int64_t kElements = 30011 * 2;

struct Slot {
  bool backward = false;
  int micro_batch = 0;
};

// One forward, one backward: the first stage is one forward ahead.
std::vector<Slot> slots_of(int stage) {
  const int ahead = kStages - 1 - stage;
  std::vector<Slot> slots;
  for (int i = 0; i < kMicroBatches + ahead; ++i) {
    if (i < kMicroBatches) slots.push_back({false, i});
    if (i >= ahead) slots.push_back({true, i - ahead});
  }
  return slots;
}

// When a slot is done, and where: its place in the order of all ranks. A message has that of the
// slot that computes what it carries, and goes behind it.
struct Moment {
  int time = 0;
  int stage = 0;
  bool message = false;

  auto operator<=>(const Moment&) const = default;
};

struct Action {
  enum class Kind { compute, send, receive };
  Kind kind = Kind::compute;
  Slot slot;  // of a message: what computes what it carries
  Moment moment;
};

// Of every stage and slot, if each begins as soon as its stage and what it needs are done.
class Times {
 public:
  Times() {
    for (int round = 0; round < 2 * kMicroBatches * kStages; ++round) {
      for (int stage = 0; stage < kStages; ++stage) go_on(stage);
    }
  }
  int end(int stage, const Slot& slot) const {
    return ends_[stage][slot.backward][slot.micro_batch];
  }

 private:
  void go_on(int stage) {
    const std::vector<Slot> slots = slots_of(stage);
    if (done_[stage] == slots.size()) return;
    const Slot& next = slots[done_[stage]];
    int begin = free_[stage];
    if (next.backward != (stage == 1)) {
      const int needed = end(1 - stage, next);
      if (needed == 0) return;
      begin = std::max(begin, needed);
    }
    free_[stage] = ends_[stage][next.backward][next.micro_batch] = begin + (next.backward ? 3 : 2);
    ++done_[stage];
  }

  std::array<std::array<std::array<int, kMicroBatches>, 2>, kStages> ends_{};
  std::array<std::size_t, kStages> done_{};
  std::array<int, kStages> free_{};
};

// What a stage does, in the order of all ranks.
std::vector<Action> actions_of(int stage) {
  const Times times;
  std::vector<Action> actions;
  for (const Slot& slot : slots_of(stage)) {
    const Moment own{times.end(stage, slot), stage, false};
    actions.push_back({Action::Kind::compute, slot, own});
    // Forward the first stage sends, backward the second.
    if (slot.backward == (stage == 1)) {
      actions.push_back({Action::Kind::send, slot, {own.time, stage, true}});
    } else {
      actions.push_back(
          {Action::Kind::receive, slot, {times.end(1 - stage, slot), 1 - stage, true}});
    }
  }
  std::sort(actions.begin(), actions.end(),
            [](const Action& a, const Action& b) { return a.moment < b.moment; });
  return actions;
}

// A micro-batch on one rank: sums over tensor ranks stand for its products. Nothing but the end of
// a message's or a collective's wait says that its data is there.
class MicroBatch {
 public:
  MicroBatch(const Mesh& mesh, const Stream& stream, int number)
      : mesh_(mesh),
        stream_(stream),
        values_{OwnedTensor(DType::f32, {kElements}, stream.device),
                OwnedTensor(DType::f32, {kElements}, stream.device)},
        received_(DType::f32, {kElements}, stream.device),
        gathered_(DType::f32, {kElements}, stream.device) {
    fill_from_host(stream, values_[0].tensor, [&](const Tensor& host) {
      std::fill_n(host.data<float>(), kElements, static_cast<float>(number + 1));
    });
  }

  void compute(bool backward) {
    const Tensor& value = values_[backward].tensor;
    const bool is_first = !backward && mesh_.coordinate(Axis::pipeline) == 0;
    if (!is_first) {
      arrived_.wait();
      const bool is_turn = backward && mesh_.coordinate(Axis::pipeline) == 1;
      copy(stream_, is_turn ? values_[0].tensor : received_.tensor, value);
    }
    Communicator& group = mesh_.group(Axis::tensor);
    const std::int64_t part = kElements / group.size();
    group.all_reduce(value, Reduction::sum).wait();
    group.all_gather(value.rows(group.rank() * part, part), gathered_.tensor).wait();
  }
  void send(bool backward) {
    sent_ = mesh_.group(Axis::pipeline).send(values_[backward].tensor, backward ? 0 : 1);
  }
  void receive(bool backward) {
    arrived_ = mesh_.group(Axis::pipeline).receive(received_.tensor, backward ? 1 : 0);
  }

  void expect_all(float number) {
    sent_.wait();
    for (const Tensor& tensor : {values_[1].tensor, gathered_.tensor}) {
      const HostCopy host(stream_, tensor);
      for (std::int64_t i = 0; i < kElements; ++i) ASSERT_EQ(host[i], number) << i;
    }
  }

 private:
  const Mesh& mesh_;
  Stream stream_;
  std::array<OwnedTensor, 2> values_;  // forward and backward
  OwnedTensor received_;
  OwnedTensor gathered_;
  Pending arrived_;
  Pending sent_;
};

class PipelineOrderTest : public test::BackendTest {};

TEST_P(PipelineOrderTest, CannotDeadlockWhoeverIsLate) {
  if (world().size() != 4) GTEST_SKIP() << "for four ranks";
  const Mesh mesh(group(), {.pipeline = kStages, .tensor = 2});
  for (int late = 0; late < world().size(); ++late) {
    std::vector<MicroBatch> batches;
    for (int m = 0; m < kMicroBatches; ++m) batches.emplace_back(mesh, stream(), m);
    for (const Action& action : actions_of(mesh.coordinate(Axis::pipeline))) {
      MicroBatch& batch = batches[action.slot.micro_batch];
      const bool is_late = world().rank() == late && action.slot.micro_batch % 2 == 1;
      if (is_late) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (action.kind == Action::Kind::compute) batch.compute(action.slot.backward);
      if (action.kind == Action::Kind::send) batch.send(action.slot.backward);
      if (action.kind == Action::Kind::receive) batch.receive(action.slot.backward);
    }
    // Doubled by each slot: on the way there twice, and back.
    const float factor = mesh.coordinate(Axis::pipeline) == 0 ? 16 : 8;
    for (int m = 0; m < kMicroBatches; ++m) batches[m].expect_all(factor * (m + 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, PipelineOrderTest, test::all_backends(), test::name_of_backend);

}  // namespace
}  // namespace gda
