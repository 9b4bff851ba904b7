#include "gda/optim/qk_clip.h"

#include <algorithm>
#include <cmath>

#include "model/attention_block.h"
#include "support/op_test.h"

namespace gda::test {
namespace {

constexpr double kThreshold = 5;
constexpr std::int64_t kHidden = 7;
constexpr std::int64_t kTokens = 11;
constexpr std::int64_t kHeadDim = 4;

// A type of attention, and the key head of each query head, in the order of q_proj's rows, by hand:
// a group's signal heads and then its noise head, whose keys come in pairs; neighbours of softmax
// and of differential_v2, which has two query heads for each head.
struct Layout {
  AttentionConfig config;
  std::vector<int> key_head;
};

std::vector<Layout> layouts() {
  const auto differential = [](AttentionType type, std::int64_t signal, std::int64_t noise,
                               std::int64_t keys) {
    return AttentionConfig{.type = type,
                           .head_dim = kHeadDim,
                           .signal_heads = signal,
                           .noise_heads = noise,
                           .num_key_value_heads = keys};
  };
  const auto plain = [](AttentionType type, std::int64_t heads, std::int64_t keys) {
    return AttentionConfig{.type = type,
                           .head_dim = kHeadDim,
                           .num_attention_heads = heads,
                           .num_key_value_heads = keys};
  };
  return {{plain(AttentionType::softmax, 4, 4), {0, 1, 2, 3}},
          {plain(AttentionType::softmax, 6, 2), {0, 0, 0, 1, 1, 1}},
          {differential(AttentionType::differential, 3, 3, 6), {0, 1, 2, 3, 4, 5}},
          {differential(AttentionType::differential, 4, 4, 4), {0, 1, 0, 1, 2, 3, 2, 3}},
          {differential(AttentionType::grouped_differential, 6, 2, 4), {0, 0, 0, 1, 2, 2, 2, 3}},
          {differential(AttentionType::grouped_differential, 4, 2, 2), {0, 0, 1, 0, 0, 1}},
          {plain(AttentionType::differential_v2, 2, 2), {0, 0, 1, 1}},
          {plain(AttentionType::differential_v2, 4, 2), {0, 0, 0, 0, 1, 1, 1, 1}}};
}

// x W^T of one head, in f64.
std::vector<double> project(const std::vector<double>& w, const std::vector<double>& x,
                            std::int64_t head) {
  std::vector<double> result(kTokens * kHeadDim);
  for (std::int64_t token = 0; token < kTokens; ++token) {
    for (std::int64_t i = 0; i < kHeadDim; ++i) {
      for (std::int64_t j = 0; j < kHidden; ++j) {
        result[static_cast<std::size_t>(token * kHeadDim + i)] +=
            x[static_cast<std::size_t>(token * kHidden + j)] *
            w[static_cast<std::size_t>((head * kHeadDim + i) * kHidden + j)];
      }
    }
  }
  return result;
}

// Projections of a layer whose heads have logits of very different sizes.
struct Projections {
  explicit Projections(const Layout& of, DType type)
      : layout(of),
        query(random_tensor("q_proj", type, {heads() * kHeadDim, kHidden})),
        key(random_tensor("k_proj", type, {of.config.num_key_value_heads * kHeadDim, kHidden})),
        x(values(random_tensor("x", DType::f64, {kTokens, kHidden}).tensor)) {
    std::vector<double> all = values(query.tensor);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t head = i / static_cast<std::size_t>(kHeadDim * kHidden);
      all[i] *= std::pow(3.0, static_cast<double>(head % 4) - 2);
    }
    set_values(query.tensor, all);
  }

  std::int64_t heads() const { return static_cast<std::int64_t>(layout.key_head.size()); }

