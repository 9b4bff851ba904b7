// What the program says of itself: version, help, completion, the manual page.
#include "cli/help_format.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>

#include "cli/program.h"
#include "support/temporary_folder.h"

namespace gda::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// All commands, by what completion knows of them.
std::vector<std::string> commands(const std::filesystem::path& folder) {
  std::vector<std::string> paths;
  for (const std::string& line : lines_of(run_program(folder, "completion bash").out)) {
    const std::size_t end = line.find("']=");
    if (line == "  options=(") break;
    if (line.starts_with("    ['gda") && end != std::string::npos) {
      paths.push_back(line.substr(9, end - 9));
    }
  }
  return paths;
}

class HelpTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(HelpTest, VersionTellsBuildsApart) {
  const ProgramResult page = run_program(folder_.path(), "--version");
  EXPECT_EQ(page.code, 0);
  EXPECT_TRUE(page.out.starts_with("gda 0.1.0 (")) << page.out;
  EXPECT_EQ(run_program(folder_.path(), "version").out, page.out);
  const auto facts = nlohmann::json::parse(run_program(folder_.path(), "version --json").out);
  for (const char* key : {"compiler", "cpu", "cuda", "mpi", "libraries"}) {
    EXPECT_NE(page.out.find(facts.at(key).get<std::string>()), std::string::npos) << key;
  }
  EXPECT_NE(page.out.find(facts.at("commit").get<std::string>()), std::string::npos);
  EXPECT_TRUE(run_program(folder_.path(),
                          "version --json | cat; GDA_CPU_ISA=baseline " GDA_PROGRAM " --version")
                  .out.find("cpu        baseline") != std::string::npos);
}

TEST_F(HelpTest, OfACommand) {
  EXPECT_EQ(run_program(folder_.path(), "help grow width").out,
            run_program(folder_.path(), "grow width --help").out);
  EXPECT_EQ(run_program(folder_.path(), "help").out, run_program(folder_.path(), "--help").out);
  const ProgramResult unknown = run_program(folder_.path(), "help grow sideways");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("gda grow has no command sideways"), std::string::npos) << unknown.err;
}

TEST_F(HelpTest, EveryCommandHasHelpThatFits) {
  const std::vector<std::string> all = commands(folder_.path());
  EXPECT_GE(all.size(), 25U);
  for (const std::size_t columns : {60, 80, 100}) {
    const std::string set = "version > /dev/null; COLUMNS=" + std::to_string(columns);
    for (const std::string& command : all) {
      const std::string help =
          run_program(folder_.path(), set + " " GDA_PROGRAM + command + " --help").out;
      EXPECT_NE(help.find("--help"), std::string::npos) << command;
      for (const std::string& line : lines_of(help)) {
        EXPECT_LE(line.size(), columns) << "gda" << command << "\n" << line;
      }
    }
  }
}

TEST(HelpFormat, LinesAreBrokenAtBlanks) {
  EXPECT_EQ(cli::wrapped("one two three\n", 8), "one two\nthree\n");
  EXPECT_EQ(cli::wrapped("unbreakable\n", 4), "unbreakable\n");
  const std::string indent(30, ' ');
  EXPECT_EQ(cli::wrapped("  --option                    some words of it\n", 40),
            "  --option                    some words\n" + indent + "of it\n");
}

TEST(HelpFormat, CommandsAreContinuedAndProseIsFilled) {
  EXPECT_EQ(cli::wrapped_footer("a b\nc\nExample: run --one 1 --two 2\n", 22),
            "a b c\nExample: run --one 1 \\\n             --two 2\n");
  // Not inside quotes.
  EXPECT_EQ(cli::wrapped_footer("  say 'a long text' now\n", 16),
            "  say \\\n      'a long text' \\\n      now\n");
  EXPECT_EQ(cli::wrapped_footer("  unbreakable\n", 6), "  unbreakable\n");
}

TEST_F(HelpTest, CompletionIsForThreeShells) {
  const ProgramResult other = run_program(folder_.path(), "completion tcsh");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("must be one of bash, zsh, fish"), std::string::npos) << other.err;
}

TEST_F(HelpTest, ManualPageHasEveryCommandAndOption) {
  const std::string page = run_program(folder_.path(), "manual").out;
  EXPECT_TRUE(page.starts_with(".TH GDA 1")) << page.substr(0, 40);
  for (const char* part : {".SS gda grow width", ".B \\-\\-hidden", ".SS gda resume RUN_DIR",
                           "gda grow width \\-\\-from runs/small"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace gda::test
