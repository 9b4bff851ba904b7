#include "gda/data/dataset_identity.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/content_summary.h"
#include "data/dataset_sidecar.h"
#include "data/scan.h"
#include "data/scratch.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::message_of;

const TokenizerIdentity kTokenizer{
    .kind = "sentencepiece", .fingerprint = "0123456789abcdef", .vocab_size = 100};

DatasetIdentity identify(const std::string& path) {
  const auto alone = make_self_communicator();
  return joined_identity(identify_datasets({path}, *alone).front());
}

class DatasetIdentityTest : public ::testing::Test {
 protected:
  // No test writes to the cache of who runs it.
  void SetUp() override { ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1); }
  void TearDown() override { ::unsetenv("XDG_CACHE_HOME"); }

  std::string write(const std::string& name,
                    const std::vector<std::vector<std::int32_t>>& documents,
                    std::int64_t vocab_size = 100) const {
    const std::string prefix = (folder_ / name).string();
    TokenDatasetWriter writer(prefix, vocab_size, kTokenizer);
    for (const auto& document : documents) {
      writer.append(document);
      writer.end_document();
    }
    writer.finish();
    return prefix;
  }

  std::string write_shard(const std::string& name, std::int32_t magic, std::int32_t version,
                          const std::string& tokens, std::int32_t count) const {
    std::string bytes = bytes_of<std::int32_t>({magic, version, count});
    bytes.resize(1024);
    write_text_file_atomically(folder_ / name, bytes + tokens);
    return (folder_ / name).string();
  }

  // Marks what is kept of a dataset, so that it shows whether it was believed or read anew.
  static void mark(const fs::path& sidecar) {
    auto json = nlohmann::ordered_json::parse(read_text_file(sidecar));
    json["content"] = "marked";
    write_text_file_atomically(sidecar, json.dump());
  }

  const fs::path folder_ = test::scratch_folder();
};

TEST_F(DatasetIdentityTest, IsWrittenWithTheDataset) {
  const std::string prefix = write("a", {{5, 6, 7}, {99}, {2, 2}});
  const DatasetIdentity identity = identify(prefix);
  EXPECT_EQ(identity.tokens, 6);
  EXPECT_EQ(identity.documents, 3);
  EXPECT_EQ(identity.smallest_id, 2);
  EXPECT_EQ(identity.largest_id, 99);
  EXPECT_EQ(identity.tokenizer, kTokenizer);
  EXPECT_EQ(identity, parse_dataset_identity(identity_json(identity), "text"));
  mark(prefix + ".gda.json");
  EXPECT_EQ(identify(prefix).content, "marked");
  EXPECT_EQ(identify(prefix + ".idx").content, "marked");
}

// The writer counts as tokens come, a scan in blocks: over the borders of blocks they are the same.
TEST_F(DatasetIdentityTest, AScanFindsWhatTheWriterSaid) {
  std::vector<std::vector<std::int32_t>> documents;
  const auto add = [&](std::int64_t length) {
    documents.emplace_back(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < documents.back().size(); ++i) {
      documents.back()[i] = static_cast<std::int32_t>(3 + i % 61);
    }
  };
  for (const std::int64_t length :
       {std::int64_t{1000}, kBlockTokens - 1000, kBlockTokens / 2, kBlockTokens, std::int64_t{7}}) {
    add(length);
  }
  for (const std::int64_t vocab_size : {100, 70000}) {
    const std::string prefix = write("long", documents, vocab_size);
    const DatasetIdentity written = identify(prefix);
    fs::remove(prefix + ".gda.json");
    DatasetIdentity found = identify(prefix);
    EXPECT_EQ(found.tokenizer, std::nullopt);
    found.tokenizer = kTokenizer;
    EXPECT_EQ(found, written);
    EXPECT_EQ(found.documents, 5);
  }
}

