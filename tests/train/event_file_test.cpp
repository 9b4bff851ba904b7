#include "gda/train/event_file.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "tensorboard.pb.h"
#include "train/temporary_folder.h"

namespace gda {
namespace {

std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <class T>
T take(std::string_view& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

std::vector<tensorboard::Event> read_events(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  std::string_view rest = text;
  std::vector<tensorboard::Event> events;
  while (!rest.empty()) {
    const std::string_view length_bytes = rest.substr(0, 8);
    const auto length = take<std::uint64_t>(rest);
    EXPECT_EQ(take<std::uint32_t>(rest), masked(length_bytes));
    const std::string_view data = rest.substr(0, length);
    rest.remove_prefix(length);
    EXPECT_EQ(take<std::uint32_t>(rest), masked(data));
    EXPECT_TRUE(events.emplace_back().ParseFromArray(data.data(), static_cast<int>(length)));
  }
  return events;
}

TEST(EventFileTest, RecordsAreWholeAfterEachWrite) {
  const test::TemporaryFolder folder;
  EventFile file(folder.path());
  EXPECT_EQ(file.path().filename().string().substr(0, 20), "events.out.tfevents.");
  file.add("train/loss", 2.5);
  file.add("train/skipped", 0);
  file.write(10);
  file.add("train/loss", 2.25);
  file.write(20);
  const auto events = read_events(file.path());
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_GT(events[0].wall_time(), 1.6e9);
  EXPECT_EQ(events[1].step(), 10);
  ASSERT_EQ(events[1].summary().value_size(), 2);
  EXPECT_EQ(events[1].summary().value(0).tag(), "train/loss");
  EXPECT_EQ(events[1].summary().value(0).simple_value(), 2.5F);
  // A zero is a value, not its absence.
  EXPECT_EQ(events[1].summary().value(1).value_case(), tensorboard::Summary::Value::kSimpleValue);
  EXPECT_EQ(events[2].step(), 20);
  EXPECT_EQ(events[2].summary().value_size(), 1);
}

TEST(EventFileTest, ResumedRunsSayFromWhere) {
  const test::TemporaryFolder folder;
  const EventFile first(folder.path());
  const EventFile resumed(folder.path(), 20);
  EXPECT_NE(first.path(), resumed.path());
  const auto events = read_events(resumed.path());
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[1].step(), 21);
  EXPECT_EQ(events[1].session_log().status(), tensorboard::SessionLog::START);
}

TEST(EventFileTest, UnwritableFolderIsNamed) {
  try {
    const EventFile file("/proc/no-such-folder");
    FAIL() << "no error";
  } catch (const IoError& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, 54),
              "cannot create /proc/no-such-folder/events.out.tfevents");
  }
}

}  // namespace
}  // namespace gda
