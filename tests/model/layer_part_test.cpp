#include "gda/model/layer_part.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "model/decoder_layer.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

using test::TinyBatch;
constexpr std::int64_t kPartRows = TinyBatch::kBatch * TinyBatch::kLength;
constexpr std::int64_t kPlaces = 2;

const char* const kAttentionTypes[] = {"softmax", "differential", "grouped_differential",
                                       "differential_v2"};

Placement place_of(const ModelConfig& config, std::int64_t tensor, std::int64_t tensor_size) {
  return {.stage = whole_model(config), .tensor = tensor, .tensor_size = tensor_size};
}

// A vocabulary that divides, too.
ModelConfig divisible(const std::string& attention) {
  ModelConfig config = test::tiny_config(attention);
  config.vocab_size = 20;
  return config;
}

TEST(LayerPart, OneOfOneIsTheModel) {
  for (const char* type : kAttentionTypes) {
    const ModelConfig config = test::tiny_config(type);
    const LayerPart part = layer_part(config, place_of(config, 0, 1));
    EXPECT_EQ(part.attention, config.attention);
    EXPECT_EQ(part.heads,
              (IndexRange{0, config.attention.out_size() / config.attention.value_dim()}));
    EXPECT_EQ(part.units, (IndexRange{0, 20}));
  }
}

// The sizes of a part are those of the weights that its place holds.
TEST(LayerPart, HasTheSizesOfThePlacedParameters) {
  for (const char* type : kAttentionTypes) {
    const ModelConfig config = divisible(type);
    for (std::int64_t tensor = 0; tensor < kPlaces; ++tensor) {
      const Placement placement = place_of(config, tensor, kPlaces);
      const LayerPart part = layer_part(config, placement);
      const ParameterStore store(place(parameter_specs(config), placement), DType::f32, 1, false);
      const auto region = [&](const char* name) {
        return store.at(std::string("model.layers.0.") + name + ".weight").region;
      };
      const AttentionConfig& heads = part.attention;
      EXPECT_EQ(region("self_attn.q_proj").rows.size(), heads.q_size()) << type;
      EXPECT_EQ(region("self_attn.k_proj").rows.size(), heads.k_size()) << type;
      EXPECT_EQ(region("self_attn.v_proj").rows.size(), heads.v_size()) << type;
      EXPECT_EQ(
          region("self_attn.o_proj").columns,
          (IndexRange{part.heads.begin * heads.value_dim(), part.heads.end * heads.value_dim()}))
          << type;
      EXPECT_EQ(region("mlp.down_proj").columns, part.units) << type;
    }
  }
}

