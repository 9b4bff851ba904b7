// docs/metrics.md: what the fields of metrics.jsonl and TensorBoard's tags mean.
#pragma once

#include <string>

namespace gda {

// In Markdown, from the table that the files are written by.
std::string metrics_page();

}  // namespace gda
