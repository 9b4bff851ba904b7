// Tensor and context parallelism: the losses, logits and gradients of one rank.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "layout.h"
#include "support/mpi.h"

namespace gda {
namespace {

using test::is_possible;
using test::kShardedLength;
using test::Layout;
using test::layouts;
using test::number;
using test::PartOfBatch;
using test::ShardedCase;
using test::ShardedModel;
using test::WholeBatch;

// Sums of a few hundred products that are cut elsewhere, through three layers: some 1e-13 of the
// largest element; a term that is left out, or counted twice, is at least a thousandth of it.
constexpr double kLayoutTolerance = 1e-11;

double largest_of(const Tensor& x) {
  double largest = 0;
  for (std::int64_t i = 0; i < x.elements(); ++i)
    largest = std::max(largest, std::abs(number(x, i)));
  return largest;
}

// A layout beside one rank, each with the gradients of one batch.
class Comparison {
 public:
  Comparison(const ShardedCase& which, const Layout& layout)
      : which_(which),
        layout_(layout),
        config_(test::sharded_config(which, test::world().size() == 3 ? 3 : 4)),
        batch_(config_, which.batch, which.documents),
        judge_(which, config_, 1, {}),
        sharded_(which, config_, which.stages, layout.groups(which.method)),
        whole_(batch_, judge_.cut()),
        part_(batch_, sharded_.cut()),
        statistics_(accumulate_type(which.compute)) {}

  void expect_same_training() {
    const OwnedTensor wanted(statistics_, {rows(whole_)});
    const OwnedTensor found(statistics_, {rows(part_)});
    const OwnedTensor wanted_logits = logits_of_heads(judge_);
    const OwnedTensor found_logits = logits_of_heads(sharded_);
    for (int pass = 0; pass < 2; ++pass) {
      judge_.train(whole_, wanted.tensor, wanted_logits.tensor);
      sharded_.train(part_, found.tensor, found_logits.tensor);
    }
    expect_rows(found.tensor, wanted.tensor, "losses");
    expect_heads(found_logits.tensor, wanted_logits.tensor);
    for (const Parameter& parameter : judge_.parameters.front()->all()) {
      if (parameter.spec.trainable) expect_gradient(parameter);
    }
  }

  // The 2-norm of the difference of the gradients, of this rank's parts.
  double difference_of_gradients() {
    const OwnedTensor wanted(statistics_, {rows(whole_)});
    const OwnedTensor found(statistics_, {rows(part_)});
    judge_.train(whole_, wanted.tensor);
    sharded_.train(part_, found.tensor);
    double squares = 0;
    for (const Parameter& parameter : judge_.parameters.front()->all()) {
      compare_gradient(parameter, [&](double one, double other, std::int64_t) {
        squares += (one - other) * (one - other);
      });
    }
    return std::sqrt(squares);
  }

  void expect_same_inference() {
    const OwnedTensor wanted_loss(statistics_, {rows(whole_)});
    const OwnedTensor found_loss(statistics_, {rows(part_)});
    const OwnedTensor wanted(statistics_, {rows(whole_), config_.vocab_size});
    const OwnedTensor found(statistics_, {rows(part_), config_.vocab_size});
    const auto infer = [](ShardedModel& model, const PartOfBatch& part, const Tensor& loss,
                          const Tensor& logits) {
      const ArenaScope scope(model.arena);
      const Tensor stream = model.infer(part);
      model.decoders.back().loss_of(model.context(), stream, part.target.tensor, loss);
      model.decoders.back().logits_of(model.context(), stream, logits);
    };
    infer(judge_, whole_, wanted_loss.tensor, wanted.tensor);
    infer(sharded_, part_, found_loss.tensor, found.tensor);
    expect_rows(found_loss.tensor, wanted_loss.tensor, "losses without gradients");
    expect_rows(found.tensor, wanted.tensor, "logits");
  }

  void expect_same_generation() {
    constexpr std::int64_t kTokens = 8;
    KvCache wanted_cache = judge_.decoders.front().make_cache(kTokens);
    std::vector<KvCache> caches;
    for (const Decoder& decoder : sharded_.decoders) caches.push_back(decoder.make_cache(kTokens));
    const OwnedTensor wanted(statistics_, {1, config_.vocab_size});
    const OwnedTensor found(statistics_, {1, config_.vocab_size});
    for (const auto& [begin, count] : {std::pair{0, 3}, {3, 1}, {4, 4}}) {
      const Tensor token = whole_.token.tensor.rows(begin, count);
      judge_.decoders.front().forward_cached(judge_.context(), token, wanted_cache, wanted.tensor);
      const ArenaScope scope(sharded_.arena);
      const SequenceBatch batch = single_document(sharded_.context(), token, begin);
      Tensor stream;
      for (std::size_t s = 0; s < caches.size(); ++s) {
        stream = sharded_.decoders[s].infer(sharded_.context(), batch, stream, &caches[s]);
      }
      sharded_.decoders.back().logits_of(sharded_.context(), stream.rows(count - 1, 1),
                                         found.tensor);
      expect_near(found.tensor, wanted.tensor, 0, "generation");
    }
  }