std::string message_of(const ModelConfig& config, std::int64_t tensor_size) {
  try {
    layer_part(config, place_of(config, 0, tensor_size));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(LayerPart, NamesBothNumbersAndWhatWouldDo) {
  ModelConfig config = divisible("softmax");
  config.attention.num_attention_heads = 8;
  config.attention.num_key_value_heads = 8;
  config.intermediate_size = 24;
  EXPECT_EQ(message_of(config, 3),
            "model.attention.num_key_value_heads: 8 K/V groups do not divide over 3 "
            "tensor-parallel ranks; the nearest numbers of ranks that suit this model: 2 and 4");
  config.attention.num_key_value_heads = 4;
  EXPECT_EQ(message_of(config, 16),
            "model.attention.num_key_value_heads: 4 K/V groups do not divide over 16 "
            "tensor-parallel ranks; the nearest numbers of ranks that suit this model: 4");
  // The units take one of the numbers that suit the heads away.
  config.intermediate_size = 22;
  EXPECT_EQ(message_of(config, 4),
            "model.intermediate_size: 22 units do not divide over 4 tensor-parallel ranks; the "
            "nearest numbers of ranks that suit this model: 2");
  config.intermediate_size = 24;
  config.vocab_size = 39;
  EXPECT_EQ(message_of(config, 4), "no error");
  config.vocab_size = 3;
  EXPECT_EQ(message_of(config, 4),
            "model.vocab_size: 3 entries are too few for 4 tensor-parallel ranks");

  for (const char* type : {"differential", "grouped_differential"}) {
    EXPECT_EQ(message_of(divisible(type), 4),
              "model.attention.num_key_value_heads: 2 K/V groups, of a signal and a noise head "
              "each, do not divide over 4 tensor-parallel ranks; the nearest numbers of ranks that "
              "suit this model: 2");
  }
  EXPECT_EQ(message_of(divisible("differential_v2"), 4),
            "model.attention.num_key_value_heads: 2 K/V groups do not divide over 4 "
            "tensor-parallel ranks; the nearest numbers of ranks that suit this model: 2");
}

TEST(LayerPart, PolyNormNeedsAllUnits) {
  ModelConfig config = divisible("softmax");
  config.hidden_act = Activation::poly_norm;
  const Placement placement = place_of(config, 1, kPlaces);
  const ParameterStore store(place(parameter_specs(config), placement), DType::f32, 1, false);
  EXPECT_THROW(FeedForward(config, layer_part(config, placement), store, 0), ConfigError);
}

// Both sublayers of layer 0 at one place.
struct Sublayers {
  Sublayers(const ModelConfig& config, const Placement& placement, const GrowthMask& mask, double m)
      : part(layer_part(config, placement)),
        parameters(place(parameter_specs(config), placement), DType::f64, 1, true),
        attention(config, part, parameters, 0),
        feed_forward(config, part, parameters, 0),
        masks(config, part, DType::f64, Device{}) {
    parameters.initialize(5);
    masks.set(mask, m);
    attention.set_head_mask(masks.layer(0).heads);
    feed_forward.set_mask(masks.layer(0).feed_forward);
  }

  // out += this place's terms for `x`, dx += those of the gradient for `dout`.
  void run(const AttentionInput& input, const Tensor& x, const Tensor& dout,
           std::vector<std::vector<double>>& sums) {
    Arena arena(Device{}, std::size_t{1} << 16);
    const Context context{Stream{}, arena};
    const Tensor out = arena.allocate(DType::f64, x.shape());
    const Tensor dx = arena.allocate(DType::f64, x.shape());
    AttentionActivations heads;
    attention.allocate_saved(arena, input, heads);
    attention.allocate_mixed(arena, input, heads);
    attention.forward(context, input, x, heads, {}, out);
    attention.backward(context, input, x, heads, dout, dx);
    add(out, sums[0]);
    add(dx, sums[1]);
    FeedForwardActivations units;
    feed_forward.allocate_saved(arena, x.dim(0), units);
    feed_forward.allocate_inner(arena, x.dim(0), units);
    feed_forward.forward(context, x, units);
    feed_forward.project(context, units, {}, out);
    feed_forward.backward(context, x, units, dout, dx);
    add(out, sums[2]);
    add(dx, sums[3]);
  }

  static void add(const Tensor& term, std::vector<double>& sum) {
    sum.resize(static_cast<std::size_t>(term.elements()));
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += term.data<double>()[i];
  }

  LayerPart part;
  ParameterStore parameters;
  AttentionBlock attention;
  FeedForward feed_forward;
  GrowthMasks masks;
};

OwnedTensor random_stream(const ModelConfig& config, const char* name) {
  OwnedTensor result(DType::f64, {kPartRows, config.hidden_size});
  const Philox random(3, RandomPurpose::test, name);
  for (std::int64_t i = 0; i < result.tensor.elements(); ++i) {
    result.tensor.data<double>()[i] = random.normal(static_cast<std::uint64_t>(i));
  }
  return result;
}

// Products of at most 48 terms, each of size 10 at most, whose sums are cut in two, passed on
// through three products: 3 * 48 * 2^-53 * 10 = 2e-13.
constexpr double kPartTolerance = 2e-13;

void expect_sum(const std::vector<double>& found, const std::vector<double>& wanted,
                const std::string& what) {
  ASSERT_EQ(found.size(), wanted.size()) << what;
  double largest = 1;
  for (const double value : wanted) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_NEAR(found[i], wanted[i], kPartTolerance * largest) << what << " " << i;
  }
}

// Gradients of the places, put together where they are cut and added where they are not.
void expect_gradients(const std::vector<std::unique_ptr<Sublayers>>& places,
                      const Sublayers& whole) {
  for (const Parameter& wanted : whole.parameters.all()) {
    if (wanted.spec.layer != 0 || wanted.spec.role == Role::norm) continue;
    const std::int64_t columns = wanted.region.columns.size();
    std::vector<double> sum(static_cast<std::size_t>(wanted.gradient.elements()));
    std::vector<double> expected;
    Sublayers::add(wanted.gradient, expected);
    for (const auto& place : places) {
      const Parameter& found = place->parameters.at(wanted.spec.name);
      const std::int64_t width = found.region.columns.size();
      for (std::int64_t i = 0; i < found.gradient.elements(); ++i) {
        const std::int64_t row = found.region.rows.begin + i / width;
        const std::int64_t column = found.region.columns.begin + i % width;
        sum[static_cast<std::size_t>(row * columns + column)] += found.gradient.data<double>()[i];
      }
    }
    expect_sum(sum, expected, wanted.spec.name);
  }
}

// Each place computes with its own weights and sizes alone, and its terms add up to the model.
TEST(LayerPart, TermsOfAllPlacesAddUpToTheLayer) {
  for (const char* type : kAttentionTypes) {
    for (const double m : {0.4, 1.0}) {
      const ModelConfig config = divisible(type);
      const std::int64_t heads = config.attention.out_size() / config.attention.value_dim();
      const GrowthMask mask{
          .hidden = {}, .feed_forward = {{8, 13}}, .heads = {{heads - 1, heads}}, .layers = {}};
      const OwnedTensor rope = make_rope_table(config.rope.theta, {}, 32, 4, DType::f64);
      const TinyBatch batch(config);
      const AttentionInput input{
          .batch = batch.view(), .rows = kPartRows, .rope_table = rope.tensor, .cache = nullptr};
      const OwnedTensor x = random_stream(config, "x");
      const OwnedTensor dout = random_stream(config, "dout");
      std::vector<std::vector<double>> wanted(4);
      std::vector<std::vector<double>> found(4);
      Sublayers whole(config, place_of(config, 0, 1), mask, m);
      whole.run(input, x.tensor, dout.tensor, wanted);
      std::vector<std::unique_ptr<Sublayers>> places;
      for (std::int64_t tensor = 0; tensor < kPlaces; ++tensor) {
        places.push_back(
            std::make_unique<Sublayers>(config, place_of(config, tensor, kPlaces), mask, m));
        places.back()->run(input, x.tensor, dout.tensor, found);
      }
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        expect_sum(found[i], wanted[i], type + std::string(" sum ") + std::to_string(i));
      }
      expect_gradients(places, whole);
    }
  }
}

