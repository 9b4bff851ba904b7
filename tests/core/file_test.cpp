#include "gda/core/file.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "gda/core/error.h"
#include "gda/core/mapped_file.h"
#include "support/temporary_folder.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

TEST(File, ReplacesAtomicallyAndLeavesNoTemporary) {
  const auto path = test::process_folder() / "atomic.txt";
  write_text_file_atomically(path, "one");
  write_text_file_atomically(path, "two");
  EXPECT_EQ(read_text_file(path), "two");
  EXPECT_FALSE(fs::exists(path.string() + ".tmp"));
}

TEST(File, MapsWhatWasWritten) {
  const auto path = test::process_folder() / "mapped.bin";
  write_text_file_atomically(path, "abc");
  const MappedFile file(path);
  ASSERT_EQ(file.size(), 3U);
  EXPECT_EQ(std::to_integer<char>(file.bytes()[2]), 'c');
  write_text_file_atomically(path, "");
  EXPECT_EQ(MappedFile(path).size(), 0U);
}

TEST(File, ErrorsNameTheFileAndTheReason) {
  try {
    MappedFile file("/nonexistent/tokens.bin");
    FAIL() << "expected IoError";
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(), "cannot open /nonexistent/tokens.bin: No such file or directory");
  }
  EXPECT_THROW(FileWriter("/nonexistent/x"), IoError);
  EXPECT_THROW(make_directories("/proc/gda"), IoError);
}

}  // namespace
}  // namespace gda
