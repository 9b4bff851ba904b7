// A test of the tests of layouts: whatever a step's ranks tell each other, if one word of it were
// left out, the numbers that layouts_mpi_test.cpp compares would be others.
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gda/model/context_cut.h"
#include "gda/ops/linear_cross_entropy.h"
#include "gda/train/rank_layout.h"
#include "gda/train/trained_model.h"
#include "support/layout_run.h"
#include "support/mpi.h"
#include "support/omitting_communicator.h"

namespace gda {
namespace {

using enum PipelineSchedule;
using test::Layout;

constexpr std::int64_t kTokens = 12;

// Two documents.
Batch documents(std::int64_t vocabulary, std::uint64_t number) {
  Batch batch(1, kTokens);
  const Philox random(number, RandomPurpose::test, "omission");
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const std::int64_t start = t < 5 ? 0 : 5;
    const auto draw = [&](std::int64_t index) {
      return static_cast<std::int32_t>(random.bits(static_cast<std::uint64_t>(index)) %
                                       static_cast<std::uint64_t>(vocabulary));
    };
    batch.tokens.tensor.data<std::int32_t>()[t] = draw(t);
    batch.targets.tensor.data<std::int32_t>()[t] = t == 4 ? kIgnoreTarget : draw(t + 1);
    batch.position.tensor.data<std::int32_t>()[t] = static_cast<std::int32_t>(t - start);
    batch.first_key.tensor.data<std::int32_t>()[t] = static_cast<std::int32_t>(start);
  }
  return batch;
}

// What two steps leave on this rank; the operations of the first are numbered.
struct Numbers {
  std::vector<double> told;        // losses and norms
  std::vector<OwnedTensor> parts;  // of the buckets' values, behind the first step
};

bool differs(double found, double expected, double size) {
  // (what is not a number differs)
  return !(std::abs(found - expected) <= test::kLayoutRounding * std::abs(size));
}

bool differs(const Numbers& found, const Numbers& expected) {
  for (std::size_t i = 0; i < expected.told.size(); ++i) {
    if (differs(found.told[i], expected.told[i], expected.told[i])) return true;
  }
  for (std::size_t i = 0; i < expected.parts.size(); ++i) {
    const Tensor& part = expected.parts[i].tensor;
    const auto* values = part.data<double>();
    double largest = 0;
    for (std::int64_t j = 0; j < part.elements(); ++j) {
      largest = std::max(largest, std::abs(values[j]));
    }
    for (std::int64_t j = 0; j < part.elements(); ++j) {
      if (differs(found.parts[i].tensor.data<double>()[j], values[j], largest)) return true;
    }
  }
  return false;
}

class OmissionTest : public ::testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    if (GetParam().ranks() != test::world().size()) GTEST_SKIP() << "of another number of ranks";
    config_.model = test::layout_model(GetParam());
    config_.model.num_hidden_layers = GetParam().chunks * 2;
    config_.optimizer.eps = 1e-4;
    test::add_feature(config_, GetParam().feature);
    test::cut(config_, GetParam());
    mesh_ = std::make_unique<Mesh>(groups_, config_.parallel.mesh(world_.size()));
    cut_ = context_cut(config_.model, config_.parallel.context_method,
                       mesh_->coordinate(Axis::context), mesh_->size(Axis::context),
                       mesh_->size(Axis::tensor));
    // One where each of very many operations is left out of a step of all of them.
    const std::size_t micro_batches = GetParam().pipeline * GetParam().tensor > 2 ? 1 : 2;
    for (std::size_t i = 0; i < micro_batches; ++i) {
      const Batch whole = documents(config_.model.vocab_size,
                                    i * static_cast<std::size_t>(mesh_->size(Axis::data)) +
                                        static_cast<std::size_t>(mesh_->coordinate(Axis::data)));
      batches_.emplace_back();
      batches_.back().take_part(whole, cut_);
    }
  }

  std::unique_ptr<TrainedModel> make_model() {
    const auto placements =
        rank_layout(config_.model, config_.parallel, mesh_->coordinate(Axis::pipeline),
                    mesh_->coordinate(Axis::tensor));
    auto model = std::make_unique<TrainedModel>(
        TrainedModelOptions{
            .config = config_.model,
            .specs = parameter_specs(config_.model),
            .compute = DType::f64,
            .recompute = GetParam().recompute,
            .optimizer = config_.optimizer,
            .checkpoints = {},
            .checkpoint = {},
            .device = {},
            .placements = placements,
            .context_method = cut_.method,
            .zero_stage = config_.parallel.zero(),
            .pipeline = {.schedule = config_.parallel.schedule, .chunks = GetParam().chunks}},
        world_, *mesh_);
    model->buckets.initialize(5, {});
    model->optimizer.copy_masters_from_values({Stream{}, arena_});
    return model;
  }

  Numbers run(const std::string& left_out) {
    const auto model = make_model();
    const Context context{Stream{}, arena_};
    LossGuard guard({});
    PhaseTimer timer;
    Numbers numbers;
    const auto step = [&](std::int64_t update) {
      const StepResult result = model->step.run(
          context, batches_, {.lr = 2e-3, .update = update, .gradient_clip = 0.1}, guard, timer);
      numbers.told.insert(numbers.told.end(), {result.loss, result.gradient_norm});
    };
    omission_.begin(left_out);
    step(1);
    omission_.end();
    for (std::size_t i = 0; i < model->parameters.buckets().size(); ++i) {
      const Tensor& value = model->buckets.part(i).value;
      numbers.parts.emplace_back(value.dtype(), value.shape());
      std::memcpy(numbers.parts.back().tensor.raw(), value.raw(), value.bytes());
    }
    step(2);
    model->buckets.wait_all();
    return numbers;
  }

  // Of all ranks.
  static std::vector<std::string> together(const std::vector<std::string>& met) {
    std::vector<std::string> all;
    for (int rank = 0; rank < test::world().size(); ++rank) {
      std::istringstream lines(
          test::world().broadcast(fmt::format("{}", fmt::join(met, "\n")), rank));
      for (std::string line; std::getline(lines, line);) {
        if (std::find(all.begin(), all.end(), line) == all.end()) all.push_back(line);
      }
    }
    return all;
  }

  test::Omission omission_;
  // Two names for all ranks: of those that a mesh's groups may be, and of those that decide.
  test::OmittingCommunicator groups_{test::world(), omission_, "a group of all ranks"};
  test::OmittingCommunicator world_{test::world(), omission_, "the world", true};
  RunConfig config_;
  std::unique_ptr<Mesh> mesh_;
  ContextCut cut_;
  std::vector<Batch> batches_;
  Arena arena_;
};

