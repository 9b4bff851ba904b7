#include "checkpoint/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "gda/checkpoint/checkpoint_folder.h"

namespace gda {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kGrownSuffix = "-grown";
constexpr std::string_view kOptimizerPrefix = "optimizer-";
constexpr std::size_t kStepDigits = 8;

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool digits_only =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (code != std::errc{} || end != text.data() + text.size() || !digits_only) return std::nullopt;
  return value;
}

// "0:64".
std::optional<IndexRange> parse_range(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto begin = parse_number(text.substr(0, colon));
  const auto end = parse_number(text.substr(colon + 1));
  if (!begin || !end || *begin >= *end) return std::nullopt;
  return IndexRange{*begin, *end};
}

// "0:64,32:64".
std::optional<Region> parse_box(std::string_view text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  const auto rows = parse_range(text.substr(0, comma));
  const auto columns = parse_range(text.substr(comma + 1));
  if (!rows || !columns) return std::nullopt;
  return Region{*rows, *columns};
}

}  // namespace

std::string model_file_name(std::size_t index, std::size_t count) {
  if (count == 1) return kModelFile;
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

std::string optimizer_file_name(std::size_t index, std::size_t count) {
  return fmt::format("{}{:05}-of-{:05}.safetensors", kOptimizerPrefix, index + 1, count);
}

bool is_optimizer_file(std::string_view name) {
  return name.starts_with(kOptimizerPrefix) && name.ends_with(".safetensors");
}

std::string step_folder_name(StepName name) {
  return fmt::format("{}{:0{}}{}", kStepPrefix, name.step, kStepDigits,
                     name.grown ? kGrownSuffix : "");
}

std::optional<StepName> parse_step_folder(std::string_view name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  name.remove_prefix(kStepPrefix.size());
  const bool grown = name.ends_with(kGrownSuffix);
  if (grown) name.remove_suffix(kGrownSuffix.size());
  if (name.size() < kStepDigits) return std::nullopt;
  const std::optional<std::int64_t> step = parse_number(name);
  if (!step) return std::nullopt;
  return StepName{*step, grown};
}

std::string PieceName::str() const {
  if (!box) return fmt::format("{}:{}:{}", state, name, offset);
  return fmt::format("{}:{}:[{}:{},{}:{}]:{}", state, name, box->rows.begin, box->rows.end,
                     box->columns.begin, box->columns.end, offset);
}

std::optional<PieceName> parse_piece_name(std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t last = text.rfind(':');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  const std::optional<std::int64_t> offset = parse_number(text.substr(last + 1));
  if (!offset) return std::nullopt;
  std::string_view name = text.substr(first + 1, last - first - 1);
  std::optional<Region> box;
  if (name.ends_with(']')) {
    const std::size_t bracket = name.rfind(":[");
    if (bracket == std::string_view::npos) return std::nullopt;
    box = parse_box(name.substr(bracket + 2, name.size() - bracket - 3));
    if (!box) return std::nullopt;
    name = name.substr(0, bracket);
  }
  return PieceName{std::string(text.substr(0, first)), std::string(name), box, *offset};
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

}  // namespace gda
