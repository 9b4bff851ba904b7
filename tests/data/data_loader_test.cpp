#include "gda/data/data_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "data/scratch.h"
#include "gda/ops/linear_cross_entropy.h"

namespace gda {
namespace {
using test::scratch_folder;
using test::write_counting;

constexpr std::int64_t kVocab = 1 << 20;  // tokens are their own positions

std::int64_t four_a_step(std::int64_t step) {
  return step * 4;
}

std::span<const std::int32_t> values(const OwnedTensor& tensor) {
  return {tensor.tensor.data<std::int32_t>(), static_cast<std::size_t>(tensor.tensor.elements())};
}

std::vector<std::int64_t> lengths(std::int64_t documents) {
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < documents; ++i) result.push_back(1 + (i * 7919) % 23);
  return result;
}

DataConfig config_of(const std::string& path, std::int64_t length, double validation) {
  DataConfig config;
  config.sources = {{"only", path, {}}};
  config.sequence_length = length;
  config.validation_fraction = validation;
  return config;
}

// The windows of an epoch by their numbers, in the order in which they come, and where the first
// begins.
struct EpochOrder {
  EpochOrder(const DataLoader& loader, std::int64_t epoch, std::int64_t windows,
             std::int64_t length) {
    Batch batch(1, length);
    for (std::int64_t i = 0; i < windows; ++i) {
      loader.fill_batch(epoch * windows + i, batch);
      order.push_back(values(batch.tokens)[0]);
    }
    offset = *std::min_element(order.begin(), order.end());
    for (std::int32_t& begin : order) begin = (begin - offset) / static_cast<std::int32_t>(length);
  }
  std::vector<std::int32_t> order;
  std::int32_t offset;
};

TEST(DataLoader, GoesThroughEveryWindowOnceAnEpoch) {
  const auto path = write_counting(scratch_folder(), "x", lengths(500), kVocab);
  const DataLoader loader(config_of(path, 16, 0), kVocab, four_a_step);
  const std::int64_t windows = (loader.train_tokens(0) - 1) / 16;
  std::set<std::vector<std::int32_t>> orders;
  Batch batch(1, 16);
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int32_t> begins;
    for (std::int64_t i = 0; i < windows; ++i) {
      loader.fill_batch(epoch * windows + i, batch);
      begins.push_back(values(batch.tokens)[0]);
    }
    std::sort(begins.begin(), begins.end());
    for (std::size_t i = 1; i < begins.size(); ++i) EXPECT_EQ(begins[i] - begins[i - 1], 16);
    EXPECT_LE(begins.back() + 16, loader.train_tokens(0) - 1);
    orders.insert(EpochOrder(loader, epoch, windows, 16).order);
    EXPECT_DOUBLE_EQ(loader.epochs_at(0, (epoch + 1) * windows), epoch + 1.0);
  }
  EXPECT_EQ(orders.size(), 3U);  // whatever token they begin with
}

// 64 tokens and one more in windows of 14: four, and eight tokens that are left over.
TEST(DataLoader, EpochsBeginAtAnyTokenThatIsLeftOver) {
  const auto path = write_counting(scratch_folder(), "x", {65}, kVocab);
  const DataLoader loader(config_of(path, 14, 0), kVocab, four_a_step);
  std::map<std::int32_t, int> offsets;
  for (std::int64_t epoch = 0; epoch < 900; ++epoch)
    ++offsets[EpochOrder(loader, epoch, 4, 14).offset];
  ASSERT_EQ(offsets.size(), 9U);
  EXPECT_EQ(offsets.begin()->first, 0);
  EXPECT_EQ(offsets.rbegin()->first, 8);
  // Binomial with mean 100 and standard deviation 9.4: six of these.
  for (const auto& [offset, count] : offsets) EXPECT_NEAR(count, 100, 57) << offset;
}

