// Slots of gradients and values: who has them when, what travels, what they take, and errors.
#include "gda/optim/gradient_buckets.h"

#include <gtest/gtest.h>

#include <functional>

#include "gda/core/error.h"
#include "gda/optim/optimizer.h"
#include "optim/laid_out.h"
#include "support/stub_communicator.h"

namespace gda::test {
namespace {

constexpr std::size_t kEight = sizeof(double);

// A group of one that counts.
class CountingCommunicator final : public StubCommunicator {
 public:
  using Communicator::all_reduce;
  using Communicator::broadcast;

  CountingCommunicator() : StubCommunicator(0, 1) {}
  Pending all_gather(const Tensor& from, const Tensor& to) override {
    ++gathered;
    return self_->all_gather(from, to);
  }
  Pending reduce_scatter(const Tensor& from, const Tensor& to) override {
    ++reduced;
    return self_->reduce_scatter(from, to);
  }
  Pending all_reduce(const Tensor& data, Reduction reduction) override {
    return self_->all_reduce(data, reduction);
  }

  int gathered = 0;
  int reduced = 0;

 private:
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

void expect_op_error(const std::function<void()>& work, const std::string& message) {
  try {
    work();
    FAIL() << "took it";
  } catch (const OpError& error) {
    EXPECT_EQ(error.what(), message);
  }
}

// A model of six layers, untied, with its buckets on one of `replicas`.
struct Held {
  explicit Held(ZeroStage zero, int replicas = 1, bool frozen = false, bool tied = false)
      : model(laid_out_model("softmax", tied, frozen)),
        parameters(model.specs, {.compute = DType::f64, .alignment = replicas, .zero = zero}),
        group(0, replicas),
        buckets(parameters, group) {}

  std::size_t bucket_of(const std::string& name) const { return parameters.at(name).bucket; }

