// Data, tokenizer, model and run that are not of each other: at the start, on going on, and when
// the data changes while a run reads it.
#include "gda/train/data_agreement.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/tiny_run.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

const TokenizerIdentity kOne{.kind = "sentencepiece", .fingerprint = "1111", .vocab_size = 19};
const TokenizerIdentity kOther{.kind = "sentencepiece", .fingerprint = "2222", .vocab_size = 19};

constexpr ResumePoint kAccepted{.step = {}, .skip_steps = 0, .accept_changed_data = true};

// Documents of `length` tokens that count up.
void write_documents(const fs::path& prefix, int documents, int length, std::int32_t largest,
                     const std::optional<TokenizerIdentity>& tokenizer = {}) {
  TokenDatasetWriter writer(prefix.string(), largest + 1, tokenizer);
  std::int32_t id = 0;
  for (int document = 0; document < documents; ++document) {
    for (int i = 0; i < length; ++i) {
      writer.append(std::vector<std::int32_t>{id});
      id = id == largest ? 0 : id + 1;
    }
    writer.end_document();
  }
  writer.finish();
}

// In the file as it lies, which is what a run has mapped.
void overwrite(const fs::path& file, std::int64_t offset, std::string_view bytes) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekp(offset, offset < 0 ? std::ios::end : std::ios::beg);
  stream << bytes << std::flush;
  ASSERT_TRUE(stream.good());
}

class DataAgreementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_ = test::tiny_run(folder_.path(), folder_ / "run");
    config_.train.steps = 4;
    config_.schedule.steps = 4;  // a run that becomes longer has nothing to ask
    config_.checkpoint.every_steps = 2;
    write_documents(folder_ / "one", 300, 20, 18, kOne);
    write_documents(folder_ / "two", 200, 20, 18, kOne);
  }

  static void begin(const RunConfig& config, const RunStart& start = {}) {
    const auto world = make_self_communicator();
    Trainer trainer(config, *world);
    trainer.begin(start);
    trainer.run(StopRequest{});
  }

  // Two steps more.
  void resume(const ResumePoint& point = {}) {
    config_.train.steps += 2;
    const auto world = make_self_communicator();
    Trainer trainer(config_, *world);
    trainer.resume(point);
    trainer.run(StopRequest{});
    EXPECT_EQ(trainer.state().samples, config_.train.steps * config_.train.global_batch_size);
  }

  template <class E = ConfigError, class Act>
  static std::string error_of(const Act& act) {
    try {
      act();
    } catch (const E& error) {
      return error.what();
    }
    ADD_FAILURE() << "no error of the expected kind";
    return {};
  }

  // What the log shows.
  template <class Act>
  static std::string told_by(const Act& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }

  static void expect_has(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\nfound: " << text;
  }

  fs::path checkpoints() const { return fs::path(config_.run_dir) / "checkpoints"; }
  std::string path(const char* name) const { return (folder_ / name).string(); }

  const test::TemporaryFolder folder_;
  RunConfig config_;
};

TEST_F(DataAgreementTest, AllFaultsAreToldAtOnceAndNothingIsWritten) {
  write_documents(folder_ / "one", 30, 20, 40);
  write_documents(folder_ / "two", 200, 1, 18);
  write_documents(folder_ / "none", 0, 0, 18);
  write_documents(folder_ / "short", 2, 8, 18);
  write_documents(folder_ / "large", 200, 8, 18,
                  TokenizerIdentity{.kind = "k", .fingerprint = "f", .vocab_size = 20});
  for (const char* name : {"none", "short", "large"}) {
    config_.data.sources.push_back({.name = name, .path = path(name), .weight = {}});
  }
  const std::string error = error_of([&] { begin(config_); });
  expect_has(error, "data.sources: one: " + path("one") +
                        ".bin has token id 40, but the model's vocab_size is 19: use data of the "
                        "model's tokenizer, or begin a model with a vocab_size of at least 41");
  expect_has(error,
             "data.sources: two has nothing to predict: each of its 200 documents has one "
             "token only");
  expect_has(error, "data.sources: none: " + path("none") + ".bin holds no tokens");
  expect_has(error, "data.sources: short has 16 tokens to train on, a sample needs 17");
  expect_has(error, "data.sources: large: " + path("large") +
                        ".bin was made by a tokenizer of 20 ids, but the model's vocab_size is 19");
  EXPECT_FALSE(fs::exists(config_.run_dir));
}

TEST_F(DataAgreementTest, TheLargestIdOfTheModelIsNoFault) {
  write_documents(folder_ / "one", 300, 20, 18);
  begin(config_);
  config_.run_dir = path("other");
  write_documents(folder_ / "one", 300, 20, 19);
  expect_has(error_of([&] { begin(config_); }), "has token id 19");
}