 private:
  static std::int64_t rows(const PartOfBatch& part) {
    return static_cast<std::int64_t>(part.rows.size());
  }
  OwnedTensor logits_of_heads(const ShardedModel& model) const {
    OwnedTensor result(statistics_,
                       {config_.num_hidden_layers, model.decoders.front().query_heads().size()});
    for (std::int64_t i = 0; i < result.tensor.elements(); ++i) {
      if (statistics_ == DType::f64) {
        result.tensor.data<double>()[i] = -std::numeric_limits<double>::infinity();
      } else {
        result.tensor.data<float>()[i] = -std::numeric_limits<float>::infinity();
      }
    }
    return result;
  }

  // `found` is that of `wanted` from element `begin`.
  void expect_near(const Tensor& found, const Tensor& wanted, std::int64_t begin,
                   const std::string& what) const {
    const double bound = kLayoutTolerance * largest_of(wanted);
    for (std::int64_t i = 0; i < found.elements(); ++i) {
      ASSERT_NEAR(number(found, i), number(wanted, begin + i), bound)
          << layout_.str() << ": " << what << " " << i;
    }
  }
  // Of the rows of this rank's part.
  void expect_rows(const Tensor& found, const Tensor& wanted, const std::string& what) const {
    const double bound = kLayoutTolerance * largest_of(wanted);
    const std::int64_t width = found.elements() / rows(part_);
    for (std::int64_t i = 0; i < found.elements(); ++i) {
      const std::int64_t row = part_.rows[static_cast<std::size_t>(i / width)];
      ASSERT_NEAR(number(found, i), number(wanted, row * width + i % width), bound)
          << layout_.str() << ": " << what << " " << i;
    }
  }
  // Each head's largest logit; with gather each rank has that of its own tokens.
  void expect_heads(const Tensor& found, const Tensor& wanted) const {
    if (sharded_.cut().method == ContextMethod::gather) {
      layout_.context->all_reduce(found, Reduction::max).wait();
    }
    const IndexRange& heads = sharded_.decoders.front().query_heads();
    for (std::int64_t layer = 0; layer < found.dim(0); ++layer) {
      expect_near(found.rows(layer, 1), wanted.rows(layer, 1), heads.begin, "largest logits");
    }
  }

  void expect_gradient(const Parameter& wanted) const {
    const double bound = kLayoutTolerance * largest_of(wanted.gradient);
    compare_gradient(wanted, [&](double found, double expected, std::int64_t i) {
      ASSERT_NEAR(found, expected, bound) << layout_.str() << ": " << wanted.spec.name << " " << i;
    });
  }
  // Calls compare(found, wanted, index) for each element of this rank's part of the gradient,
  // completed as the spec says.
  template <class Compare>
  void compare_gradient(const Parameter& wanted, const Compare& compare) const {
    const std::string& name = wanted.spec.name;
    OwnedTensor sum;
    Region region;
    for (const auto& store : sharded_.parameters) {
      const Parameter* parameter = store->find(name);
      if (parameter == nullptr) continue;
      region = parameter->region;
      if (!sum.tensor) sum = OwnedTensor(statistics_, {region.elements()});
      for (std::int64_t i = 0; i < region.elements(); ++i) {
        const double value = number(sum.tensor, i) + number(parameter->gradient, i);
        if (statistics_ == DType::f64) {
          sum.tensor.data<double>()[i] = value;
        } else {
          sum.tensor.data<float>()[i] = static_cast<float>(value);
        }
      }
    }
    ASSERT_TRUE(sum.tensor) << name;
    layout_.context->all_reduce(sum.tensor, Reduction::sum).wait();
    const Completion completion = wanted.spec.completion;
    if (completion == Completion::partial_by_head || completion == Completion::partial_by_token) {
      layout_.tensor->all_reduce(sum.tensor, Reduction::sum).wait();
    }
    for (const Stretch& stretch : stretches(region, wanted.spec.shape, 0, region.elements())) {
      for (std::int64_t i = 0; i < stretch.length; ++i) {
        compare(number(sum.tensor, stretch.local + i), number(wanted.gradient, stretch.global + i),
                stretch.global + i);
      }
    }
  }