TEST_F(DatasetIdentityTest, DependsOnIdsAndDocumentsAlone) {
  const std::string content = identify(write("a", {{50256, 1, 2}, {50256, 3}}, 50257)).content;
  EXPECT_EQ(identify(write("wide", {{50256, 1, 2}, {50256, 3}}, 70000)).content, content);
  EXPECT_EQ(identify(write_shard("shard.bin", 20240520, 1,
                                 bytes_of<std::uint16_t>({50256, 1, 2, 50256, 3}), 5))
                .content,
            content);
  EXPECT_NE(identify(write("b", {{50256, 1, 2}, {50256, 4}}, 50257)).content, content);
  EXPECT_NE(identify(write("c", {{50256, 1}, {2, 50256, 3}}, 50257)).content, content);
  EXPECT_NE(identify(write("d", {{50256, 1, 2}, {50256, 3}, {3}}, 50257)).content, content);
}

TEST_F(DatasetIdentityTest, ForeignDatasetsAreReadOnce) {
  const std::string shard = write_shard("foreign.bin", 20240801, 7,
                                        bytes_of<std::uint32_t>({128000, 7, 3'000'000'000}), 3);
  const DatasetIdentity identity = identify(shard);
  EXPECT_EQ(identity.largest_id, 3'000'000'000);
  EXPECT_EQ(identity.tokenizer, std::nullopt);
  mark(folder_ / "foreign.gda.json");
  EXPECT_EQ(identify(shard).content, "marked");
}

TEST_F(DatasetIdentityTest, CopiedOrTouchedItIsTheSame) {
  const std::string prefix = write("a", {{5, 6, 7}, {99}});
  const DatasetIdentity written = identify(prefix);
  const auto time = fs::last_write_time(prefix + ".bin");
  fs::last_write_time(prefix + ".bin", time + std::chrono::seconds(5));
  EXPECT_EQ(identify(prefix), written);
  fs::create_directory(folder_ / "copy");
  for (const char* extension : {".bin", ".idx", ".gda.json"}) {
    fs::copy_file(prefix + extension, folder_ / "copy" / ("a" + std::string(extension)));
  }
  fs::last_write_time(folder_ / "copy" / "a.idx", time + std::chrono::hours(1));
  EXPECT_EQ(identify((folder_ / "copy" / "a").string()), written);
}

// Bytes anywhere, sizes and times as they were.
TEST_F(DatasetIdentityTest, ASwappedFileIsNoticed) {
  const std::string prefix = write("a", {std::vector<std::int32_t>(1000, 5), {7}});
  const DatasetIdentity written = identify(prefix);
  const auto time = fs::last_write_time(prefix + ".bin");
  test::patch(prefix + ".bin", 1001, std::string(1, '\1'));
  fs::last_write_time(prefix + ".bin", time);
  const DatasetIdentity found = identify(prefix);
  EXPECT_NE(found.content, written.content);
  EXPECT_EQ(found.largest_id, 256 + 5);
  EXPECT_EQ(found.tokenizer, std::nullopt);
  EXPECT_EQ(identify(prefix), found);
}

TEST_F(DatasetIdentityTest, ALongSwappedFileIsNoticed) {
  const std::vector<std::int32_t> zeros(300'000, 0);
  const std::vector<std::int32_t> ones(300'000, 1);
  const std::string a = write("a", {zeros});
  const std::string b = write("b", {ones});
  const auto time = fs::last_write_time(a + ".bin");
  fs::copy_file(b + ".bin", a + ".bin", fs::copy_options::overwrite_existing);
  fs::last_write_time(a + ".bin", time);
  EXPECT_EQ(identify(a).content, identify(b).content);
}

TEST_F(DatasetIdentityTest, ADamagedSidecarIsReplaced) {
  const std::string prefix = write("a", {{5, 6, 7}});
  DatasetIdentity expected = identify(prefix);
  expected.tokenizer.reset();
  for (const char* text : {"", "{", "[]", "{\"format\": \"other\"}", "{\"format\": 1}",
                           "{\"format\": \"gda dataset\", \"version\": 1}"}) {
    write_text_file_atomically(prefix + ".gda.json", text);
    EXPECT_EQ(identify(prefix), expected) << text;
  }
  mark(prefix + ".gda.json");
  EXPECT_EQ(identify(prefix).content, "marked");
  write_text_file_atomically(prefix + ".gda.json", "{\"format\": \"gda dataset\", \"version\": 2}");
  EXPECT_CONTAINS(message_of<ConfigError>([&] { identify(prefix); }),
                  prefix + ".gda.json: of version 2, which a newer gda wrote; this one knows 1");
}

// A folder of the file's name stops root, too, whom permissions do not.
TEST_F(DatasetIdentityTest, WhereTheFolderCannotBeWrittenTheCacheIs) {
  const std::string shard =
      write_shard("foreign.bin", 20240520, 1, bytes_of<std::uint16_t>({1, 2, 3}), 3);
  fs::create_directory(folder_ / "foreign.gda.json");
  const DatasetIdentity found = identify(shard);
  EXPECT_EQ(found.largest_id, 3);
  const fs::path cached = sidecar_in_cache(shard).value();
  ASSERT_TRUE(fs::is_regular_file(cached)) << cached;
  mark(cached);
  EXPECT_EQ(identify(shard).content, "marked");
  // No cache either: it is known all the same.
  fs::remove_all(folder_ / "cache");
  write_text_file_atomically(folder_ / "cache", "");
  EXPECT_EQ(identify(shard), found);
}

TEST_F(DatasetIdentityTest, ANewWriterLeavesNothingOfTheOldOne) {
  const std::string prefix = write("a", {{5, 6, 7}});
  const std::string content = identify(prefix).content;
  write("a", {{5, 6, 8}});
  EXPECT_NE(identify(prefix).content, content);
  EXPECT_EQ(identify(prefix).tokenizer, kTokenizer);
}

TEST_F(DatasetIdentityTest, AFolderIsItsDatasetsInOrder) {
  fs::create_directory(folder_ / "both");
  write("both/a", {{5, 6, 7}});
  write("both/b", {{1}, {98, 2}});
  const DatasetIdentity both = identify((folder_ / "both").string());
  EXPECT_EQ(both.tokens, 6);
  EXPECT_EQ(both.documents, 3);
  EXPECT_EQ(both.smallest_id, 1);
  EXPECT_EQ(both.largest_id, 98);
  EXPECT_EQ(both.tokenizer, kTokenizer);
  fs::rename(folder_ / "both" / "a.bin", folder_ / "both" / "c.bin");
  fs::rename(folder_ / "both" / "a.idx", folder_ / "both" / "c.idx");
  const DatasetIdentity turned = identify((folder_ / "both").string());
  EXPECT_NE(turned.content, both.content);
  EXPECT_EQ(turned.tokenizer, std::nullopt);  // of c nothing is said
}

TEST_F(DatasetIdentityTest, WithoutTokens) {
  const DatasetIdentity identity = identify(write("none", {}));
  EXPECT_EQ(identity.tokens, 0);
  EXPECT_EQ(identity.largest_id, -1);
  const DatasetIdentity shard = identify(write_shard("empty.bin", 20240520, 1, "", 0));
  EXPECT_EQ(shard.content, identity.content);
  EXPECT_EQ(shard.largest_id, -1);
}

TEST_F(DatasetIdentityTest, AllThatCannotBeOpenedIsTold) {
  const auto alone = make_self_communicator();
  const std::string good = write("good", {{1, 2}});
  EXPECT_CONTAINS(message_of<IoError>([&] {
                    identify_datasets({good, "/none"}, *alone);
                  }),
                  "no token dataset at /none");
  const std::string both = message_of<IoError>([&] {
    identify_datasets({"/none", good, "/nothing"}, *alone);
  });
  EXPECT_CONTAINS(both, "2 sources of data cannot be opened:\n  no token dataset at /none");
  EXPECT_CONTAINS(both, "\n  no token dataset at /nothing");
}

}  // namespace
}  // namespace gda
