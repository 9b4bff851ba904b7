// Gradients, values and states over replicas, tensor ranks and stages, at every ZeRO stage, are
// those of one rank: bit for bit, since all sums are of whole numbers.
#include <gtest/gtest.h>

#include "gda/optim/logit_watch.h"
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

  // `broken`: a parameter whose gradient is no number on the last rank.
  void passes(std::int64_t step, const std::string& broken = {}) {
    one_.passes(step, kMicroBatches, [](std::size_t) {});
    if (world().rank() == world().size() - 1) many_.break_gradient(broken);
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

  void update(std::int64_t step, const std::vector<HeadFactors>& clips_of_one = {},
              const std::vector<HeadFactors>& clips_of_many = {}) {
    const UpdateStep options{
        .lr = 1e-2, .gradient_scale = 1.0 / 1024, .update = LaidOut::kBegun + step};
    one_.optimizer().update(one_.context(), options, clips_of_one);
    many_.optimizer().update(many_.context(), options, clips_of_many);
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

// So that all ranks go on, or none.
bool fails_anywhere() {
  return world().any(testing::Test::HasFailure());
}

// Steps with what a run may do: updates, one that is skipped behind its norm, and one that is given
// up before.
void expect_one_ranks_run(Pair& pair) {
  pair.expect_coverage();
  for (std::int64_t step = 1; step <= 4; ++step) {
    pair.passes(step);
    if (step != 3) pair.expect_norms();
    if (step == 2 || step == 3) {
      pair.zero();
    } else {
      pair.update(step);
    }
    if (fails_anywhere()) break;
  }
  pair.many().buckets().wait_all();
}

TEST(Layouts, AdamWIsThatOfOneRank) {
  for (const Layout& layout : layouts()) {
    const bool tied = layout.chunks == 1;
    const bool frozen = tied == (layout.zero == ZeroStage::two);
    SCOPED_TRACE(layout.str() + (tied ? ", tied" : "") + (frozen ? ", frozen" : ""));
    Pair pair(laid_out_model("grouped_differential", tied, frozen), layout,
              Groups(world(), layout, plain));
    expect_one_ranks_run(pair);
    ASSERT_FALSE(fails_anywhere());
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
    const bool tied = layout.chunks == 2;
    const bool frozen = tied == (layout.zero == ZeroStage::three);
    SCOPED_TRACE(layout.str() + (tied ? ", tied" : "") + (frozen ? ", frozen" : ""));
    LaidOutModel model = laid_out_model("grouped_differential", tied, frozen);
    model.optimizer = {.name = OptimizerName::muon};
    Pair pair(model, layout, Groups(world(), layout, plain));
    expect_one_ranks_run(pair);
    ASSERT_FALSE(fails_anywhere());
  }
}

// The noise of an element is that of its place in the whole tensor.
TEST(Layouts, StochasticRoundingIsThatOfOneRank) {
  for (const Layout& layout : layouts()) {
    if (layout.chunks > 1 || layout.zero == ZeroStage::two) continue;
    SCOPED_TRACE(layout.str());
    LaidOutModel model = laid_out_model("softmax", true, false);
    model.compute = DType::bf16;
    model.stochastic = true;
    Pair pair(model, layout, Groups(world(), layout, plain));
    expect_one_ranks_run(pair);
    ASSERT_FALSE(fails_anywhere());
  }
}

// Operations that are carried out at the last moment, and such whose results come then: what is
// read, or overwritten, before shows.
TEST(Layouts, WaitForWhatIsUnderWay) {
  for (const Layout& layout : layouts()) {
    if (layout.chunks > 1) continue;
    SCOPED_TRACE(layout.str());
    const LaidOutModel model = laid_out_model("softmax", true, layout.zero == ZeroStage::two);
    std::vector<std::unique_ptr<Communicator>> kept;
    const auto late = [&](Communicator& group) -> Communicator& {
      return *kept.emplace_back(std::make_unique<LateCommunicator>(group));
    };
    const auto at_last = [&](Communicator& group) -> Communicator& {
      return *kept.emplace_back(
          std::make_unique<OrderedCommunicator>(group, OperationOrder::when_waited_for));
    };
    {
      Pair pair(model, layout, Groups(world(), layout, at_last));
      expect_one_ranks_run(pair);
    }
    if (layout.pipeline == 1 && layout.tensor == 1) {
      Pair pair(model, layout, Groups(world(), layout, late));
      expect_one_ranks_run(pair);
    }
    ASSERT_FALSE(fails_anywhere());
  }
}

TEST(Layouts, NotFiniteAnywhereIsNotFiniteEverywhere) {
  for (const Layout& layout : layouts()) {
    if (layout.chunks > 1) continue;
    SCOPED_TRACE(layout.str());
    Pair pair(laid_out_model("softmax", true, false), layout, Groups(world(), layout, plain));
    std::int64_t step = 0;
    for (const char* name :
         {"model.norm.weight", "model.embed_tokens.weight", "model.layers.5.mlp.up_proj.weight"}) {
      pair.passes(++step, name);
      EXPECT_FALSE(std::isfinite(pair.many().buckets().gradient_norm(pair.many().context())))
          << name;
      pair.zero();
    }
    pair.passes(++step);
    pair.expect_norms();
    pair.update(step);
    pair.many().buckets().wait_all();
    ASSERT_FALSE(fails_anywhere());
  }
}

// Logits of a layer and a head, of which some are above the threshold; ranks have seen shares.
double logit(std::int64_t layer, std::int64_t head, double share) {
  return share * (60 + 20 * static_cast<double>((3 * layer + 5 * head) % 7));
}

void fill_logits(const Tensor& logits, const IndexRange& layers, std::int64_t first_head,
                 double share) {
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    for (std::int64_t head = 0; head < logits.dim(1); ++head) {
      logits.data<double>()[layer * logits.dim(1) + head] = logit(layer, first_head + head, share);
    }
  }
}

TEST(Layouts, QkClipIsThatOfOneRank) {
  for (const Layout& layout : layouts()) {
    if (layout.chunks > 1) continue;
    SCOPED_TRACE(layout.str());
    const LaidOutModel model = laid_out_model("grouped_differential", false, true);
    Pair pair(model, layout, Groups(world(), layout, plain));
    const QkClipConfig config{.threshold = 100, .every_steps = 1};
    const std::int64_t heads = model.config.attention.query_heads() / layout.tensor;
    const auto world_mesh = Mesh(
        world(), {.pipeline = layout.pipeline, .data = layout.replicas, .tensor = layout.tensor});
    const std::int64_t first = world_mesh.coordinate(Axis::tensor) * heads;
    const auto self = make_self_communicator();
    LogitWatch one(config, model.config, pair.one().parameters(), *self);
    LogitWatch many(config, model.config, model.specs, pair.many().parameters(), world(),
                    {first, first + heads});
    one.begin({});
    many.begin({});
    fill_logits(one.logits(), {0, model.config.num_hidden_layers}, 0, 1);
    // The first replica has seen the largest.
    const bool is_first = world_mesh.coordinate(Axis::data) == 0;
    const Stage stage =
        layout.pipeline == 1
            ? whole_model(model.config)
            : cut_into_stages(
                  model.config,
                  layout.pipeline)[static_cast<std::size_t>(world_mesh.coordinate(Axis::pipeline))];
    fill_logits(many.logits(), stage.layers, first, is_first ? 1 : 0.5);
    pair.passes(1);
    pair.expect_norms();
    pair.update(1, one.end({}), many.end({}));
    const SeenLogits expected = one.take_seen();
    const SeenLogits seen = many.take_seen();
    EXPECT_EQ(seen.largest, expected.largest);
    EXPECT_EQ(seen.clipped_heads, expected.clipped_heads);
    EXPECT_GT(seen.clipped_heads, 0);
    pair.many().buckets().wait_all();
    ASSERT_FALSE(fails_anywhere());
  }
}

}  // namespace
}  // namespace gda::test