  std::vector<double> largest_logits() const {
    return largest(values(query.tensor), values(key.tensor), x);
  }
  // Of |x|, |W_q| and |W_k|: what roundings of the weights are relative to.
  std::vector<double> largest_magnitudes() const {
    std::vector<double> positive = x;
    for (double& value : positive) value = std::abs(value);
    return largest(values(absolute(query.tensor).tensor), values(absolute(key.tensor).tensor),
                   positive);
  }
  std::vector<double> largest(const std::vector<double>& w_query, const std::vector<double>& w_key,
                              const std::vector<double>& input) const {
    std::vector<double> result;
    for (std::int64_t head = 0; head < heads(); ++head) {
      const std::vector<double> q = project(w_query, input, head);
      const std::vector<double> k =
          project(w_key, input, layout.key_head[static_cast<std::size_t>(head)]);
      double most = -INFINITY;
      for (std::int64_t i = 0; i < kTokens; ++i) {
        for (std::int64_t j = 0; j <= i; ++j) {
          double logit = 0;
          for (std::int64_t c = 0; c < kHeadDim; ++c) {
            logit += q[static_cast<std::size_t>(i * kHeadDim + c)] *
                     k[static_cast<std::size_t>(j * kHeadDim + c)];
          }
          most = std::max(most, logit / std::sqrt(static_cast<double>(kHeadDim)));
        }
      }
      result.push_back(most);
    }
    return result;
  }

  const Layout& layout;
  TestTensor query;
  TestTensor key;
  std::vector<double> x;
};

// Scales a projection as ranks that cut it do: in two boxes of its rows, each in three flat pieces
// that end inside rows.
void scale_in_pieces(const Context& context, const std::vector<double>& factors,
                     const Tensor& weight, const Tensor& copy) {
  const std::int64_t half = weight.dim(0) / 2;
  for (const IndexRange& rows : {IndexRange{0, half}, IndexRange{half, weight.dim(0)}}) {
    const Region region{rows, {0, kHidden}};
    const std::int64_t third = region.elements() / 3;
    for (const IndexRange& piece : {IndexRange{0, third - 1}, IndexRange{third - 1, 2 * third},
                                    IndexRange{2 * third, region.elements()}}) {
      const auto part = [&](const Tensor& whole) {
        if (!whole) return Tensor();
        return whole.reshape({whole.elements()})
            .rows(rows.begin * kHidden + piece.begin, piece.size());
      };
      scale_heads(context, factors, kHeadDim, region, piece.begin, part(weight), part(copy));
    }
  }
}

TEST(QkClip, KnowsTheKeysOfEachType) {
  for (const Layout& layout : layouts()) {
    EXPECT_EQ(attention_shape(layout.config).key_head, layout.key_head)
        << word_of(layout.config.type);
    EXPECT_EQ(layout.config.query_heads(), static_cast<std::int64_t>(layout.key_head.size()));
  }
}

TEST(QkClip, BringsEachHeadToTheThreshold) {
  const TestContext context;
  for (const Layout& layout : layouts()) {
    for (const DType type : {DType::f64, DType::f32}) {
      const Projections weights(layout, type);
      const std::vector<double> before = weights.largest_logits();
      const std::vector<double> query = values(weights.query.tensor);
      const std::vector<double> key = values(weights.key.tensor);
      const QkClipFactors factors =
          qk_clip_factors(layout.key_head, layout.config.num_key_value_heads, before, kThreshold);
      scale_in_pieces(context, factors.query, weights.query.tensor, {});
      scale_in_pieces(context, factors.key, weights.key.tensor, {});
      const std::vector<double> after = weights.largest_logits();
      const std::vector<double> magnitudes = weights.largest_magnitudes();
      bool clips = false;
      for (std::size_t head = 0; head < before.size(); ++head) {
        const auto at = static_cast<std::size_t>(layout.key_head[head]);
        // On each side a factor and a product are rounded; f64's sums, here and in `before`, err by
        // their lengths.
        const double rounding =
            magnitudes[head] *
            (4 * unit_roundoff(type) + 4 * (2 * kHidden + kHeadDim) * unit_roundoff(DType::f64));
        EXPECT_LE(after[head], kThreshold + rounding) << word_of(layout.config.type) << " " << head;
        const bool is_above = before[head] > kThreshold;
        clips = clips || is_above;
        // One that decides for its key, or goes on above the threshold, comes to it exactly.
        if (is_above && factors.query[head] < 1) {
          EXPECT_NEAR(after[head], kThreshold, rounding);
        }
        if (!is_above) {
          EXPECT_EQ(factors.query[head], 1);
          EXPECT_NEAR(after[head], factors.key[at] * before[head], rounding);
        }
      }
      EXPECT_TRUE(clips);
      // Rows of factor 1 keep their bits.
      const auto expect_kept = [](const std::vector<double>& old, const Tensor& now,
                                  const std::vector<double>& factor) {
        const std::vector<double> all = values(now);
        for (std::size_t i = 0; i < all.size(); ++i) {
          const double f = factor[i / static_cast<std::size_t>(kHeadDim * kHidden)];
          EXPECT_EQ(all[i] == old[i], f == 1) << i;
        }
      };
      expect_kept(query, weights.query.tensor, factors.query);
      expect_kept(key, weights.key.tensor, factors.key);
    }
  }
}

TEST(QkClip, RoundsTheCopyOfScaledRowsAlone) {
  const TestContext context;
  const TestTensor master = random_tensor("master", DType::f32, {4 * kHeadDim, kHidden});
  const TestTensor copy(DType::bf16, {4 * kHeadDim, kHidden});
  fill(copy.tensor, 3);
  const std::vector<double> before = values(master.tensor);
  scale_in_pieces(context, {1, 0.5, 1, 0.25}, master.tensor, copy.tensor);
  const std::vector<double> expected = values(cast(master.tensor, DType::bf16).tensor);
  const std::vector<double> rounded = values(copy.tensor);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::size_t head = i / static_cast<std::size_t>(kHeadDim * kHidden);
    const double factor = head == 1 ? 0.5 : head == 3 ? 0.25 : 1;
    EXPECT_EQ(get(master.tensor, static_cast<std::int64_t>(i)), factor * before[i]) << i;
    EXPECT_EQ(rounded[i], factor == 1 ? 3 : expected[i]) << i;
  }
}

