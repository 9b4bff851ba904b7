#include <gtest/gtest.h>

#include <cstdlib>

#include "gda/config/fields.h"
#include "gda/core/error.h"

namespace gda {
namespace {

struct PathSample {
  std::string path = "default";
  std::string text;
  void fields(FieldVisitor& visit) {
    visit.field({.key = "path", .doc = "a path", .is_path = true}, path);
    visit.field({.key = "text", .doc = "no path"}, text);
  }
};

PathSample read_paths(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  PathSample sample;
  read_yaml(yaml, "x.yaml", overrides, [&](FieldVisitor& visit) { sample.fields(visit); });
  return sample;
}

// Home and variables stand for what they do in a shell, in fields that are paths alone.
TEST(Paths, AreExpanded) {
  ::setenv("HOME", "/home/me", 1);
  ::setenv("GDA_TEST_RUNS", "/scratch/$x", 1);
  ::unsetenv("GDA_TEST_UNSET");
  const PathSample sample = read_paths("path: ~/a\ntext: ~/a\n");
  EXPECT_EQ(sample.path, "/home/me/a");
  EXPECT_EQ(sample.text, "~/a");
  EXPECT_EQ(read_paths("", {"path=${GDA_TEST_RUNS}/b"}).path, "/scratch/$x/b");
  EXPECT_EQ(read_paths("path: 'a\\$b'").path, "a$b");
  try {
    read_paths("text: x\npath: $GDA_TEST_UNSET/a\n");
    ADD_FAILURE();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "x.yaml:2: path: path $GDA_TEST_UNSET/a: the environment variable GDA_TEST_UNSET "
                 "is not set");
  }
  // What is printed reads back equal.
  PathSample odd{.path = "/data/$x", .text = "$x"};
  EXPECT_EQ(read_paths(to_yaml([&](FieldVisitor& visit) { odd.fields(visit); })).path, odd.path);
}

}  // namespace
}  // namespace gda
