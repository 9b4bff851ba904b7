#include "checkpoint/coverage.h"

#include <gtest/gtest.h>

#include <numeric>

#include "checkpoint/flat_part.h"
#include "gda/core/memory.h"
#include "gda/core/philox.h"

namespace gda::test {
namespace {

std::string fault_of(const Region& whole, const std::vector<Covering>& boxes) {
  const auto fault = find_coverage_fault(whole, boxes);
  return fault ? fault->str([](std::size_t owner) { return "rank " + std::to_string(owner); }) : "";
}

TEST(Coverage, NamesBoxesAndOwners) {
  const Region whole{{0, 6}, {0, 4}};
  const Region left{{0, 6}, {0, 2}};
  const Region top_right{{0, 3}, {2, 4}};
  const Region bottom_right{{3, 6}, {2, 4}};
  EXPECT_EQ(fault_of(whole, {{bottom_right, 2}, {left, 0}, {top_right, 1}}), "");
  EXPECT_EQ(fault_of(whole, {}), "nothing covers rows 0-5, columns 0-3");
  EXPECT_EQ(fault_of(whole, {{left, 0}, {bottom_right, 2}}),
            "nothing covers rows 0-2, columns 2-3");
  EXPECT_EQ(fault_of(whole, {{left, 0}, {top_right, 1}}), "nothing covers rows 3-5, columns 2-3");
  EXPECT_EQ(fault_of(whole, {{left, 0}, {top_right, 1}, {{{2, 6}, {2, 4}}, 2}}),
            "rows 2-2, columns 2-3 is covered twice, by rank 1 (rows 0-2, columns 2-3) and rank 2 "
            "(rows 2-5, columns 2-3)");
}

// All ways to cover a small tensor by up to four random boxes, against counting its elements.
TEST(Coverage, AgreesWithCounting) {
  const Philox random(5, RandomPurpose::test, "coverage");
  std::uint64_t draw = 0;
  const auto range = [&](std::int64_t size) {
    const auto begin = static_cast<std::int64_t>(random.bits(draw++) % static_cast<unsigned>(size));
    const auto length =
        static_cast<std::int64_t>(random.bits(draw++) % static_cast<unsigned>(size - begin));
    return IndexRange{begin, begin + length + 1};
  };
  int exact = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    const Region whole{{0, 1 + trial % 3}, {0, 1 + trial / 3 % 3}};
    std::vector<Covering> boxes;
    std::vector<int> count(static_cast<std::size_t>(whole.elements()));
    for (std::size_t i = 0; i < 1 + random.bits(draw++) % 4; ++i) {
      const Region box{range(whole.rows.end), range(whole.columns.end)};
      boxes.push_back({box, i});
      for (std::int64_t r = box.rows.begin; r < box.rows.end; ++r) {
        for (std::int64_t c = box.columns.begin; c < box.columns.end; ++c) {
          ++count[static_cast<std::size_t>(r * whole.columns.end + c)];
        }
      }
    }
    const bool is_exact = std::ranges::all_of(count, [](int n) { return n == 1; });
    const auto fault = find_coverage_fault(whole, boxes);
    ASSERT_EQ(!fault, is_exact);
    exact += is_exact ? 1 : 0;
    if (!fault) continue;
    for (std::int64_t r = fault->where.rows.begin; r < fault->where.rows.end; ++r) {
      for (std::int64_t c = fault->where.columns.begin; c < fault->where.columns.end; ++c) {
        const int n = count[static_cast<std::size_t>(r * whole.columns.end + c)];
        ASSERT_TRUE(fault->twice ? n >= 2 : n == 0);
      }
    }
  }
  EXPECT_GT(exact, 500);
}

TEST(FlatPart, IsAtMostThreeBoxes) {
  const Region box{{2, 7}, {3, 6}};
  const auto boxes = [&](std::int64_t offset, std::int64_t length) {
    return rectangles({box, offset, length});
  };
  EXPECT_EQ(boxes(0, 15), (std::vector<Region>{box}));
  EXPECT_EQ(boxes(1, 1), (std::vector<Region>{{{2, 3}, {4, 5}}}));
  EXPECT_EQ(boxes(1, 8), (std::vector<Region>{{{2, 3}, {4, 6}}, {{3, 5}, {3, 6}}}));
  EXPECT_EQ(boxes(2, 9),
            (std::vector<Region>{{{2, 3}, {5, 6}}, {{3, 5}, {3, 6}}, {{5, 6}, {3, 5}}}));
  EXPECT_TRUE(boxes(4, 0).empty());
}

// Every flat part of every box of a tensor, out of every flat part of another.
TEST(FlatPart, CopiesWhatTwoHaveInCommon) {
  constexpr std::int64_t kRows = 4;
  constexpr std::int64_t kColumns = 3;
  const Region from_box{{0, 3}, {1, 3}};
  std::vector<Region> boxes;
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) boxes.push_back({{r, kRows}, {c, kColumns}});
  }
  const auto index = [](const FlatPart& part, std::int64_t i) {
    const std::int64_t at = part.offset + i;
    const std::int64_t width = part.box.columns.size();
    return (part.box.rows.begin + at / width) * kColumns + part.box.columns.begin + at % width;
  };
  for (std::int64_t begin = 0; begin < from_box.elements(); ++begin) {
    const FlatPart from{from_box, begin, std::min<std::int64_t>(4, from_box.elements() - begin)};
    std::vector<float> source;
    for (std::int64_t i = 0; i < from.length; ++i) {
      source.push_back(static_cast<float>(1 + index(from, i)));
    }
    for (const Region& box : boxes) {
      for (std::int64_t offset = 0; offset < box.elements(); ++offset) {
        const FlatPart part{box, offset, box.elements() - offset};
        const OwnedTensor to(DType::f64, {part.length});
        const std::int64_t copied = copy_common("x", from, std::as_bytes(std::span(source)).data(),
                                                StoredType::f32, part, to.tensor);
        std::int64_t expected = 0;
        for (std::int64_t i = 0; i < part.length; ++i) {
          const auto value = static_cast<float>(1 + index(part, i));
          const bool is_there = std::ranges::find(source, value) != source.end();
          expected += is_there ? 1 : 0;
          ASSERT_EQ(to.tensor.data<double>()[i], is_there ? value : 0);
        }
        ASSERT_EQ(copied, expected);
        ASSERT_EQ(have_common(from, part), expected > 0);
      }
    }
  }
}

}  // namespace
}  // namespace gda::test
