#include <gtest/gtest.h>

#include "data/scratch.h"

namespace gda {
namespace {
using test::bytes_of;
using test::message_of;
using test::scratch_folder;

std::string header(std::int32_t magic, std::int32_t version, std::int32_t tokens) {
  std::string bytes = bytes_of<std::int32_t>({magic, version, tokens});
  bytes.resize(1024);
  return bytes;
}

std::string write(const std::string& name, const std::string& content) {
  const auto path = scratch_folder() / name;
  write_text_file_atomically(path, content);
  return path.string();
}

TEST(LlmcDataset, ReadsBothVariants) {
  const auto narrow =
      write("a.bin", header(20240520, 1, 5) + bytes_of<std::uint16_t>({50256, 1, 2, 50256, 3}));
  const auto gpt2 = open_token_datasets(narrow, 50257);
  EXPECT_EQ(test::read_all(*gpt2.front()), (std::vector<std::int32_t>{50256, 1, 2, 50256, 3}));
  std::vector<std::int64_t> starts;
  gpt2.front()->append_document_starts(0, 5, starts);
  EXPECT_EQ(starts, (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(gpt2.front()->document_start_from(1), 3);
  EXPECT_EQ(gpt2.front()->document_start_from(4), 5);

  const auto wide =
      write("b.bin", header(20240801, 7, 3) + bytes_of<std::uint32_t>({9, 128000, 7}));
  const auto llama = open_token_datasets(wide, 128256);
  EXPECT_EQ(test::read_all(*llama.front()), (std::vector<std::int32_t>{9, 128000, 7}));
  EXPECT_EQ(llama.front()->document_start_from(1), 1);
  llama.front()->verify();
}

TEST(LlmcDataset, JoinsAFolderInTheOrderOfNames) {
  const auto folder = scratch_folder();
  for (int i : {2, 0, 1}) {
    write_text_file_atomically(
        folder / fmt::format("part{}.bin", i),
        header(20240520, 1, 1) + bytes_of<std::uint16_t>({static_cast<std::uint16_t>(i)}));
  }
  const auto datasets = open_token_datasets(folder.string(), 10);
  ASSERT_EQ(datasets.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(test::read_all(*datasets[i]), std::vector{static_cast<std::int32_t>(i)});
  }
}

TEST(LlmcDataset, SaysWhatIsWrong) {
  const auto open_error = [](const std::string& path) {
    return message_of<FormatError>([&] { open_token_datasets(path, 100); });
  };
  const auto magic = write("a", header(1, 1, 0));
  EXPECT_EQ(open_error(magic),
            magic + ": not an llm.c shard: expected the magic 20240520 or 20240801, found 1");
  const auto version = write("b.bin", header(20240520, 2, 0));
  EXPECT_EQ(open_error(version), version + ": expected version 1 of the llm.c shard, found 2");
  const auto truncated = write("c.bin", header(20240520, 1, 4) + "123456");
  EXPECT_EQ(open_error(truncated), truncated +
                                       ": truncated: 4 tokens take 1032 bytes with the header, "
                                       "the file has 1030");
  const auto is_short = write("d.bin", bytes_of<std::int32_t>({20240520}));
  EXPECT_CONTAINS(open_error(is_short), "truncated: the header of an llm.c shard takes 1024");
  const auto ids = write("e.bin", header(20240520, 1, 2) + bytes_of<std::uint16_t>({1, 100}));
  const auto dataset = open_token_datasets(ids, 100);
  EXPECT_CONTAINS(message_of<FormatError>([&] { dataset.front()->verify(); }),
                  ids + ": token 1 has id 100, but the model's vocab_size is 100");
}

}  // namespace
}  // namespace gda
