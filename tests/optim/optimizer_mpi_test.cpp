// The optimizer on several ranks does what one rank does.
#include "gda/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "gda/core/philox.h"
#include "support/mpi.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

constexpr std::int64_t kBegun = 40;  // updates of the run before the first one here

struct Case {
  DType compute;
  bool frozen;  // all but the second layer and the norms
  bool stochastic = false;
};

// A model and its optimizer; gradients follow from names and steps alone.
class Optimized {
 public:
  Optimized(const Case& which, Communicator& group)
      : group_(group),
        parameters_(specs(which), which.compute, group.size(), true),
        buckets_(parameters_, group),
        optimizer_(buckets_,
                   make_update_rules({.betas = {0.9, 0.999}, .weight_decay = 0.1}, buckets_)) {
    parameters_.initialize(3);
    optimizer_.copy_masters_from_values(context());
    optimizer_.set_origins(context(), origins());
    if (which.stochastic) optimizer_.round_stochastically(9, kBegun);
  }

  void update(std::int64_t step) {
    const std::vector<Bucket>& buckets = parameters_.buckets();
    for (const Parameter& parameter : parameters_.all()) {
      if (parameter.gradient) fill(parameter, step);
    }
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      if (buckets[i].trainable) buckets_.reduce(i);
    }
    norm = buckets_.gradient_norm(context());
    optimizer_.update(context(), {.lr = 1e-2, .update = kBegun + step});
    buckets_.wait_all();
  }

  // Some rank but the first begins in the middle of a parameter that has regions.
  void expect_cut_regions() {
    std::int64_t cut = 0;
    for (const OptimizerPiece& piece : optimizer_.pieces()) {
      cut += piece.offset > 0 && !piece.origins.empty() ? 1 : 0;
    }
    EXPECT_EQ(group_.all_reduce(cut, Reduction::sum) > 0, group_.size() > 1);
  }

  const ParameterStore& parameters() const { return parameters_; }
  const Optimizer& optimizer() const { return optimizer_; }
  double norm = 0;

 private:
  static std::vector<ParameterSpec> specs(const Case& which) {
    std::vector<ParameterSpec> all = parameter_specs(test::tiny_config("grouped_differential"));
    for (ParameterSpec& spec : all) {
      spec.trainable = !which.frozen || spec.layer == 1 || spec.name == "model.norm.weight";
    }
    return all;
  }
  Context context() { return {Stream{}, arena_}; }
  // In every layer a matrix with rows of three ages, one with columns, one with both, and vectors:
  // wherever ranks cut a bucket they cut one of them.
  std::vector<UpdateOrigin> origins() const {
    std::vector<UpdateOrigin> all;
    for (const Parameter& parameter : parameters_.all()) {
      const Shape& shape = parameter.spec.shape;
      const std::int64_t third = shape[0] / 3;
      const std::vector<AxisRun> rows{{third, 0}, {third, 17}, {shape[0] - 2 * third, kBegun}};
      UpdateOrigin origin{.name = parameter.spec.name, .rows = rows, .columns = {}};
      if (shape.rank() == 2 && all.size() % 3 > 0) origin.columns = {{5, 33}, {shape[1] - 5, 0}};
      if (shape.rank() == 2 && all.size() % 3 > 1) origin.rows.clear();
      all.push_back(std::move(origin));
    }
    return all;
  }
  // Whole numbers, so that shares of ranks (rank r of n adds r + 1 parts) sum exactly.
  void fill(const Parameter& parameter, std::int64_t step) const {
    const Philox random(static_cast<std::uint64_t>(step), RandomPurpose::test, parameter.spec.name);
    const int ranks = group_.size();
    const double share = (group_.rank() + 1) * 2.0 / (ranks * (ranks + 1));
    for (std::int64_t i = 0; i < parameter.gradient.elements(); ++i) {
      const double whole = std::floor(64 * random.normal(static_cast<std::uint64_t>(i)));
      // 60 divides by the sums of the numbers up to 1, 2, 3, 4 and 5.
      const double value = 60 * whole * share;
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

void expect_equal(const Optimized& one, const Optimized& many, const std::string& what) {
  EXPECT_EQ(one.norm, many.norm) << what;
  for (const Parameter& parameter : one.parameters().all()) {
    const Tensor& x = parameter.value;
    const Tensor& y = many.parameters().at(parameter.spec.name).value;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.bytes()), 0) << what << " " << parameter.spec.name;
  }
}

TEST(OptimizerRanks, RegionsAndFrozenParametersAreThoseOfOneRank) {
  for (const Case& which :
       {Case{DType::f32, false}, Case{DType::f32, true}, Case{DType::bf16, true},
        Case{DType::f64, false}, Case{DType::bf16, false, true}}) {
    const auto self = make_self_communicator();
    Optimized one(which, *self);
    Optimized many(which, test::world());
    many.expect_cut_regions();
    for (std::int64_t step = 1; step <= 3; ++step) {
      one.update(step);
      many.update(step);
      expect_equal(one, many, std::string(name_of(which.compute)) + " " + std::to_string(step));
    }
  }
}

}  // namespace
}  // namespace gda
