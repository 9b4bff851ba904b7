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

TEST(File, TellsThatItBecameShorter) {
  const auto path = test::process_folder() / "shorter";
  write_text_file_atomically(path, "0123456789");
  const MappedFile file(path);
  file.require_whole();
  fs::resize_file(path, 12);
  file.require_whole();
  fs::resize_file(path, 9);
  try {
    file.require_whole();
    ADD_FAILURE() << "no error";
  } catch (const IoError& error) {
    EXPECT_EQ(
        std::string(error.what()),
        path.string() + " was made shorter while it was in use: 9 bytes, 10 when it was opened");
  }
  // Another file of the name, and none, leave what is mapped as it is.
  write_text_file_atomically(path, "0");
  file.require_whole();
  fs::remove(path);
  file.require_whole();
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
