// A checkpoint of format version 1 that stays as it was written (kept/): a small
// grouped_differential model in bf16 of a run that two ranks trained for four steps, with a layer
// and feed-forward units that growth had added after two. words.bin, words.idx: its data.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/checksum.h"
#include "gda/core/memory.h"

namespace gda::test {

inline std::filesystem::path kept_folder() {
  return GDA_KEPT_CHECKPOINT;
}

// XXH3-64 of the fp32 elements of each state, of the parameters in the order of their names, found
// by another program in the bytes of the files.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kKeptHashes{{
    {"parameter", "2d441323beb51e6f"},
    {"master", "752158dac4994d50"},
    {"exp_avg", "bd1ef8e81c150acf"},
    {"exp_avg_sq", "8ca97bde2fabaaf9"},
}};

// The same of tensors given by name; those that `get` has nothing for are left out.
inline std::string hash_of_state(const std::vector<ParameterSpec>& specs,
                                 const std::function<bool(const ParameterSpec&, Tensor)>& get) {
  std::vector<ParameterSpec> sorted = specs;
  std::ranges::sort(sorted, {}, &ParameterSpec::name);
  ContentHash hash;
  for (const ParameterSpec& spec : sorted) {
    const OwnedTensor values(DType::f32, {spec.shape.elements()});
    if (!get(spec, values.tensor)) continue;
    hash.update({static_cast<const std::byte*>(values.tensor.raw()), values.tensor.bytes()});
  }
  return hash.hex();
}

inline std::string hash_of_state(const CheckpointReader& reader, std::string_view state) {
  return hash_of_state(parameter_specs(reader.config()),
                       [&](const ParameterSpec& spec, const Tensor& to) {
                         if (state == "parameter") {
                           reader.read_range(spec.name, 0, to);
                           return true;
                         }
                         if (!reader.has_state(state, spec.name)) return false;
                         reader.read_piece(state, spec.name, 0, to);
                         return true;
                       });
}

}  // namespace gda::test
