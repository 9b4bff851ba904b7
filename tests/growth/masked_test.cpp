// Masked growth: at m = 0 the new model is the old one, whatever its new weights are, and these
// get no gradient.
#include <gtest/gtest.h>

#include "growth/grown_model.h"

namespace gda::test {
namespace {

struct MaskedCase {
  std::string name;
  Masked masked;
};

std::vector<MaskedCase> masked_cases() {
  Masked places;
  places.at = {0, 2};
  return {{"hidden", Masked{.hidden_size = 17}},
          {"feed_forward", Masked{.intermediate_size = 27}},
          {"heads", Masked{.heads = 8}},
          {"layers", Masked{.layers = 4}},
          {"places", places}};
}

using MaskedParameters = std::tuple<MaskedCase, std::string, std::string, bool>;

class MaskedOperator : public testing::TestWithParam<MaskedParameters> {
 protected:
  GrowthMap map() const {
    const auto& [form, attention, act, tied] = GetParam();
    return map_of(form.masked, tiny_config(attention, act, tied));
  }
};

TEST_P(MaskedOperator, KeepsTheFunctionAndTheGradientsAtZero) {
  const GrowthMap map = this->map();
  TinyModel old(map.from, DType::f64);
  TinyModel grown(map.to, DType::f64);
  disturb_vectors<double>(old);
  grow<double>(map, old, grown);
  EXPECT_GT((logit_error<double>(old, grown)), 1e-3) << "without its mask";
  grown.decoder.set_growth(map.ramp->mask, map.ramp->at(0));
  EXPECT_LT((logit_error<double>(old, grown)), 1e-12);

  const TinyBatch batch(old.config);
  old.forward_backward(batch);
  grown.forward_backward(batch);
  for (const TensorMap& tensor : map.tensors) {
    const Tensor& found = grown.parameters.at(tensor.target.name).gradient;
    std::vector<double> expected(static_cast<std::size_t>(found.elements()));
    const Tensor old_gradient =
        tensor.source.empty() ? Tensor() : old.parameters.at(tensor.source).gradient;
    // What is filled gets none, which is what a first moment is filled with.
    carry<double>(tensor, CarriedState::first_moment, old_gradient, expected);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(found.data<double>()[i], expected[i], 1e-12 * (1 + std::abs(expected[i])))
          << tensor.target.name << " [" << i << "]";
    }
  }
}

TEST_P(MaskedOperator, KeepsTheFunctionInF32) {
  const GrowthMap map = this->map();
  TinyModel old(map.from, DType::f32);
  TinyModel grown(map.to, DType::f32);
  grow<float>(map, old, grown);
  grown.decoder.set_growth(map.ramp->mask, 0);
  EXPECT_LT((logit_error<float>(old, grown)), 1e-5);
}

const auto kMaskedCaseName = [](const testing::TestParamInfo<MaskedParameters>& instance) {
  const auto& [form, attention, act, tied] = instance.param;
  return form.name + "_of_" + attention + "_" + act + (tied ? "_tied" : "");
};

INSTANTIATE_TEST_SUITE_P(Operators, MaskedOperator,
                         testing::Combine(testing::ValuesIn(masked_cases()),
                                          testing::Values("softmax", "differential",
                                                          "grouped_differential",
                                                          "differential_v2"),
                                          testing::Values("silu", "poly_norm"), testing::Bool()),
                         kMaskedCaseName);

}  // namespace
}  // namespace gda::test