TEST_P(OmissionTest, NothingCanBeLeftOut) {
  const Numbers expected = run("");
  const std::vector<std::string> operations = together(omission_.met());
  ASSERT_FALSE(operations.empty());
  ASSERT_FALSE(test::world().any(differs(run(""), expected)));
  std::vector<std::string> idle;
  for (const std::string& operation : operations) {
    if (!test::world().any(differs(run(operation), expected))) idle.push_back(operation);
  }
  EXPECT_TRUE(idle.empty()) << "of " << operations.size()
                            << " operations, these can be left out unseen:\n"
                            << fmt::format("{}", fmt::join(idle, "\n"));
}

std::string name_of_omission(const ::testing::TestParamInfo<Layout>& layout) {
  return layout.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    TwoRanks, OmissionTest,
    ::testing::Values(
        Layout{.name = "tensor", .tensor = 2, .activation = "poly_norm", .tied = true},
        Layout{.name = "tensor_muon",
               .tensor = 2,
               .attention = "differential_v2",
               .recompute = Recompute::full,
               .feature = "muon"},
        Layout{.name = "ulysses",
               .context = 2,
               .method = ContextMethod::ulysses,
               .attention = "differential_v2"},
        Layout{.name = "gather", .context = 2, .method = ContextMethod::gather},
        Layout{.name = "pipeline", .pipeline = 2, .tied = true},
        Layout{.name = "zero_bubble",
               .pipeline = 2,
               .schedule = zero_bubble,
               .attention = "differential",
               .recompute = Recompute::selective},
        Layout{.name = "interleaved", .pipeline = 2, .schedule = interleaved, .chunks = 2},
        Layout{.name = "zero_1_muon", .data = 2, .feature = "muon"},
        Layout{.name = "zero_2", .data = 2, .zero = 2, .tied = true},
        Layout{.name = "zero_3", .data = 2, .zero = 3, .recompute = Recompute::full}),
    name_of_omission);

INSTANTIATE_TEST_SUITE_P(FourRanks, OmissionTest,
                         ::testing::Values(Layout{.name = "pipeline_tensor",
                                                  .tensor = 2,
                                                  .pipeline = 2,
                                                  .schedule = zero_bubble,
                                                  .activation = "poly_norm",
                                                  .tied = true},
                                           Layout{.name = "zero_3_gather",
                                                  .data = 2,
                                                  .context = 2,
                                                  .zero = 3,
                                                  .method = ContextMethod::gather}),
                         name_of_omission);

}  // namespace
}  // namespace gda
