#include "gda/model/context_cut.h"

#include <gtest/gtest.h>

#include "gda/core/error.h"
#include "support/tiny_model.h"

namespace gda {
namespace {

using Rows = std::vector<std::int64_t>;
using Ranges = std::vector<IndexRange>;

TEST(ContextCut, OneRankHasEveryRowInItsPlace) {
  const ContextCut cut;
  EXPECT_EQ(cut.token_ranges(4), (Ranges{{0, 4}}));
  EXPECT_EQ(cut.rows(2, 3), (Rows{0, 1, 2, 3, 4, 5}));
}

TEST(ContextCut, UlyssesHasOneStretchOfEachSequence) {
  const ContextCut cut{.rank = 1, .size = 3, .method = ContextMethod::ulysses};
  EXPECT_EQ(cut.token_ranges(6), (Ranges{{2, 4}}));
  EXPECT_EQ(cut.rows(2, 6), (Rows{2, 3, 8, 9}));
}

TEST(ContextCut, GatherHasTwoStretchesOneAfterTheOther) {
  const ContextCut cut{.rank = 0, .size = 2, .method = ContextMethod::gather};
  EXPECT_EQ(cut.token_ranges(8), (Ranges{{0, 2}, {6, 8}}));
  EXPECT_EQ(cut.rows(2, 8), (Rows{0, 1, 8, 9, 6, 7, 14, 15}));
  const ContextCut last{.rank = 2, .size = 3, .method = ContextMethod::gather};
  EXPECT_EQ(last.token_ranges(12), (Ranges{{4, 6}, {6, 8}}));
}

TEST(ContextCut, LengthsThatDoNotDivideAreRefused) {
  const ContextCut cut{.rank = 0, .size = 2, .method = ContextMethod::gather};
  EXPECT_EQ(cut.divisor(), 4);
  EXPECT_THROW(cut.token_ranges(6), OpError);
}

TEST(ContextCut, AutoTakesUlyssesWhereGroupsDivide) {
  const ModelConfig config = test::tiny_config("softmax");  // two K/V groups
  const auto method = [&](ContextMethod wanted, int size, int tensor_size) {
    return context_cut(config, wanted, 0, size, tensor_size).method;
  };
  EXPECT_EQ(method(ContextMethod::automatic, 2, 1), ContextMethod::ulysses);
  EXPECT_EQ(method(ContextMethod::automatic, 2, 2), ContextMethod::gather);
  EXPECT_EQ(method(ContextMethod::automatic, 3, 1), ContextMethod::gather);
  EXPECT_EQ(method(ContextMethod::gather, 2, 1), ContextMethod::gather);
  EXPECT_EQ(method(ContextMethod::gather, 1, 2), ContextMethod::ulysses);  // nothing to gather
  EXPECT_THROW(method(ContextMethod::ulysses, 2, 2), ConfigError);
}

}  // namespace
}  // namespace gda