  LaidOutModel model;
  ParameterStore parameters;
  StubCommunicator group;
  GradientBuckets buckets;
};

std::string query_of(int layer) {
  return "model.layers." + std::to_string(layer) + ".self_attn.q_proj.weight";
}

// Six layers and two matrices beside them, in two slots of layers and one more.
TEST(GradientBuckets, GathersOneLayerAheadAndNothingTwice) {
  const LaidOutModel model = laid_out_model("softmax", false, false);
  ParameterStore parameters(model.specs, {.compute = DType::f64, .zero = ZeroStage::three});
  CountingCommunicator group;
  GradientBuckets buckets(parameters, group);
  buckets.initialize(3, {});
  EXPECT_EQ(group.gathered, 0);
  buckets.publish(true);
  EXPECT_EQ(group.gathered, 4);  // the first of each slot, and the vectors
  const auto embedding = parameters.at(kEmbeddingName).bucket;
  const auto head = parameters.at(kHeadName).bucket;
  const auto layer = [&](int i) { return parameters.at(query_of(i)).bucket; };
  buckets.use(embedding, layer(0));
  buckets.use(layer(0), layer(1));
  EXPECT_EQ(group.gathered, 4);
  buckets.use(layer(1), layer(2));
  EXPECT_EQ(group.gathered, 5);  // while layer 1 is computed
  for (int i = 2; i < 6; ++i) buckets.use(layer(i), i < 5 ? layer(i + 1) : head);
  EXPECT_EQ(group.gathered, 4 + 4 + 1);
  buckets.use(head, layer(5));
  buckets.use(layer(5), layer(4));
  EXPECT_EQ(group.gathered, 4 + 4 + 1);  // both are still here
  buckets.use(layer(4), layer(3));
  EXPECT_EQ(group.gathered, 4 + 4 + 2);
  for (int i = 3; i >= 0; --i) {
    buckets.use(layer(i), i > 0 ? std::optional(layer(i - 1)) : std::nullopt);
  }
  EXPECT_EQ(group.gathered, 4 + 4 + 1 + 4);
}

// `next` never takes the place of what is in use.
TEST(GradientBuckets, LeavesASlotToTheBucketInUse) {
  CountingCommunicator group;
  const LaidOutModel model = laid_out_model("softmax", false, false);
  ParameterStore parameters(model.specs, {.compute = DType::f64, .zero = ZeroStage::three});
  GradientBuckets buckets(parameters, group);
  buckets.initialize(3, {});
  const Parameter& embedding = parameters.at(kEmbeddingName);
  const Parameter& head = parameters.at(kHeadName);
  ASSERT_EQ(embedding.value.raw(), head.value.raw());
  buckets.use(head.bucket);
  const double first = head.value.data<double>()[0];
  buckets.use(embedding.bucket, head.bucket);
  EXPECT_NE(embedding.value.data<double>()[0], first);
  buckets.use(head.bucket);
  EXPECT_EQ(head.value.data<double>()[0], first);
}

std::size_t padded(std::int64_t elements, std::int64_t replicas) {
  return static_cast<std::size_t>((elements + replicas - 1) / replicas * replicas);
}

// f64: 8 bytes each of values, gradients and the two moments; values are their own masters.
TEST(GradientBuckets, TakesTheMemoryOfItsStage) {
  constexpr int kReplicas = 4;
  const LaidOutModel model = laid_out_model("softmax", false, false);
  std::map<std::int64_t, std::int64_t> layers;
  std::int64_t vectors = 0;
  const std::int64_t table = model.config.vocab_size * model.config.hidden_size;
  for (const ParameterSpec& spec : model.specs) {
    if (!spec.is_matrix()) vectors += spec.shape.elements();
    if (spec.is_matrix() && spec.layer >= 0) layers[spec.layer] += spec.shape.elements();
  }
  const std::size_t layer = padded(layers.at(0), kReplicas);
  const std::size_t own = padded(vectors, kReplicas);
  const std::size_t outside = padded(table, kReplicas);
  const std::size_t all = 6 * layer + own + 2 * outside;
  const std::size_t slots = 2 * layer + own + outside;
  for (const ZeroStage zero : {ZeroStage::one, ZeroStage::two, ZeroStage::three}) {
    Held held(zero, kReplicas);
    const Optimizer optimizer(held.buckets, make_update_rules({}, held.buckets));
    EXPECT_EQ(optimizer.bytes(), 2 * all / kReplicas * kEight);
    const GradientBuckets::Held bytes = held.buckets.held();
    const std::size_t cut = slots + all / kReplicas;
    // Values of vectors are whole and have no part of their own.
    EXPECT_EQ(bytes.values, (zero == ZeroStage::three ? cut - own / kReplicas : all) * kEight);
    EXPECT_EQ(bytes.gradients, (zero == ZeroStage::one ? all : cut) * kEight);
  }
}

// Frozen layers take turns among themselves, and a slot of one is no slot.
TEST(GradientBuckets, GivesEachKindItsSlots) {
  const Held held(ZeroStage::three, 1, true, true);
  const auto bucket = [&](const std::string& name) -> const Bucket& {
    return held.parameters.buckets()[held.bucket_of(name)];
  };
  EXPECT_EQ(bucket(query_of(0)).value_slot, bucket(query_of(3)).value_slot);
  EXPECT_EQ(bucket(query_of(2)).value_slot, bucket(query_of(4)).value_slot);
  EXPECT_NE(bucket(query_of(0)).value_slot, bucket(query_of(2)).value_slot);
  EXPECT_TRUE(bucket(query_of(0)).shares_values);
  const Bucket& frozen = bucket(query_of(1));
  EXPECT_FALSE(frozen.trainable || frozen.shares_values || frozen.gradients);
  EXPECT_NE(frozen.value_slot, bucket("model.layers.3.self_attn.k_proj.weight").value_slot);
  EXPECT_FALSE(bucket(std::string(kEmbeddingName)).shares_values);
  EXPECT_FALSE(bucket("model.norm.weight").shares_values);
}

TEST(GradientBuckets, RefusesGradientsOutOfTurn) {
  Held held(ZeroStage::two);
  Arena arena;
  const Context context{Stream{}, arena};
  expect_op_error([&] { held.buckets.reduce(held.bucket_of(query_of(4))); },
                  "[gradients] model.layers.4.self_attn.q_proj.weight is to be reduced, but its "
                  "memory was not prepared for it");
  held.buckets.prepare_gradient(context, held.bucket_of(query_of(4)));
  held.buckets.prepare_gradient(context, held.bucket_of(query_of(4)));
  held.buckets.prepare_gradient(context, held.bucket_of(query_of(3)));
  expect_op_error([&] { held.buckets.prepare_gradient(context, held.bucket_of(query_of(2))); },
                  "[gradients] model.layers.2.self_attn.q_proj.weight needs the memory of "
                  "model.layers.4.self_attn.q_proj.weight, which was not reduced");
  expect_op_error([&] { held.buckets.complete(context); },
                  "[gradients] model.layers.4.self_attn.q_proj.weight was not reduced");
  held.buckets.zero(context);
  held.buckets.complete(context);
  held.buckets.prepare_gradient(context, held.bucket_of(query_of(4)));
  expect_op_error([&] { held.buckets.reduce(held.bucket_of(query_of(4))); },
                  "[gradients] model.layers.4.self_attn.q_proj.weight is to be reduced, but this "
                  "step's gradients are complete: update or zero() comes first");
}

TEST(GradientBuckets, RefusesGroupsOfAnotherPlacement) {
  const LaidOutModel model = laid_out_model("softmax", true, false);
  StubCommunicator one(0, 1);
  StubCommunicator two(1, 2);
  StubCommunicator middle(1, 3);
  const ParameterStore whole(model.specs, ParameterStoreOptions{});
  expect_op_error(
      [&] { GradientBuckets(whole, {.replicas = one, .tensor = &two, .world = two}); },
      "[gradients] model.embed_tokens.weight: rows 0-18, columns 0-11 of [19, 12] in a tensor "
      "group of 2");
  expect_op_error(
      [&] { GradientBuckets(whole, {.replicas = one, .pipeline = &middle, .world = middle}); },
      "[gradients] model.embed_tokens.weight is tied, and held by rank 1 of a pipeline group of "
      "3; expected the first or the last");
}

TEST(ParameterStoreSlots, AreFilledOneByOne) {
  Held held(ZeroStage::three);
  expect_op_error([&] { held.parameters.initialize(3); },
                  "[parameters] layers share the memory of their values, which hold one of them "
                  "at a time: initialise them through their GradientBuckets");
}

TEST(ParameterStoreSlots, HoldWhatIsListedTwiceOnce) {
  const LaidOutModel model = laid_out_model("softmax", true, false);
  const ParameterStore once(placed_on(model, {}, 0, 0), ParameterStoreOptions{});
  const ParameterStore twice(placed_on(model, {.chunks = 2}, 0, 0), ParameterStoreOptions{});
  EXPECT_EQ(twice.count(), once.count());
  std::vector<PlacedSpec> placed = placed_on(model, {.chunks = 2}, 0, 0);
  placed.back().region.rows = {0, 3};
  expect_op_error([&] { ParameterStore(placed, ParameterStoreOptions{}); },
                  "[parameters] model.embed_tokens.weight is listed with rows 0-18, columns 0-11 "
                  "and with rows 0-2, columns 0-11; expected one part of it");
}

}  // namespace
}  // namespace gda::test
