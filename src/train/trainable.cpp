#include "gda/train/trainable.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "gda/core/error.h"

namespace gda {
namespace {

// Letters that must be put in, left out or changed for the name to match the pattern.
std::size_t distance(std::string_view pattern, std::string_view name) {
  std::vector<std::size_t> above(name.size() + 1);
  std::vector<std::size_t> row(name.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (const char letter : pattern) {
    const bool star = letter == '*';
    row[0] = above[0] + (star ? 0 : 1);
    for (std::size_t j = 1; j <= name.size(); ++j) {
      if (star) {
        row[j] = std::min(above[j], row[j - 1]);
        continue;
      }
      const std::size_t here = letter == '?' || letter == name[j - 1] ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + here});
    }
    above.swap(row);
  }
  return above.back();
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  return distance(pattern, name) == 0;
}

std::string pattern_problem(const WordOrList& trainable, const std::vector<ParameterSpec>& specs) {
  for (const std::string& pattern : trainable.list) {
    std::size_t least = std::numeric_limits<std::size_t>::max();
    const ParameterSpec* nearest = nullptr;
    for (const ParameterSpec& spec : specs) {
      const std::size_t letters = distance(pattern, spec.name);
      if (letters >= least) continue;
      least = letters;
      nearest = &spec;
    }
    if (least > 0 && nearest != nullptr) {
      return fmt::format("\"{}\" matches no parameter of the model; the nearest is {}", pattern,
                         nearest->name);
    }
  }
  return {};
}

void choose_trainable(const WordOrList& trainable, const std::vector<std::string>& added,
                      std::string_view origin, std::vector<ParameterSpec>& specs) {
  const std::string problem = pattern_problem(trainable, specs);
  require<ConfigError>(problem.empty(), "train.trainable: {}", problem);
  const bool is_new = trainable.word == "new";
  require<ConfigError>(
      !is_new || !added.empty(),
      "train.trainable: new: growth has added no complete tensors or layers to {}; "
      "grow the model in depth first (gda grow depth), or give all or a list of "
      "patterns",
      origin);
  const std::set<std::string> names(added.begin(), added.end());
  for (ParameterSpec& spec : specs) {
    if (trainable.word == "all") {
      spec.trainable = true;
    } else if (is_new) {
      spec.trainable = names.contains(spec.name);
    } else {
      spec.trainable =
          std::any_of(trainable.list.begin(), trainable.list.end(),
                      [&](const std::string& pattern) { return matches(pattern, spec.name); });
    }
  }
}

}  // namespace gda
