#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "checkpoint/growth_json.h"
#include "checkpoint/json.h"
#include "gda/checkpoint/hugging_face_config.h"
#include "gda/core/error.h"

namespace gda {
namespace {

using nlohmann::json;

// A value of the file and the path of keys that leads to it, for messages.
class Entry {
 public:
  Entry(const json& value, std::string origin, std::string key)
      : value_(value), origin_(std::move(origin)), key_(std::move(key)) {}

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    gda::fail<FormatError>("{}: {}: {}", origin_, key_.empty() ? "the whole" : key_,
                           fmt::format(format, std::forward<Args>(args)...));
  }

  bool has(const char* key) const { return value_.contains(key); }
  Entry at(const char* key) const {
    const std::string path = key_.empty() ? key : fmt::format("{}.{}", key_, key);
    if (!has(key)) gda::fail<FormatError>("{}: {}: the key is missing", origin_, path);
    return {value_[key], origin_, path};
  }
  // Checks that this is an object of no other keys.
  void expect_keys(const std::set<std::string>& known) const {
    if (!value_.is_object()) fail("expected an object, got {}", value_.dump());
    for (const auto& [key, unused] : value_.items()) {
      if (!known.contains(key)) fail("there is no such key as \"{}\" here", key);
    }
  }
  std::vector<Entry> items() const {
    if (!value_.is_array()) fail("expected a list, got {}", value_.dump());
    std::vector<Entry> list;
    for (std::size_t i = 0; i < value_.size(); ++i) {
      list.emplace_back(value_[i], origin_, fmt::format("{}[{}]", key_, i));
    }
    return list;
  }
  std::int64_t integer(std::int64_t minimum) const {
    if (!value_.is_number_integer() || value_.get<std::int64_t>() < minimum) {
      fail("expected a whole number of at least {}, got {}", minimum, value_.dump());
    }
    return value_.get<std::int64_t>();
  }
  std::string text() const {
    if (!value_.is_string()) fail("expected text, got {}", value_.dump());
    return value_.get<std::string>();
  }
  // [first, second], of at least these.
  std::pair<std::int64_t, std::int64_t> pair(std::int64_t first, std::int64_t second) const {
    const std::vector<Entry> both = items();
    if (both.size() != 2) fail("expected two numbers, got {}", value_.dump());
    return {both[0].integer(first), both[1].integer(second)};
  }
  // The value's text with its place in the file.
  std::string dump() const { return value_.dump(); }
  std::string where() const { return fmt::format("{}: {}", origin_, key_); }

 private:
  const json& value_;
  std::string origin_;
  std::string key_;
};

std::vector<AxisRun> read_runs(const Entry& list, std::int64_t size) {
  std::vector<AxisRun> runs;
  std::int64_t covered = 0;
  for (const Entry& item : list.items()) {
    const auto [length, value] = item.pair(1, 0);
    runs.push_back({.length = length, .value = value});
    covered += std::min(length, size + 1);  // no overflow, whatever the file says
  }
  if (!runs.empty() && covered != size) {
    list.fail("the runs cover {} coordinates, the parameter's axis has {}", covered, size);
  }
  return runs;
}

// The name of a parameter of the model that is not in `seen`.
std::string read_name(const Entry& entry, const ModelFolder& model, std::set<std::string>& seen) {
  std::string name = entry.text();
  if (!model.tensors().contains(name)) entry.fail("the model has no parameter {}", name);
  if (!seen.insert(name).second) entry.fail("{} is there twice", name);
  return name;
}

UpdateOrigin read_origin(const Entry& entry, const ModelFolder& model,
                         std::set<std::string>& seen) {
  entry.expect_keys({"name", "rows", "columns"});
  UpdateOrigin origin;
  origin.name = read_name(entry.at("name"), model, seen);
  const std::vector<std::int64_t>& shape = model.at(origin.name).tensor->shape;
  origin.rows = read_runs(entry.at("rows"), shape.at(0));
  if (!entry.has("columns")) return origin;
  if (shape.size() != 2) {
    entry.at("columns").fail("{} has one axis, which is that of the rows", origin.name);
  }
  origin.columns = read_runs(entry.at("columns"), shape[1]);
  return origin;
}

std::vector<UpdateOrigin> read_origins(const Entry& list, const ModelFolder& model) {
  std::vector<UpdateOrigin> origins;
  std::set<std::string> names;
  for (const Entry& entry : list.items()) origins.push_back(read_origin(entry, model, names));
  return origins;
}

std::vector<std::string> read_names(const Entry& list, const ModelFolder& model) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Entry& entry : list.items()) names.push_back(read_name(entry, model, seen));
  return names;
}

// Sizes of the axes that a mask can cover.
struct AxisSizes {
  explicit AxisSizes(const ModelConfig& config)
      : hidden(config.hidden_size),
        feed_forward(config.intermediate_size),
        heads(config.attention.out_size() / config.attention.value_dim()),
        layers(config.num_hidden_layers) {}
  std::int64_t hidden;
  std::int64_t feed_forward;
  std::int64_t heads;
  std::int64_t layers;
};

std::vector<IndexRange> read_ranges(const Entry& list, std::int64_t before, std::int64_t after) {
  std::vector<IndexRange> ranges;
  std::int64_t covered = 0;
  for (const Entry& item : list.items()) {
    const auto [begin, end] = item.pair(0, 0);
    if (begin >= end || end > after) {
      item.fail("[{}, {}) is not a range of the axis, which has {} coordinates", begin, end, after);
    }
    if (!ranges.empty() && begin <= ranges.back().end) {
      item.fail("[{}, {}) does not lie behind the range before it, [{}, {}), with a gap", begin,
                end, ranges.back().begin, ranges.back().end);
    }
    ranges.push_back({.begin = begin, .end = end});
    covered += end - begin;
  }
  if (covered > after - before) {
    list.fail("{} new coordinates, but the axis grew from {} to {}", covered, before, after);
  }
  return ranges;
}

GrowthRamp read_ramp(const Entry& entry, const ModelConfig& model) {
  entry.expect_keys({"from", "first_step", "steps", "mask"});
  GrowthRamp ramp;
  ramp.from = read_hugging_face_config(entry.at("from").dump(), entry.at("from").where());
  ramp.first_step = entry.at("first_step").integer(0);
  ramp.steps = entry.at("steps").integer(1);
  const Entry mask = entry.at("mask");
  mask.expect_keys({"hidden", "feed_forward", "heads", "layers"});
  const AxisSizes before(ramp.from);
  const AxisSizes after(model);
  ramp.mask.hidden = read_ranges(mask.at("hidden"), before.hidden, after.hidden);
  ramp.mask.feed_forward =
      read_ranges(mask.at("feed_forward"), before.feed_forward, after.feed_forward);
  ramp.mask.heads = read_ranges(mask.at("heads"), before.heads, after.heads);
  ramp.mask.layers = read_ranges(mask.at("layers"), before.layers, after.layers);
  if (ramp.mask.empty()) mask.fail("no axis has new coordinates");
  return ramp;
}

}  // namespace

GrowthState parse_growth(std::string_view text, std::string_view origin, const ModelFolder& model) {
  const json object = parse_json(text, origin);
  const Entry root(object, std::string(origin), "");
  root.expect_keys({"origins", "added", "ramp"});
  GrowthState state;
  state.origins = read_origins(root.at("origins"), model);
  state.added = read_names(root.at("added"), model);
  if (root.has("ramp")) state.ramp = read_ramp(root.at("ramp"), model.config());
  return state;
}

}  // namespace gda