  ShardedCase which_;
  const Layout& layout_;
  ModelConfig config_;
  WholeBatch batch_;
  ShardedModel judge_, sharded_;
  PartOfBatch whole_, part_;
  DType statistics_;
};

void expect_all_layouts(const ShardedCase& which) {
  for (const auto& [tensor, context] : layouts()) {
    if (!is_possible(which, context)) continue;
    const Layout layout(tensor, context);
    Comparison comparison(which, layout);
    comparison.expect_same_training();
    if (::testing::Test::HasFatalFailure()) return;
  }
}

class LayoutsTest : public ::testing::TestWithParam<const char*> {
 protected:
  ShardedCase which() const {
    ShardedCase result;
    result.attention = GetParam();
    return result;
  }
};

TEST_P(LayoutsTest, Ulysses) {
  ShardedCase a = which();
  expect_all_layouts(a);
  a.act = "poly_norm";
  a.tied = true;
  a.masked = true;
  a.recompute = Recompute::selective;
  expect_all_layouts(a);
}

TEST_P(LayoutsTest, Gather) {
  ShardedCase a = which();
  a.method = ContextMethod::gather;
  a.act = "poly_norm";
  expect_all_layouts(a);
  a.documents = false;
  a.masked = true;
  a.tied = true;
  a.recompute = Recompute::full;
  a.batch = 1;
  expect_all_layouts(a);
}

TEST_P(LayoutsTest, RecomputationStagesAndPutOffProducts) {
  ShardedCase a = which();
  a.recompute = Recompute::full;
  a.stages = 2;
  a.batch = 1;
  a.tied = true;
  a.deferred = true;
  expect_all_layouts(a);
  a.recompute = Recompute::selective;
  a.method = ContextMethod::gather;
  a.stages = 3;
  a.tied = false;
  a.act = "poly_norm";
  a.batch = 2;
  expect_all_layouts(a);
}

TEST_P(LayoutsTest, WhatIsFrozen) {
  const std::map<std::string, test::Chooses> choices = {
      {"last layer", [](const ParameterSpec& spec) { return spec.layer == 2; }},
      {"vectors", [](const ParameterSpec& spec) { return !spec.is_matrix(); }},
      {"all but keys and the head",
       [](const ParameterSpec& spec) { return spec.role != Role::key && spec.role != Role::head; }},
      {"head", [](const ParameterSpec& spec) { return spec.role == Role::head; }}};
  for (const auto& [name, trainable] : choices) {
    SCOPED_TRACE(name);
    ShardedCase a = which();
    a.trainable = trainable;
    a.deferred = name == "last layer";
    a.act = "poly_norm";
    expect_all_layouts(a);
  }
}

TEST_P(LayoutsTest, InferenceAndGeneration) {
  for (const ContextMethod method : {ContextMethod::automatic, ContextMethod::gather}) {
    ShardedCase a = which();
    a.method = method;
    a.act = method == ContextMethod::gather ? "silu" : "poly_norm";
    a.masked = true;
    a.stages = method == ContextMethod::gather ? 2 : 1;
    for (const auto& [tensor, context] : layouts()) {
      if (!is_possible(a, context)) continue;
      const Layout layout(tensor, context);
      Comparison comparison(a, layout);
      comparison.expect_same_inference();
      comparison.expect_same_generation();
    }
  }
}

// The 2-norm of the error of one rank's gradients: against the same weights in f64.
double rounding_of_one_rank(const ShardedCase& which, const ModelConfig& config) {
  ShardedCase exact = which;
  exact.compute = DType::f64;
  ShardedModel model(which, config, 1, {});
  ShardedModel truth(exact, config, 1, {});
  for (const Parameter& parameter : model.parameters.front()->all()) {
    const Tensor& to = truth.parameters.front()->at(parameter.spec.name).value;
    for (std::int64_t i = 0; i < to.elements(); ++i) {
      to.data<double>()[i] = number(parameter.value, i);
    }
  }
  const WholeBatch batch(config, which.batch, which.documents);
  const PartOfBatch part(batch, model.cut());
  const std::int64_t rows = which.batch * kShardedLength;
  const OwnedTensor loss(accumulate_type(which.compute), {rows});
  const OwnedTensor exact_loss(DType::f64, {rows});
  model.train(part, loss.tensor);
  truth.train(part, exact_loss.tensor);
  double squares = 0;
  for (const Parameter& parameter : model.parameters.front()->all()) {
    const Tensor& wanted = truth.parameters.front()->at(parameter.spec.name).gradient;
    for (std::int64_t i = 0; i < wanted.elements(); ++i) {
      const double error = number(parameter.gradient, i) - number(wanted, i);
      squares += error * error;
    }
  }
  return std::sqrt(squares);
}

// A layout rounds as often as one rank, at other places: its errors are of the same size, and the
// difference is at most both together. Twice that is for chance, since a few roundings near the
// loss move all gradients. (A term that is left out is found in f64.)
TEST(Layouts, NarrowTypesAreWithinTheirRounding) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    ShardedCase a;
    a.act = "poly_norm";
    a.compute = compute;
    const ModelConfig config = test::sharded_config(a, test::world().size() == 3 ? 3 : 4);
    const double rounding = rounding_of_one_rank(a, config);
    for (const auto& [tensor, context] : layouts()) {
      const Layout layout(tensor, context);
      Comparison comparison(a, layout);
      const double difference = comparison.difference_of_gradients();
      EXPECT_LE(difference, 4 * rounding) << layout.str();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LayoutsTest,
                         ::testing::Values("softmax", "differential", "grouped_differential",
                                           "differential_v2"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace gda