TEST(DataLoader, SourcesOfOneLengthHaveOrdersOfTheirOwn) {
  const auto path = write_counting(scratch_folder(), "x", lengths(500), kVocab);
  std::set<std::vector<std::int32_t>> orders;
  for (const char* name : {"one", "two"}) {
    for (const std::int64_t seed : {1, 2}) {
      DataConfig config = config_of(path, 16, 0);
      config.sources[0].name = name;
      config.seed = seed;
      const DataLoader loader(config, kVocab, four_a_step);
      orders.insert(EpochOrder(loader, 0, (loader.train_tokens(0) - 1) / 16, 16).order);
    }
  }
  EXPECT_EQ(orders.size(), 4U);
}

TEST(DataLoader, MarksDocuments) {
  const auto path = write_counting(scratch_folder(), "x", {3, 1, 5, 100}, kVocab);
  // One window, [0, 108), whose target reaches token 108.
  const DataLoader loader(config_of(path, 108, 0), kVocab, four_a_step);
  Batch batch(1, 108);
  loader.fill_batch(0, batch);
  const std::map<int, int> first_of{{0, 0}, {2, 0}, {3, 3}, {4, 4}, {8, 4}, {9, 9}, {107, 9}};
  for (const auto& [t, first] : first_of) {
    const auto i = static_cast<std::size_t>(t);
    EXPECT_EQ(values(batch.tokens)[i], t);
    EXPECT_EQ(values(batch.first_key)[i], first) << t;
    EXPECT_EQ(values(batch.position)[i], t - first) << t;
    const bool ends = t == 2 || t == 3 || t == 8;
    EXPECT_EQ(values(batch.targets)[i], ends ? kIgnoreTarget : t + 1) << t;
  }
  EXPECT_EQ(batch.target_count(), 108 - 3);
}

TEST(DataLoader, LeavesDocumentsTogetherWithoutTheMask) {
  const auto path = write_counting(scratch_folder(), "x", {3, 1, 5, 100}, kVocab);
  auto config = config_of(path, 108, 0);
  config.document_mask = false;
  const DataLoader loader(config, kVocab, four_a_step);
  Batch batch(1, 108);
  loader.fill_batch(0, batch);
  for (std::size_t t = 0; t < 108; ++t) {
    EXPECT_EQ(values(batch.targets)[t], static_cast<std::int32_t>(t) + 1);
    EXPECT_EQ(values(batch.position)[t], static_cast<std::int32_t>(t));
    EXPECT_EQ(values(batch.first_key)[t], 0);
  }
}

TEST(DataLoader, DoesNotDependOnHowRowsAreDividedNorOnHistory) {
  const auto folder = scratch_folder();
  DataConfig config = config_of(write_counting(folder, "a", lengths(300), kVocab), 8, 0.1);
  config.sources.push_back(
      {"other", write_counting(folder, "b", lengths(50), kVocab), Timeline{{{0, 0.5}, {20, 3.0}}}});
  const DataLoader loader(config, kVocab, four_a_step);
  const DataLoader again(config, kVocab, four_a_step);
  Batch whole(12, 8);
  Batch part(1, 8);
  loader.fill_batch(400, whole);
  for (std::int64_t row = 11; row >= 0; --row) {
    again.fill_batch(400 + row, part);
    const auto expected = values(whole.tokens).subspan(static_cast<std::size_t>(row) * 8, 8);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), values(part.tokens).begin()));
    EXPECT_EQ(whole.source[static_cast<std::size_t>(row)], part.source[0]);
  }
  config.seed = 99;
  const DataLoader reordered(config, kVocab, four_a_step);
  Batch other(12, 8);
  reordered.fill_batch(400, other);
  EXPECT_FALSE(std::equal(values(whole.tokens).begin(), values(whole.tokens).end(),
                          values(other.tokens).begin()));
}