// Documents of one token teach without the mask, as one text.
TEST_F(DataAgreementTest, DocumentsOfOneTokenNeedTheMaskOff) {
  write_documents(folder_ / "two", 400, 1, 18);
  error_of([&] { begin(config_); });
  config_.data.document_mask = false;
  begin(config_);
}

TEST_F(DataAgreementTest, NegativeIds) {
  write_documents(folder_ / "one", 300, 20, 18);
  std::string idx = read_text_file(folder_ / "one.idx");
  idx[17] = 3;  // i16
  write_text_file_atomically(folder_ / "one.idx", idx);
  overwrite(folder_ / "one.bin", 100, std::string_view("\xff\xff", 2));
  expect_has(error_of([&] { begin(config_); }), "one.bin has token id -1: it holds no ids");
}

TEST_F(DataAgreementTest, SourcesOfTwoTokenizers) {
  write_documents(folder_ / "two", 200, 20, 18, kOther);
  const std::string error = error_of([&] { begin(config_); });
  expect_has(error, "data.sources: two: " + path("two") +
                        ".bin was made by tokenizer 2222 (sentencepiece, 19 ids), " + path("one") +
                        ".bin is of 1111 (sentencepiece, 19 ids)");
  expect_has(error, "--accept-other-tokenizer");
  EXPECT_FALSE(fs::exists(config_.run_dir));
  const RunStart accepted{.accept_other_tokenizer = true};
  expect_has(told_by([&] { begin(config_, accepted); }), "accepted: data.sources: two");
  // What was accepted once is not asked again.
  resume();
}

TEST_F(DataAgreementTest, AModelThatLearntOtherIds) {
  begin(config_);
  RunConfig next = config_;
  next.run_dir = path("next");
  next.train.init_from = newest_whole_checkpoint(checkpoints())->path().string();
  begin(next);  // other data of the same tokenizer is what init_from is for
  next.run_dir = path("another");
  write_documents(folder_ / "one", 300, 20, 18, kOther);
  write_documents(folder_ / "two", 200, 20, 18, kOther);
  expect_has(error_of([&] { begin(next); }),
             "train.init_from: " + next.train.init_from +
                 " has learnt the ids of tokenizer 1111 (sentencepiece, 19 ids), the data is of "
                 "2222 (sentencepiece, 19 ids)");
  begin(next, {.accept_other_tokenizer = true});
}

// Such as tiktoken's, which has that name in some model folders.
TEST_F(DataAgreementTest, ATokenizerOfAnotherKindBesideAModelIsNotKnown) {
  write_text_file_atomically(folder_ / "tokenizer.model", "IQ== 0\nIg== 1\n");
  EXPECT_EQ(tokenizer_beside(folder_.path()), std::nullopt);
  EXPECT_EQ(tokenizer_beside(folder_ / "nothing"), std::nullopt);
}

TEST_F(DataAgreementTest, ResumingWithTheSameDataSomewhereElse) {
  begin(config_);
  fs::create_directory(folder_ / "moved");
  for (const char* file : {"one.bin", "one.idx"}) {
    fs::rename(folder_ / file, folder_ / "moved" / file);
  }
  config_.data.sources[0].path = path("moved/one");
  expect_has(told_by([&] { resume(); }), "data: unchanged since ");
}

class ChangedDataTest : public DataAgreementTest,
                        public ::testing::WithParamInterface<const char*> {};

TEST_P(ChangedDataTest, IsRefusedUnlessItIsAccepted) {
  begin(config_);
  const std::string what = GetParam();
  const std::string length = "6,000 tokens in 300 documents";
  std::string now = length;
  if (what == "content") {
    write_documents(folder_ / "one", 300, 20, 17, kOne);
  } else if (what == "length") {
    write_documents(folder_ / "one", 310, 20, 18, kOne);
    now = "6,200 tokens in 310 documents";
  } else if (what == "documents") {
    write_documents(folder_ / "one", 200, 30, 18, kOne);
    now = "6,000 tokens in 200 documents";
  } else {
    write_documents(folder_ / "one", 300, 20, 17, kOther);
    write_documents(folder_ / "two", 200, 20, 17, kOther);
  }
  const auto before = list_step_folders(checkpoints()).size();
  const std::string error = error_of([&] { resume(); });
  expect_has(error, "the data has changed since " + checkpoints().string());
  expect_has(error, "source one (" + path("one") + "): " + length + " then, " + now + " now");
  EXPECT_EQ(error.find("source two") != std::string::npos, what == "tokenizer") << error;
  EXPECT_EQ(error.find("of tokenizer 1111 (sentencepiece, 19 ids) then, 2222") != std::string::npos,
            what == "tokenizer")
      << error;
  expect_has(error, "--accept-changed-data: the run then goes on with its sample 48");
  EXPECT_EQ(list_step_folders(checkpoints()).size(), before);
  config_.train.steps -= 2;
  expect_has(told_by([&] { resume(kAccepted); }), "accepted: source one");
  resume();  // the data is that of the run now
}

