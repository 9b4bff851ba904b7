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

}  // namespace

std::string model_file_name(std::size_t index, std::size_t count) {
  if (count == 1) return kModelFile;
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

std::string optimizer_file_name(int rank, int world_size) {
  return fmt::format("{}{:05}-of-{:05}.safetensors", kOptimizerPrefix, rank + 1, world_size);
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
  return fmt::format("{}:{}:{}", state, name, offset);
}

std::optional<PieceName> parse_piece_name(std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t last = text.rfind(':');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  const std::optional<std::int64_t> offset = parse_number(text.substr(last + 1));
  if (!offset) return std::nullopt;
  return PieceName{std::string(text.substr(0, first)),
                   std::string(text.substr(first + 1, last - first - 1)), *offset};
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

}  // namespace gda
