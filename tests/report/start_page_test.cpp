#include "gda/report/start_page.h"

#include <gtest/gtest.h>

namespace gda {
namespace {

TEST(StartPageTest, ColumnsAreAlignedOverSections) {
  StartPage page;
  page.section("model");
  page.row("parameters", "8,030,261,248");
  page.row("layers", "32");
  page.section("nothing to say");
  page.section("data");
  page.row("mix", "en 0.5\nko 0.5");
  EXPECT_EQ(page.str(),
            "model\n"
            "  parameters  8,030,261,248\n"
            "  layers      32\n"
            "data\n"
            "  mix         en 0.5\n"
            "              ko 0.5\n");
}

TEST(StartPageTest, EmptyPage) {
  EXPECT_EQ(StartPage().str(), "");
}

}  // namespace
}  // namespace gda
