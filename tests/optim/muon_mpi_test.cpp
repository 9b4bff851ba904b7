// Muon on several ranks does what one rank does, whatever travels when.
#include "gda/optim/muon.h"

#include <gtest/gtest.h>

#include <cstring>

#include "gda/core/philox.h"
#include "gda/optim/optimizer.h"
#include "support/mpi.h"
#include "support/ordered_communicator.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

// A model and its optimizer; gradients follow from names and steps alone.
class Trained {
 public:
  Trained(DType compute, Communicator& group, bool frozen)
      : group_(group),
        parameters_(specs(frozen), compute, group.size(), true),
        buckets_(parameters_, group),
        optimizer_(buckets_, make_update_rules({.name = OptimizerName::muon}, buckets_)) {
    parameters_.initialize(3);
    optimizer_.copy_masters_from_values(context());
  }

  void update(std::int64_t step) {
    for (const Parameter& parameter : parameters_.all()) {
      if (parameter.gradient) fill(parameter, step);
    }
    for (std::size_t i = 0; i < parameters_.buckets().size(); ++i) {
      if (parameters_.buckets()[i].trainable) buckets_.reduce(i);
    }
    buckets_.gradient_norm(context());
    optimizer_.update(context(), {.lr = 1e-2, .update = step});
    buckets_.wait_all();
  }

  const ParameterStore& parameters() const { return parameters_; }
  const Optimizer& optimizer() const { return optimizer_; }

 private:
  // Layers of unequal size: some rank owns more matrices than another.
  static std::vector<ParameterSpec> specs(bool frozen) {
    std::vector<ParameterSpec> all = parameter_specs(test::tiny_config("grouped_differential"));
    for (ParameterSpec& spec : all) {
      spec.trainable = !frozen || (spec.layer == 1 && spec.role != Role::key) || spec.layer < 0;
    }
    return all;
  }
  Context context() { return {Stream{}, arena_}; }
  // Whole numbers, so that shares of ranks (rank r of n adds r + 1 parts) sum exactly: 60 divides
  // by the sums of 1 to n for n up to 5.
  void fill(const Parameter& parameter, std::int64_t step) const {
    const Philox random(static_cast<std::uint64_t>(step), RandomPurpose::test, parameter.spec.name);
    const int ranks = group_.size();
    const double share = (group_.rank() + 1) * 2.0 / (ranks * (ranks + 1));
    for (std::int64_t i = 0; i < parameter.gradient.elements(); ++i) {
      const double value =
          60 * std::floor(64 * random.normal(static_cast<std::uint64_t>(i))) * share;
      if (parameter.gradient.dtype() == DType::f64) {
        parameter.gradient.data<double>()[i] = value;
      } else {
        parameter.gradient.data<float>()[i] = static_cast<float>(value);
      }
    }
  }

  Communicator& group_;
  Arena arena_;
  ParameterStore parameters_;
  GradientBuckets buckets_;
  Optimizer optimizer_;
};

void expect_equal(const Trained& one, const Trained& many, const std::string& what) {
  for (const Parameter& parameter : one.parameters().all()) {
    const Tensor& x = parameter.value;
    const Tensor& y = many.parameters().at(parameter.spec.name).value;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.bytes()), 0) << what << " " << parameter.spec.name;
  }
  for (const OptimizerPiece& piece : many.optimizer().pieces()) {
    for (const OptimizerPiece& whole : one.optimizer().pieces()) {
      if (whole.spec().name != piece.spec().name) continue;
      for (std::size_t i = 0; i < piece.states.size(); ++i) {
        const Tensor part = whole.states[i].tensor.rows(piece.offset, piece.length);
        EXPECT_EQ(std::memcmp(part.raw(), piece.states[i].tensor.raw(), part.bytes()), 0)
            << what << " " << piece.states[i].name << " of " << piece.spec().name;
      }
    }
  }
}

TEST(MuonRanks, UpdatesAreThoseOfOneRank) {
  const auto self = make_self_communicator();
  for (const DType compute : {DType::f64, DType::f32, DType::bf16}) {
    for (const bool frozen : {false, true}) {
      for (const auto order :
           {test::OperationOrder::at_once, test::OperationOrder::when_waited_for}) {
        test::OrderedCommunicator ordered(test::world(), order);
        Trained one(compute, *self, frozen);
        Trained many(compute, ordered, frozen);
        Trained background(compute, test::world(), frozen);
        for (std::int64_t step = 1; step <= 3; ++step) {
          one.update(step);
          many.update(step);
          background.update(step);
          const std::string what = std::string(name_of(compute)) + " " + std::to_string(step);
          expect_equal(one, many, what);
          expect_equal(one, background, what);
        }
      }
    }
  }
}

}  // namespace
}  // namespace gda