// Which documents the training and validation tokens of a split belong to.
void expect_clean_split(const std::vector<std::int64_t>& document_lengths, double fraction) {
  const auto path = write_counting(scratch_folder(), "x", document_lengths, kVocab);
  const DataLoader loader(config_of(path, 16, fraction), kVocab, four_a_step);
  const std::int64_t total =
      std::accumulate(document_lengths.begin(), document_lengths.end(), std::int64_t{0});
  std::vector<char> held_out(static_cast<std::size_t>(total), 0);
  ASSERT_EQ(loader.validation().size(), 1U);
  const EvaluationSet& set = loader.validation().front();
  Batch batch(1, 16);
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < set.samples(); ++i) {
    set.fill_batch(i, batch);
    const std::int64_t real = std::min<std::int64_t>(16, set.tokens() - i * 16);
    for (std::int64_t t = 0; t < real; ++t) {
      ++found;
      ++held_out[static_cast<std::size_t>(values(batch.tokens)[static_cast<std::size_t>(t)])];
    }
  }
  EXPECT_GE(found, set.tokens() - 1);
  EXPECT_EQ(set.tokens() + loader.train_tokens(0), total);
  // Whole documents are held out (the set's last token may only be a target).
  std::int64_t begin = 0;
  std::int64_t partly = 0;
  for (const std::int64_t length : document_lengths) {
    const auto from = held_out.begin() + begin;
    const auto count = std::count(from, from + length, 1);
    partly += count != 0 && count != length ? 1 : 0;
    begin += length;
  }
  EXPECT_LE(partly, 1);
  const std::int64_t windows = (loader.train_tokens(0) - 1) / 16;
  for (std::int64_t i = 0; i < 2 * windows; ++i) {
    loader.fill_batch(i, batch);
    for (std::size_t t = 0; t < 16; ++t) {
      ASSERT_EQ(held_out[static_cast<std::size_t>(values(batch.tokens)[t])], 0);
      if (values(batch.targets)[t] >= 0) {
        ASSERT_EQ(held_out[static_cast<std::size_t>(values(batch.targets)[t])], 0);
      }
    }
  }
}

TEST(DataLoader, NeverTrainsOnWhatIsHeldOut) {
  expect_clean_split(lengths(2000), 0.01);
  expect_clean_split(lengths(100), 0.1);
  expect_clean_split({100, 30}, 0.01);
  expect_clean_split({40, 50, 60}, 0.3);
}

// Tokens of validation and training of documents of which one is most of the source.
void expect_end_held_out(const std::vector<std::int64_t>& document_lengths, double fraction,
                         std::int64_t validation) {
  const auto path = write_counting(scratch_folder(), "x", document_lengths, kVocab);
  const DataLoader loader(config_of(path, 8, fraction), kVocab, four_a_step);
  const std::int64_t total =
      std::accumulate(document_lengths.begin(), document_lengths.end(), std::int64_t{0});
  ASSERT_EQ(loader.validation().size(), 1U);
  const EvaluationSet& set = loader.validation().front();
  EXPECT_EQ(set.tokens(), validation);
  EXPECT_TRUE(set.begins_inside_document());
  EXPECT_EQ(loader.train_tokens(0), total - validation);
  Batch batch(1, 8);
  set.fill_batch(0, batch);
  EXPECT_EQ(values(batch.tokens)[0], total - validation);
}

TEST(DataLoader, HoldsOutTheEndOfASingleDocument) {
  expect_end_held_out({100}, 0.1, 10);
  expect_end_held_out({100}, 0.001, 2);
  expect_end_held_out({101}, 0.5, 50);
  // Whole documents would be 100 of 130 tokens.
  expect_end_held_out({30, 100}, 0.1, 13);
  const auto path = write_counting(scratch_folder(), "x", {65, 65}, kVocab);
  const DataLoader halves(config_of(path, 8, 0.1), kVocab, four_a_step);
  EXPECT_EQ(halves.validation().front().tokens(), 65);
  EXPECT_FALSE(halves.validation().front().begins_inside_document());
}