// Factors are those of the part; the sum, which means are divided by, is that of all places.
TEST(LayerPart, MasksAreOfThePartAndSumsOfTheModel) {
  const ModelConfig config = divisible("grouped_differential");
  for (std::int64_t tensor = 0; tensor < kPlaces; ++tensor) {
    GrowthMasks masks(config, layer_part(config, place_of(config, tensor, kPlaces)), DType::f64,
                      Device{});
    masks.set({.hidden = {}, .feed_forward = {{8, 13}}, .heads = {{5, 6}}, .layers = {}}, 0.5);
    const LayerMasks layer = masks.layer(0);
    ASSERT_EQ(layer.feed_forward.value.elements(), 10);
    EXPECT_EQ(layer.feed_forward.sum, 15 + 5 * 0.5);
    ASSERT_EQ(layer.heads.elements(), 3 * 8);
    for (std::int64_t i = 0; i < 10; ++i) {
      const std::int64_t unit = tensor * 10 + i;
      EXPECT_EQ(layer.feed_forward.value.data<double>()[i], unit >= 8 && unit < 13 ? 0.5 : 1);
    }
    for (std::int64_t i = 0; i < 24; ++i) {
      EXPECT_EQ(layer.heads.data<double>()[i], tensor == 1 && i >= 16 ? 0.5 : 1);
    }
  }
}

}  // namespace
}  // namespace gda
