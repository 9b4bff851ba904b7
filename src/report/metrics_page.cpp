#include "gda/report/metrics_page.h"

#include <fmt/format.h>

#include "report/metrics_fields.h"

namespace gda {
namespace {

constexpr std::string_view kIntroduction = R"(# Metrics

`gda config --metrics` prints this page; it is made of the table that the files are written by.

`metrics.jsonl` in a run's folder has one JSON object a line, and TensorBoard's event files beside it the values that
have a tag. A run that is resumed drops the lines of later steps first. Numbers that are not finite are `null`. MFU is a
share of what the devices of all ranks can do: by the data sheet where the device is known, else as measured with matrix
products at the start; no share above 1 is ever written.
)";

template <class Report>
void add_table(std::string_view title, std::string_view text, std::string_view prefix,
               std::string& page) {
  page +=
      fmt::format("\n## {}\n\n{}\n\n| field | unit | meaning | TensorBoard |\n|---|---|---|---|\n",
                  title, text);
  for (const MetricField<Report>& field : metric_fields<Report>()) {
    const std::string tag =
        field.tag.empty() ? std::string() : fmt::format("`{}{}`", prefix, field.tag);
    page += fmt::format("| `{}` | {} | {} | {} |\n", field.name, field.unit, field.meaning, tag);
  }
}

}  // namespace

std::string metrics_page() {
  std::string page(kIntroduction);
  add_table<LineStamp>("Every line", "begins with:", "", page);
  add_table<StepReport>(
      "Steps",
      "A line every `logging.every_steps` steps, and after the last. Fields by source, by phase "
      "and "
      "by layer are objects and lists, in TensorBoard one tag each: `loss_by_source/en`, "
      "`seconds/forward`, `lambda/layer_00`.",
      "", page);
  add_table<EvalReport>("Evaluations",
                        "A line for each set of validation documents, with these fields in `eval`.",
                        "eval/NAME/", page);
  add_table<EvalMeanReport>("Means of evaluations",
                            "A line after those of the sets, with these fields in `eval_mean`.",
                            "eval_mean/", page);
  add_table<GrowthReport>("Growth", "A line for each growth stage, with these fields in `growth`.",
                          "growth/", page);
  return page;
}

}  // namespace gda
