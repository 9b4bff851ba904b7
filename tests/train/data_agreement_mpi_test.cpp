// What ranks find out about the data together.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <tuple>

#include "data/content_summary.h"
#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/error.h"
#include "gda/train/trainer.h"
#include "support/mpi.h"
#include "support/shared_folder.h"
#include "support/tiny_run.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

class DataRanksTest : public ::testing::Test {
 protected:
  // On rank 0, before the others go on.
  template <class Act>
  static void first(const Act& act) {
    if (test::world().rank() == 0) act();
    test::world().barrier();
  }

  const test::SharedFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(DataRanksTest, ShareTheScan) {
  constexpr std::int64_t kTokens = 3 * kBlockTokens + 12345;
  const std::string prefix = (root_ / "long").string();
  first([&] {
    TokenDatasetWriter writer(prefix, 1000);
    std::vector<std::int32_t> document;
    for (std::int64_t done = 0; done < kTokens;
         done += static_cast<std::int64_t>(document.size())) {
      document.assign(static_cast<std::size_t>(std::min<std::int64_t>(98'765, kTokens - done)), 0);
      for (std::size_t i = 0; i < document.size(); ++i) {
        document[i] = static_cast<std::int32_t>((static_cast<std::size_t>(done) + i * i) % 997);
      }
      writer.append(document);
      writer.end_document();
    }
    writer.finish();
  });
  const auto written = joined_identity(identify_datasets({prefix}, test::world()).front());
  EXPECT_EQ(written.tokens, kTokens);
  test::world().barrier();
  first([&] { fs::remove(prefix + ".gda.json"); });
  EXPECT_EQ(joined_identity(identify_datasets({prefix}, test::world()).front()), written);
  first([&] { EXPECT_TRUE(fs::exists(prefix + ".gda.json")); });
}

// Hosts with copies of their own: each rank looks at some of them.
TEST_F(DataRanksTest, SeeTheSameData) {
  const auto path = [&](const char* name) { return (root_ / name).string(); };
  first([&] {
    for (const auto& [name, length, id] :
         {std::tuple("a", 20, 1), std::tuple("other", 20, 2), std::tuple("longer", 21, 1)}) {
      TokenDatasetWriter writer(path(name), 19);
      writer.append(std::vector<std::int32_t>(static_cast<std::size_t>(length), id));
      writer.finish();
    }
  });
  const int last = test::world().size() - 1;
  for (const char* name : {"other", "longer"}) {
    std::vector<std::string> paths(4, path("a"));
    EXPECT_NO_THROW(identify_datasets(paths, test::world()));
    if (last == 0) return;
    if (test::world().rank() == last) paths[static_cast<std::size_t>(last)] = path(name);
    EXPECT_THROW(identify_datasets(paths, test::world()), FormatError) << name;
  }
}

// Every rank refuses what rank 0 has found beside the data.
TEST_F(DataRanksTest, RefuseTogether) {
  const std::string prefix = (root_ / "wide").string();
  first([&] { test::write_tiny_dataset(prefix, 40, 1, 50); });
  RunConfig config = test::tiny_run(root_, root_ / "run");
  config.data.sources = {{.name = "wide", .path = prefix, .weight = {}}};
  EXPECT_THROW(Trainer(config, test::world()), ConfigError);
  test::world().barrier();
  first([&] {
    write_text_file_atomically(prefix + ".gda.json",
                               "{\"format\": \"gda dataset\", \"version\": 2}");
  });
  EXPECT_THROW(Trainer(config, test::world()), ConfigError);
}

// One rank reads the bad token; all of them save before they end.
TEST_F(DataRanksTest, ABadValidationSetEndsAllSaved) {
  first([&] { test::write_tiny_data(root_); });
  RunConfig config = test::tiny_run(root_, root_ / "run");
  config.eval.every_steps = 2;
  config.eval.steps = 1000;
  Trainer trainer(config, test::world());
  trainer.begin();
  first([&] {
    std::fstream stream(root_ / "two.bin", std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(-2, std::ios::end);
    stream.write("\x4d", 2);
  });
  EXPECT_THROW(trainer.run(StopRequest{}), FormatError);
  const auto reader = newest_whole_checkpoint(root_ / "run" / "checkpoints", &test::world());
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->step(), 2);
}

}  // namespace
}  // namespace gda
