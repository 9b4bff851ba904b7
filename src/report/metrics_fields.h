// Fields of metrics.jsonl and TensorBoard's events: one table for each kind of report, with the
// meaning of every field. Both are written from it, and docs/metrics.md is made of it, so that
// nothing is written without its description.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "gda/report/event_file.h"
#include "gda/report/step_report.h"

namespace gda {

template <class Report>
struct MetricField {
  std::string_view name;
  std::string_view unit;  // empty: none
  std::string_view meaning;
  // A number, text, or null; an object by name or a list by layer of those.
  nlohmann::ordered_json (*value)(const Report& report);
  // TensorBoard's tag; of an object the group, of a list its beginning. Empty: not there.
  std::string_view tag{};
};

// Step and time at which a line was written.
struct LineStamp {
  std::int64_t step = 0;
  std::string time;  // UTC
  double elapsed_seconds = 0;
};

template <class Report>
std::span<const MetricField<Report>> metric_fields();
template <>
std::span<const MetricField<LineStamp>> metric_fields();
template <>
std::span<const MetricField<StepReport>> metric_fields();
template <>
std::span<const MetricField<EvalReport>> metric_fields();
template <>
std::span<const MetricField<EvalMeanReport>> metric_fields();
template <>
std::span<const MetricField<GrowthReport>> metric_fields();

template <class Report>
void add_fields(const Report& report, nlohmann::ordered_json& line) {
  for (const MetricField<Report>& field : metric_fields<Report>()) {
    line[std::string(field.name)] = field.value(report);
  }
}

// The values of a field under a tag: a number, or those of an object or a list.
void add_value(std::string tag, const nlohmann::ordered_json& value, EventFile& events);

// `prefix` comes before every tag.
template <class Report>
void add_events(const std::string& prefix, const Report& report, EventFile& events) {
  for (const MetricField<Report>& field : metric_fields<Report>()) {
    if (field.tag.empty()) continue;
    add_value(prefix + std::string(field.tag), field.value(report), events);
  }
}

}  // namespace gda
