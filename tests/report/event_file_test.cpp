#include "gda/report/event_file.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "gda/core/checksum.h"
#include "gda/core/error.h"
#include "support/temporary_folder.h"

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

// One field of a message: its number and its bytes (integers as eight).
struct Field {
  std::uint64_t number = 0;
  std::string bytes;
};

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<unsigned char>(bytes);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

std::vector<Field> fields_of(std::string_view message) {
  std::vector<Field> fields;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    std::size_t size = (key & 7) == 1 ? 8 : 4;
    if ((key & 7) == 0) {
      const std::uint64_t value = take_varint(message);
      fields.push_back({key >> 3, {reinterpret_cast<const char*>(&value), sizeof(value)}});
      continue;
    }
    if ((key & 7) == 2) size = take_varint(message);
    fields.push_back({key >> 3, std::string(message.substr(0, size))});
    message.remove_prefix(size);
  }
  return fields;
}

// The bytes of the first field of that number; empty if there is none.
std::string field(const std::string& message, std::uint64_t number) {
  for (const Field& candidate : fields_of(message)) {
    if (candidate.number == number) return candidate.bytes;
  }
  return {};
}

template <class T>
T number_in(const std::string& message, std::uint64_t number) {
  const std::string bytes = field(message, number);
  std::string_view view = bytes;
  EXPECT_EQ(view.size(), sizeof(T));
  return view.size() == sizeof(T) ? take<T>(view) : T{};
}

// The messages of all records, each with both checksums right.
std::vector<std::string> read_events(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  std::string_view rest = text;
  std::vector<std::string> events;
  while (!rest.empty()) {
    const std::string_view length_bytes = rest.substr(0, 8);
    const auto length = take<std::uint64_t>(rest);
    EXPECT_EQ(take<std::uint32_t>(rest), masked(length_bytes));
    const std::string_view data = rest.substr(0, length);
    rest.remove_prefix(length);
    EXPECT_EQ(take<std::uint32_t>(rest), masked(data));
    events.emplace_back(data);
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
  EXPECT_EQ(field(events[0], 3), "brain.Event:2");
  EXPECT_GT(number_in<double>(events[0], 1), 1.6e9);
  EXPECT_EQ(number_in<std::int64_t>(events[1], 2), 10);
  const auto values = fields_of(field(events[1], 5));
  ASSERT_EQ(values.size(), 2U);
  EXPECT_EQ(field(values[0].bytes, 1), "train/loss");
  EXPECT_EQ(number_in<float>(values[0].bytes, 2), 2.5F);
  // A zero is a value, not its absence.
  EXPECT_EQ(number_in<float>(values[1].bytes, 2), 0.0F);
  EXPECT_EQ(number_in<std::int64_t>(events[2], 2), 20);
  EXPECT_EQ(fields_of(field(events[2], 5)).size(), 1U);
}

TEST(EventFileTest, ResumedRunsSayFromWhere) {
  const test::TemporaryFolder folder;
  const EventFile first(folder.path());
  const EventFile resumed(folder.path(), 20);
  EXPECT_NE(first.path(), resumed.path());
  const auto events = read_events(resumed.path());
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(number_in<std::int64_t>(events[1], 2), 21);
  EXPECT_EQ(number_in<std::int64_t>(field(events[1], 7), 1), 1);  // SessionLog.START
}

TEST(EventFileTest, TextsAreTensorsOfThePlugin) {
  const test::TemporaryFolder folder;
  EventFile file(folder.path(), 20);
  file.write_text("config", "**bold**");
  const auto events = read_events(file.path());
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(number_in<std::int64_t>(events[2], 2), 20);
  const std::string value = field(field(events[2], 5), 1);
  EXPECT_EQ(field(value, 1), "config");
  EXPECT_EQ(number_in<std::int64_t>(field(value, 8), 1), 7);  // DT_STRING
  EXPECT_EQ(field(field(value, 8), 8), "**bold**");
  EXPECT_EQ(field(field(field(value, 9), 1), 1), "text");
}

TEST(EventFileTest, HyperParametersHaveTheTypesOfTheirTexts) {
  const test::TemporaryFolder folder;
  EventFile file(folder.path());
  file.write_hyper_parameters({{"a", "0.5"}, {"b", "true"}, {"c", "wsd"}, {"d", "1e3x"}});
  const auto events = read_events(file.path());
  const std::string value = field(field(events.at(1), 5), 1);
  EXPECT_EQ(field(value, 1), "_hparams_/session_start_info");
  const std::string plugin = field(field(value, 9), 1);
  EXPECT_EQ(field(plugin, 1), "hparams");
  const auto entries = fields_of(field(field(plugin, 2), 3));
  ASSERT_EQ(entries.size(), 5U);  // and the time
  EXPECT_EQ(field(entries[0].bytes, 1), "a");
  EXPECT_EQ(number_in<double>(field(entries[0].bytes, 2), 2), 0.5);
  EXPECT_EQ(number_in<std::int64_t>(field(entries[1].bytes, 2), 4), 1);
  EXPECT_EQ(field(field(entries[2].bytes, 2), 3), "wsd");
  EXPECT_EQ(field(field(entries[3].bytes, 2), 3), "1e3x");
  EXPECT_EQ(entries[4].number, 5U);
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
