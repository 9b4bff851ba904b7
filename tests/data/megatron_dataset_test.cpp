#include <gtest/gtest.h>

#include <numeric>

#include "data/scratch.h"

namespace gda {
namespace {
using test::bytes_of;
using test::message_of;
using test::patch;
using test::scratch_folder;

TEST(MegatronDataset, HasTheExactLayout) {
  const auto folder = scratch_folder();
  const std::string prefix = (folder / "x").string();
  TokenDatasetWriter writer(prefix, 1000);
  writer.append(std::vector<std::int32_t>{1, 2});
  writer.append(std::vector<std::int32_t>{3});
  writer.end_document();
  writer.end_document();  // no tokens: nothing is written
  writer.append(std::vector<std::int32_t>{999});
  writer.finish();
  EXPECT_EQ(writer.documents(), 2);
  EXPECT_EQ(read_text_file(prefix + ".bin"), bytes_of<std::uint16_t>({1, 2, 3, 999}));
  const std::string idx = std::string("MMIDIDX\0\0", 9) + bytes_of<std::uint64_t>({1}) + "\x08" +
                          bytes_of<std::uint64_t>({2, 3}) + bytes_of<std::int32_t>({3, 1}) +
                          bytes_of<std::int64_t>({0, 6}) + bytes_of<std::int64_t>({0, 1, 2});
  EXPECT_EQ(read_text_file(prefix + ".idx"), idx);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 3);
}

TEST(MegatronDataset, WritesTwoBytesBelow65500AndFourFromThereOn) {
  const auto folder = scratch_folder();
  const auto narrow = test::write_counting(folder, "narrow", {10}, 65499);
  const auto wide = test::write_counting(folder, "wide", {10}, 65500);
  EXPECT_EQ(std::filesystem::file_size(narrow + ".bin"), 20U);
  EXPECT_EQ(std::filesystem::file_size(wide + ".bin"), 40U);
  for (const auto& prefix : {narrow, wide, wide + ".bin", wide + ".idx"}) {
    const auto dataset = open_token_datasets(prefix, 70000);
    std::vector<std::int32_t> expected(10);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(test::read_all(*dataset.front()), expected) << prefix;
  }
}

TEST(MegatronDataset, ReadsEveryIntegerType) {
  const auto folder = scratch_folder();
  const auto prefix = (folder / "x").string();
  const std::vector<std::pair<char, std::string>> types{
      {'\x01', bytes_of<std::uint8_t>({7, 5})}, {'\x02', bytes_of<std::int8_t>({7, 5})},
      {'\x03', bytes_of<std::int16_t>({7, 5})}, {'\x04', bytes_of<std::int32_t>({7, 5})},
      {'\x05', bytes_of<std::int64_t>({7, 5})}, {'\x08', bytes_of<std::uint16_t>({7, 5})}};
  for (const auto& [code, tokens] : types) {
    write_text_file_atomically(prefix + ".bin", tokens);
    write_text_file_atomically(prefix + ".idx",
                               std::string("MMIDIDX\0\0", 9) + bytes_of<std::uint64_t>({1}) + code +
                                   bytes_of<std::uint64_t>({1, 2}) + bytes_of<std::int32_t>({2}) +
                                   bytes_of<std::int64_t>({0, 0, 1}));
    const auto dataset = open_token_datasets(prefix, 8);
    EXPECT_EQ(test::read_all(*dataset.front()), (std::vector<std::int32_t>{7, 5}));
    dataset.front()->verify();
  }
}

TEST(MegatronDataset, FindsNegativeIds) {
  const auto prefix = (scratch_folder() / "x").string();
  for (const auto& [code, tokens] : {std::pair('\x02', bytes_of<std::int8_t>({7, -5})),
                                     std::pair('\x04', bytes_of<std::int32_t>({7, -5}))}) {
    write_text_file_atomically(prefix + ".bin", tokens);
    write_text_file_atomically(prefix + ".idx",
                               std::string("MMIDIDX\0\0", 9) + bytes_of<std::uint64_t>({1}) + code +
                                   bytes_of<std::uint64_t>({1, 2}) + bytes_of<std::int32_t>({2}) +
                                   bytes_of<std::int64_t>({0, 0, 1}));
    const auto dataset = open_token_datasets(prefix, 8);
    EXPECT_CONTAINS(message_of<FormatError>([&] { dataset.front()->verify(); }),
                    "sequence 0 has token id -5 at position 1");
  }
}

TEST(MegatronDataset, FindsDocumentsAlsoWithoutTokensAndOfSeveralSequences) {
  const auto folder = scratch_folder();
  const auto prefix = (folder / "x").string();
  // Sequences of 2, 1, 0 and 3 tokens; documents {0, 1}, {}, {2}, {3}.
  write_text_file_atomically(prefix + ".bin", bytes_of<std::uint16_t>({1, 2, 3, 4, 5, 6}));
  write_text_file_atomically(
      prefix + ".idx", std::string("MMIDIDX\0\0", 9) + bytes_of<std::uint64_t>({1}) + "\x08" +
                           bytes_of<std::uint64_t>({4, 5}) + bytes_of<std::int32_t>({2, 1, 0, 3}) +
                           bytes_of<std::int64_t>({0, 4, 6, 6}) +
                           bytes_of<std::int64_t>({0, 2, 2, 3, 4}));
  const auto datasets = open_token_datasets(prefix, 10);
  const TokenDataset& dataset = *datasets.front();
  const auto starts = [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> found;
    dataset.append_document_starts(begin, end, found);
    return found;
  };
  EXPECT_EQ(starts(0, 6), (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(starts(0, 3), (std::vector<std::int64_t>{0}));
  EXPECT_EQ(starts(1, 4), (std::vector<std::int64_t>{3}));
  EXPECT_EQ(starts(4, 6), (std::vector<std::int64_t>{}));
  EXPECT_EQ(dataset.document_start_from(0), 0);
  EXPECT_EQ(dataset.document_start_from(1), 3);
  EXPECT_EQ(dataset.document_start_from(4), 6);
}

class DamagedDataset : public testing::Test {
 protected:
  void SetUp() override { prefix_ = test::write_counting(scratch_folder(), "x", {3, 4, 5}, 100); }
  std::string open_error() const {
    return message_of<FormatError>([this] { open_token_datasets(prefix_, 100); });
  }
  std::string prefix_;
};

TEST_F(DamagedDataset, WrongMagic) {
  patch(prefix_ + ".idx", 0, "MMIDI\x01");
  EXPECT_EQ(open_error(), prefix_ +
                              ".idx: not a Megatron index: expected the magic "
                              "\"MMIDIDX\\x00\\x00\", found \"MMIDI\\x01X\\x00\\x00\"");
}

TEST_F(DamagedDataset, WrongVersion) {
  patch(prefix_ + ".idx", 9, "\x02");
  EXPECT_EQ(open_error(), prefix_ + ".idx: expected version 1 of the index, found 2");
}

TEST_F(DamagedDataset, CodeOfFloats) {
  patch(prefix_ + ".idx", 17, "\x06");
  EXPECT_EQ(open_error(), prefix_ +
                              ".idx: dtype code 6 is not one of integers (1 u8, 2 i8, 3 i16, 4 "
                              "i32, 5 i64, 8 u16)");
}

TEST_F(DamagedDataset, TruncatedTokens) {
  std::filesystem::resize_file(prefix_ + ".bin", 20);
  EXPECT_EQ(open_error(), prefix_ + ".bin: truncated: " + prefix_ +
                              ".idx describes 24 bytes of tokens, the file has 20");
}

TEST_F(DamagedDataset, TruncatedOrLongIndex) {
  const std::string content = read_text_file(prefix_ + ".idx");
  std::filesystem::resize_file(prefix_ + ".idx", 20);
  EXPECT_EQ(open_error(), prefix_ + ".idx: truncated: the header takes 34 bytes, the file has 20");
  std::filesystem::resize_file(prefix_ + ".idx", 0);
  EXPECT_CONTAINS(open_error(), "the file has 0");
  write_text_file_atomically(prefix_ + ".idx", content.substr(0, content.size() - 8));
  EXPECT_EQ(open_error(), prefix_ +
                              ".idx: truncated: 3 sequences and 4 document entries take 102 "
                              "bytes, the file has 94");
  write_text_file_atomically(prefix_ + ".idx", content + "x");
  EXPECT_CONTAINS(open_error(), "too long: 3 sequences and 4 document entries take 102");
}

TEST_F(DamagedDataset, CountsThatOverflow) {
  patch(prefix_ + ".idx", 18, bytes_of<std::uint64_t>({0xffffffffffffffffU}));
  EXPECT_CONTAINS(open_error(), "truncated: 18446744073709551615 sequences");
}

TEST_F(DamagedDataset, LengthsAndOffsetsThatDoNotFit) {
  patch(prefix_ + ".idx", 34 + 4, bytes_of<std::int32_t>({-4}));
  EXPECT_CONTAINS(open_error(), "sequence 1 has length -4 at byte 6");
  patch(prefix_ + ".idx", 34 + 4, bytes_of<std::int32_t>({4}));
  patch(prefix_ + ".idx", 34 + 12 + 8, bytes_of<std::int64_t>({1 << 20}));
  EXPECT_CONTAINS(open_error(),
                  "sequence 0 has length 3 at byte 0, but the next one starts at "
                  "byte 1048576 of 24");
}

TEST_F(DamagedDataset, DocumentIndex) {
  const std::size_t documents = 34 + 3 * 12;
  patch(prefix_ + ".idx", documents + 8, bytes_of<std::int64_t>({7}));
  EXPECT_EQ(open_error(), prefix_ + ".idx: entry 1 of the document index is 7, expected 0 to 3");
  patch(prefix_ + ".idx", documents + 24, bytes_of<std::int64_t>({2}));
  EXPECT_CONTAINS(open_error(), "must begin with 0 and end with the number of sequences, 3");
}

TEST_F(DamagedDataset, IdsBeyondTheVocabulary) {
  const auto datasets = open_token_datasets(prefix_, 8);
  std::vector<std::int32_t> tokens(8);
  datasets.front()->read(0, tokens);
  const std::string message =
      prefix_ +
      ".bin: sequence 2 has token id 8 at position 1, but the model's vocab_size is 8: use the "
      "tokenizer that the dataset was made with, or a larger vocab_size";
  EXPECT_EQ(message_of<FormatError>([&] { datasets.front()->read(4, tokens); }), message);
  EXPECT_EQ(message_of<FormatError>([&] { datasets.front()->verify(); }), message);
}

TEST_F(DamagedDataset, MissingFiles) {
  std::filesystem::remove(prefix_ + ".idx");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_token_datasets(prefix_, 8); }),
                  prefix_ + ".idx is missing beside " + prefix_ + ".bin");
  std::filesystem::remove(prefix_ + ".bin");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_token_datasets(prefix_, 8); }),
                  "no token dataset at " + prefix_);
  const auto folder = std::filesystem::path(prefix_).parent_path().string();
  EXPECT_CONTAINS(message_of<IoError>([&] { open_token_datasets(folder, 8); }),
                  "no token dataset in folder " + folder);
}

TEST(TokenWriter, LeavesNothingIfItIsNotFinished) {
  const auto folder = scratch_folder();
  const std::string prefix = (folder / "deep" / "x").string();
  {
    TokenDatasetWriter writer(prefix, 100);
    writer.append(std::vector<std::int32_t>(1000, 1));
    writer.end_document();
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder / "deep"));
}

TEST(TokenWriter, NamesAPlaceThatCannotBeWritten) {
  EXPECT_CONTAINS(message_of<IoError>([] { TokenDatasetWriter("/proc/gda/x", 10); }),
                  "cannot make folder /proc/gda");
  const std::string long_name = (scratch_folder() / std::string(300, 'x')).string();
  EXPECT_CONTAINS(message_of<IoError>([&] { TokenDatasetWriter(long_name, 10); }),
                  "cannot create " + long_name + ".bin.");
}

}  // namespace
}  // namespace gda
