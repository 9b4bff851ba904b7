// Gradients, values and states over replicas, tensor ranks and stages, at every ZeRO stage, are
// those of one rank: bit for bit, since all sums are of whole numbers.
#include <gtest/gtest.h>

#include "gda/core/error.h"
#include "optim/laid_out.h"
#include "support/late_communicator.h"
#include "support/mpi.h"
#include "support/ordered_communicator.h"

namespace gda::test {
namespace {

constexpr int kMicroBatches = 2;

// One rank beside the layout, in lockstep.
class Pair {
 public:
  Pair(const LaidOutModel& model, const Layout& layout, Groups groups)
      : one_(model, {}, Groups()), many_(model, layout, std::move(groups)) {
    for (const OptimizerPiece& piece : one_.optimizer().pieces()) {
      whole_[piece.spec().name] = &piece;
    }
  }

  LaidOut& one() { return one_; }
  LaidOut& many() { return many_; }

  void passes(std::int64_t step) {
    one_.passes(step, kMicroBatches, [](std::size_t) {});
    many_.passes(step, kMicroBatches, [&](std::size_t bucket) { expect_values(bucket); });
  }

  // Both norms; every rank has the same bits.
  void expect_norms() {
    const double one = one_.buckets().gradient_norm(one_.context());
    const double many = many_.buckets().gradient_norm(many_.context());
    EXPECT_EQ(world().all_reduce(many, Reduction::min), world().all_reduce(many, Reduction::max));
    // Squares below 2^53 are exact only in part; each of some 10^4 additions rounds once.
    EXPECT_NEAR(many / one, 1, 1e4 * std::numeric_limits<double>::epsilon());
    expect_pieces("gradient", [](const OptimizerPiece& piece) { return piece.gradient; });
  }

  void update(std::int64_t step) {
    const UpdateStep options{
        .lr = 1e-2, .gradient_scale = 1.0 / 1024, .update = LaidOut::kBegun + step};
    one_.optimizer().update(one_.context(), options);
    many_.optimizer().update(many_.context(), options);
    expect_states();
  }

  void zero() {
    one_.buckets().zero(one_.context());
    many_.buckets().zero(many_.context());
  }

  void expect_states() {
    expect_pieces("value", [](const OptimizerPiece& piece) { return piece.value; });
    expect_pieces("master", [](const OptimizerPiece& piece) { return piece.master; });
    for (std::size_t i = 0; i < 2; ++i) {
      expect_pieces("state", [i](const OptimizerPiece& piece) {
        return i < piece.states.size() ? piece.states[i].tensor : Tensor();
      });
    }
  }

  // Each element of the model has one rank that speaks for it.
  void expect_coverage() {
    std::int64_t held = 0;
    for (const OptimizerPiece& piece : many_.optimizer().pieces()) {
      if (piece.parameter->is_primary) held += piece.length;
    }
    EXPECT_EQ(world().all_reduce(held, Reduction::sum), one_.parameters().count());
  }

 private:
  void expect_values(std::size_t bucket) {
    for (const std::size_t index : many_.parameters().buckets()[bucket].parameters) {
      const Parameter& parameter = many_.parameters().all()[index];
      OptimizerPiece whole;
      whole.parameter = &parameter;
      whole.length = parameter.region.elements();
      whole.value = parameter.value;
      expect_same(whole, "value in use", [](const OptimizerPiece& piece) { return piece.value; });
    }
  }

  template <class F>
  void expect_pieces(const char* what, const F& tensor_of) {
    for (const OptimizerPiece& piece : many_.optimizer().pieces()) {
      expect_same(piece, what, tensor_of);
    }
  }

  template <class F>
  void expect_same(const OptimizerPiece& piece, const char* what, const F& tensor_of) {
    const Tensor expected = tensor_of(*whole_.at(piece.spec().name));
    const Tensor found = tensor_of(piece);
    ASSERT_EQ(expected.empty(), found.empty()) << what << " of " << piece.spec().name;
    if (!found) return;
    std::int64_t differences = 0;
    LaidOut::for_each(piece, [&](std::int64_t global, std::int64_t local) {
      differences += same_element(expected, global, found, local) ? 0 : 1;
    });
    EXPECT_EQ(differences, 0) << what << " of " << piece.spec().name;
  }

  LaidOut one_;
  LaidOut many_;
  std::map<std::string, const OptimizerPiece*> whole_;
};

Communicator& plain(Communicator& group) {
  return group;
}

// All layouts of as many ranks as there are, with one and two stages a rank.
std::vector<Layout> layouts() {
  std::vector<Layout> all;
  const int ranks = world().size();
  for (const int pipeline : {1, 2, 3}) {
    for (const int tensor : {1, 2}) {
      if (ranks % (pipeline * tensor) != 0) continue;
      for (const ZeroStage zero : {ZeroStage::one, ZeroStage::two, ZeroStage::three}) {
        for (const int chunks : {1, 2}) {
          all.push_back({.pipeline = pipeline,
                         .replicas = ranks / (pipeline * tensor),
                         .tensor = tensor,
                         .chunks = chunks,
                         .zero = zero});
        }
      }
    }
  }
  return all;
}

// Steps with what a run may do: updates, one that is skipped behind its norm, and one that is given
// up before.
void expect_one_ranks_run(Pair& pair) {
  pair.expect_coverage();
  for (std::int64_t step = 1; step <= 5; ++step) {
    pair.passes(step);
    if (step != 4) pair.expect_norms();
    if (step == 2 || step == 4) {
      pair.zero();
    } else {
      pair.update(step);
    }
    if (testing::Test::HasFailure()) break;
  }
  pair.many().buckets().wait_all();
}

TEST(Layouts, AdamWIsThatOfOneRank) {
  for (const Layout& layout : layouts()) {
    for (const bool tied : {false, true}) {
      const bool frozen = tied == (layout.chunks == 2);
      SCOPED_TRACE(layout.str() + (tied ? ", tied" : "") + (frozen ? ", frozen" : ""));
      Pair pair(laid_out_model("grouped_differential", tied, frozen), layout,
                Groups(world(), layout, plain));
      expect_one_ranks_run(pair);
      ASSERT_FALSE(HasFailure());
    }
  }
}

// Stages exchange the gradient of a large table in pieces, of 2^20 elements.
TEST(Layouts, ALargeTiedTableIsThatOfOneRank) {
  if (world().size() != 2) GTEST_SKIP() << "takes two ranks";
  LaidOutModel model = laid_out_model("softmax", true, false);
  model.config.vocab_size = (5 << 18) / model.config.hidden_size + 1;
  model.specs = parameter_specs(model.config);
  const Layout layout{.pipeline = 2};
  Pair pair(model, layout, Groups(world(), layout, plain));
  pair.passes(1);
  pair.update(1);
}

TEST(Layouts, MuonIsThatOfOneRank) {
  for (const Layout& layout : layouts()) {
    const bool frozen = layout.chunks == 2;
    SCOPED_TRACE(layout.str() + (frozen ? ", frozen" : ""));
    LaidOutModel model = laid_out_model("grouped_differential", !frozen, frozen);
    model.optimizer = {.name = OptimizerName::muon};
    Pair pair(model, layout, Groups(world(), layout, plain));
    expect_one_ranks_run(pair);
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace gda::test