TEST(DataLoader, HoldsOutTheAskedShareFromEverywhere) {
  const auto path = write_counting(scratch_folder(), "x", lengths(20000), kVocab);
  const DataLoader loader(config_of(path, 16, 0.05), kVocab, four_a_step);
  const EvaluationSet& set = loader.validation().front();
  const double total = static_cast<double>(set.tokens() + loader.train_tokens(0));
  // Each of the 16 strata is off by at most one document of 23 tokens at each end.
  EXPECT_NEAR(static_cast<double>(set.tokens()), 0.05 * total, 16 * 2 * 23);
  Batch batch(1, 16);
  std::set<std::int64_t> sixteenths;
  for (std::int64_t i = 0; i < set.samples(); ++i) {
    set.fill_batch(i, batch);
    sixteenths.insert(static_cast<std::int64_t>(values(batch.tokens)[0] * 16 / total));
  }
  EXPECT_EQ(sixteenths.size(), 16U);
}

TEST(DataLoader, JoinsFoldersAcrossTheirBorders) {
  const auto folder = scratch_folder();
  make_directories(folder / "joined");
  write_counting(folder / "joined", "1", {10, 7}, kVocab);
  write_counting(folder / "joined", "2", {20}, kVocab);
  const DataLoader loader(config_of((folder / "joined").string(), 36, 0), kVocab, four_a_step);
  Batch batch(1, 36);
  loader.fill_batch(0, batch);
  EXPECT_EQ(values(batch.tokens)[16], 16);
  EXPECT_EQ(values(batch.targets)[16], kIgnoreTarget);
  EXPECT_EQ(values(batch.tokens)[17], 0);
  EXPECT_EQ(values(batch.first_key)[17], 17);
}

TEST(EvaluationSet, PredictsEveryTokenOnceAndPadsTheEnd) {
  const auto path = write_counting(scratch_folder(), "x", {30, 7}, kVocab);
  const auto set = EvaluationSet::open("dev", path, kVocab, 8, false);
  ASSERT_EQ(set.samples(), 5);
  Batch batch(6, 8);
  set.fill_batch(0, batch);
  EXPECT_EQ(batch.target_count(), 36);
  for (std::size_t i = 0; i < 36; ++i) {
    EXPECT_EQ(values(batch.targets)[i], static_cast<std::int32_t>(i) + 1);
  }
  EXPECT_EQ(values(batch.tokens)[40], 0);
  EXPECT_EQ(values(batch.targets)[40], kIgnoreTarget);
}

TEST(DataLoader, SaysWhatCannotBe) {
  const auto folder = scratch_folder();
  const auto path = write_counting(folder, "x", {30}, kVocab);
  const auto error = [](const DataConfig& config) {
    return test::message_of<ConfigError>([&] { DataLoader(config, kVocab, four_a_step); });
  };
  EXPECT_EQ(error(config_of(path, 30, 0)),
            "data.sources: only has 30 tokens to train on, a sample needs 31: lower "
            "data.sequence_length, or add text");
  const auto tiny = write_counting(folder, "tiny", {3}, kVocab);
  EXPECT_CONTAINS(error(config_of(tiny, 1, 0.1)),
                  "3 tokens are too few to keep some for validation");
  auto twice = config_of(path, 8, 0);
  twice.sources.push_back(twice.sources.front());
  EXPECT_CONTAINS(error(twice), "two sources are named only");
  const DataLoader loader(config_of(path, 8, 0), 25, four_a_step);
  Batch batch(4, 8);
  EXPECT_CONTAINS(test::message_of<FormatError>([&] {
                    for (int i = 0; i < 4; ++i) loader.fill_batch(i, batch);
                  }),
                  path + ".bin: sequence 0 has token id 25 at position 25");
}

}  // namespace
}  // namespace gda
