#include "gda/core/shell.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "gda/core/error.h"

namespace gda {
namespace {

std::string error_of(const std::string& path) {
  try {
    expand_path(path);
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error: " << path;
  return {};
}

class ExpandPath : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("HOME", "/home/me", 1);
    ::setenv("GDA_TEST_RUNS", "/scratch/$x", 1);
    ::setenv("GDA_TEST_EMPTY", "", 1);
    ::unsetenv("GDA_TEST_UNSET");
  }
};

TEST_F(ExpandPath, ReplacesHomeAndVariablesAsAShellDoes) {
  EXPECT_EQ(expand_path("~"), "/home/me");
  EXPECT_EQ(expand_path("~/a b"), "/home/me/a b");
  EXPECT_EQ(expand_path("a/~/b~"), "a/~/b~");
  EXPECT_EQ(expand_path("./~"), "./~");
  EXPECT_EQ(expand_path("${GDA_TEST_RUNS}/a"), "/scratch/$x/a");
  EXPECT_EQ(expand_path("x/$GDA_TEST_RUNS/${HOME}"), "x//scratch/$x//home/me");
  EXPECT_EQ(expand_path("a\\$HOME"), "a$HOME");
  EXPECT_EQ(expand_path("cost$"), "cost$");
  EXPECT_EQ(expand_path("$5"), "$5");
  EXPECT_EQ(expand_path(""), "");
}

TEST_F(ExpandPath, RefusesWhatItCannotReplace) {
  EXPECT_EQ(error_of("${GDA_TEST_UNSET}/a"),
            "path ${GDA_TEST_UNSET}/a: the environment variable GDA_TEST_UNSET is not set");
  EXPECT_EQ(error_of("$GDA_TEST_EMPTY/a"),
            "path $GDA_TEST_EMPTY/a: the environment variable GDA_TEST_EMPTY is empty");
  for (const char* path : {"${HOME", "${}", "${HOME:-x}", "${a b}"}) {
    EXPECT_NE(error_of(path).find("expected the name of an environment variable between ${ and }"),
              std::string::npos)
        << path;
  }
  EXPECT_NE(error_of("~you/a").find("write ./~you/a for a file of that name"), std::string::npos);
  ::unsetenv("HOME");
  EXPECT_NE(error_of("~/a").find("HOME is not set"), std::string::npos);
}

TEST_F(ExpandPath, IsUndoneForPrinting) {
  for (const char* path : {"a$HOME/b", "${HOME}", "plain/path", "$", "a\\$b"}) {
    EXPECT_EQ(expand_path(unexpanded_path(path)), path);
  }
}

TEST(ShellWord, QuotesWhatAShellWouldChange) {
  EXPECT_EQ(shell_word("runs/a-1_b.c,d:e=f"), "runs/a-1_b.c,d:e=f");
  EXPECT_EQ(shell_word("my run"), "'my run'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("$HOME"), "'$HOME'");
  EXPECT_EQ(shell_word("~/a"), "'~/a'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace gda