INSTANTIATE_TEST_SUITE_P(Kinds, ChangedDataTest,
                         ::testing::Values("content", "length", "documents", "tokenizer"));

TEST_F(DataAgreementTest, SourcesMayComeAndGo) {
  begin(config_);
  write_documents(folder_ / "three", 100, 20, 18, kOne);
  config_.data.sources[1] = {.name = "three", .path = path("three"), .weight = {}};
  const std::string told = told_by([&] { resume(); });
  expect_has(told, "source three is new: 2,000 tokens in 100 documents; the order goes on as if");
  expect_has(told, "source two is gone: 4,000 tokens in 200 documents; the order goes on as if");
  expect_has(told, "data: the other sources are unchanged since ");
}

// One from before the data was remembered.
TEST_F(DataAgreementTest, AnOldCheckpointGoesOnWithAWord) {
  begin(config_);
  const fs::path newest = newest_whole_checkpoint(checkpoints())->path();
  auto state = nlohmann::ordered_json::parse(read_text_file(newest / "trainer.json"));
  ASSERT_TRUE(state.contains("data"));
  state.erase("data");
  write_text_file_atomically(newest / "trainer.json", state.dump());
  Manifest manifest = read_manifest(newest);
  for (WrittenFile& file : manifest.files) {
    if (file.name != "trainer.json") continue;
    file.size = fs::file_size(newest / file.name);
    file.hash = hash_file(newest / file.name);
  }
  write_manifest(newest, manifest);
  write_documents(folder_ / "one", 310, 20, 18, kOne);
  expect_has(told_by([&] { resume(); }), "does not say what data it was trained with");
  write_documents(folder_ / "one", 300, 20, 18, kOne);
  expect_has(error_of([&] { resume(); }), "source one");
}

TEST_F(DataAgreementTest, GrowthStagesRememberTheData) {
  config_.growth.stages.resize(1);
  config_.growth.stages[0].step = 3;
  config_.growth.stages[0].plan.emplace().steps.push_back({SignalHeads{.factor = 2}});
  begin(config_);
  write_documents(folder_ / "one", 310, 20, 18, kOne);
  expect_has(error_of([&] { resume(); }), "source one");
}

// Bad ids that are met in the middle: what was trained until then is saved.
TEST_F(DataAgreementTest, DataThatGoesBadUnderTheRun) {
  config_.checkpoint.every_steps = 0;
  config_.train.steps = 100;
  const auto world = make_self_communicator();
  Trainer trainer(config_, *world);
  trainer.begin();
  const std::string good = read_text_file(folder_ / "one.bin");
  overwrite(folder_ / "one.bin", 6000, std::string_view("\x4d\0", 2));
  const std::string error = error_of<FormatError>([&] { trainer.run(StopRequest{}); });
  expect_has(error, "token id 77");
  expect_has(error, "put it back as it was, and: gda resume " + config_.run_dir);
  const auto reader = newest_whole_checkpoint(checkpoints());
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->step(), trainer.state().step);
  EXPECT_EQ(reader->manifest().unhealthy, "");
  expect_has(error, "Step " + std::to_string(reader->step()) + " is saved");
}

TEST_F(DataAgreementTest, DataThatBecomesShorterUnderTheRun) {
  config_.checkpoint.every_steps = 0;
  const auto world = make_self_communicator();
  Trainer trainer(config_, *world);
  trainer.begin();
  fs::resize_file(folder_ / "one.bin", 100);
  expect_has(error_of<FormatError>([&] { trainer.run(StopRequest{}); }),
             path("one") + ".bin was made shorter while it was in use: 100 bytes, 12000 when");
  EXPECT_TRUE(newest_whole_checkpoint(checkpoints()).has_value());
}

TEST_F(DataAgreementTest, AValidationSetThatGoesBadUnderTheRun) {
  config_.checkpoint.every_steps = 0;
  config_.eval.every_steps = 2;
  config_.eval.steps = 1000;
  const auto world = make_self_communicator();
  {
    Trainer trainer(config_, *world);
    trainer.begin();
    // The last document is held out.
    overwrite(folder_ / "two.bin", -2, std::string_view("\x4d\0", 2));
    const std::string error = error_of<FormatError>([&] { trainer.run(StopRequest{}); });
    expect_has(error, "validation set two cannot be read: ");
    expect_has(error, "token id 77");
    expect_has(error, "Step 2 is saved");
    expect_has(error, "eval.every_steps=0");
  }
  EXPECT_EQ(newest_whole_checkpoint(checkpoints())->step(), 2);
  expect_has(error_of([&] { resume(); }), "two.bin has token id 77");
  // Put back as it was, it goes on.
  write_documents(folder_ / "two", 200, 20, 18, kOne);
  config_.train.steps = 4;
  resume();
}

}  // namespace
}  // namespace gda