// The published split where a key belongs to one head, or all of its heads are equally far above.
TEST(QkClip, SplitsByTheHeadsThatShareAKey) {
  const QkClipFactors alone = qk_clip_factors({0}, 1, {4 * kThreshold}, kThreshold);
  EXPECT_NEAR(alone.key[0], 0.5, 1e-15);  // rho = 1/2
  EXPECT_NEAR(alone.query[0], 0.5, 1e-15);
  const double s = 7 * kThreshold;
  const QkClipFactors shared = qk_clip_factors({0, 0, 0, 0}, 1, {s, s, s, s}, kThreshold);
  EXPECT_NEAR(shared.key[0], std::pow(1 / 7.0, 1 / 3.0), 1e-15);  // rho = 1/3
  for (const double alpha : shared.query) EXPECT_NEAR(alpha, std::pow(1 / 7.0, 2 / 3.0), 1e-15);
}

TEST(QkClip, LeavesWhatIsBelow) {
  const QkClipFactors factors =
      qk_clip_factors({0, 0, 1}, 2, {kThreshold, -20, 0.5 * kThreshold}, kThreshold);
  EXPECT_TRUE(factors.empty());
  EXPECT_FALSE(qk_clip_factors({0}, 1, {2 * kThreshold}, kThreshold).empty());
}

TEST(QkClip, RefusesWhatIsNotFinite) {
  expect_error(
      [] {
        qk_clip_factors({0, 1}, 2, {1, NAN}, kThreshold);
      },
      "[qk_clip] the largest logit of head 1 is nan");
  expect_error(
      [] {
        qk_clip_factors({0, 1}, 2, {1}, kThreshold);
      },
      "[qk_clip] expected the largest logit of 2 query heads, got 1");
}

}  // namespace
}  // namespace gda::test
