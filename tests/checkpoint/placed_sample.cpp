#include "placed_sample.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sample.h"

namespace gda::test {
namespace {

bool is_frozen(const ParameterSpec& spec) {
  return spec.layer == 2 && spec.name.find(".mlp.") != std::string::npos;
}

std::vector<std::string> states_of(const ParameterSpec& spec, DType compute) {
  std::vector<std::string> states;
  if (spec.is_matrix() && compute == DType::bf16) states.emplace_back("master");
  if (!is_frozen(spec)) states.insert(states.end(), {"exp_avg", "exp_avg_sq"});
  return states;
}

// The index in the whole tensor of element i of a box.
std::int64_t global_index(const ParameterSpec& spec, const Region& region, std::int64_t i) {
  const std::int64_t width = region.columns.size();
  const std::int64_t row = region.rows.begin + i / width;
  return row * Region::whole(spec.shape).columns.size() + region.columns.begin + i % width;
}

// Uneven parts of [0, elements): a data rank's share.
IndexRange share(std::int64_t elements, int part, int parts) {
  const auto border = [&](std::int64_t i) { return elements * i * i / parts / parts; };
  return {border(part), border(part + 1)};
}

double at(const Tensor& tensor, std::int64_t i) {
  if (tensor.dtype() == DType::bf16) return static_cast<float>(tensor.data<bfloat16>()[i]);
  return tensor.dtype() == DType::f64 ? tensor.data<double>()[i] : tensor.data<float>()[i];
}

}  // namespace

ModelConfig placed_config(const std::string& attention, bool tied) {
  ModelConfig config;
  config.hidden_size = 6;
  config.num_hidden_layers = 3;
  config.intermediate_size = 12;
  config.vocab_size = 20;
  config.tie_word_embeddings = tied;
  config.attention.type = from_word<AttentionType>(attention).value();
  config.attention.head_dim = 2;
  config.attention.num_key_value_heads = attention == "differential" ? 8 : 4;
  if (attention == "grouped_differential") {
    config.attention.num_key_value_heads = 8;
    config.attention.signal_heads = 12;
    config.attention.noise_heads = 4;
  } else if (attention == "differential") {
    config.attention.signal_heads = 4;
    config.attention.noise_heads = 4;
  } else {
    config.attention.num_attention_heads = 8;
  }
  return config;
}

std::vector<PlacedSpec> Layout::placed(const ModelConfig& config, int rank) const {
  const auto cut = cut_into_stages(config, std::int64_t{stages} * chunks);
  std::vector<Placement> placements;
  for (auto stage = static_cast<std::size_t>(rank / (tensor * data)); stage < cut.size();
       stage += static_cast<std::size_t>(stages)) {
    placements.push_back({.stage = cut[stage], .tensor = rank % tensor, .tensor_size = tensor});
  }
  return place(parameter_specs(config), placements);
}

std::string Layout::str() const {
  return fmt::format("{} pipeline x {} data x {} tensor, {} stages a rank{}", stages, data, tensor,
                     chunks, values_are_cut ? ", values cut" : "");
}

PlacedSample::PlacedSample(const ModelConfig& config, const Layout& layout, int rank,
                           DType compute) {
  contents_.step = 1;
  contents_.model = config;
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  const std::vector<PlacedSpec> here = layout.placed(config, rank);
  for (const ParameterSpec& spec : specs) {
    const auto placed = std::ranges::find_if(
        here, [&](const PlacedSpec& entry) { return entry.spec.name == spec.name; });
    const bool is_here = placed != here.end() && placed->is_primary;
    add_parameter(spec, is_here ? &*placed : nullptr, layout, rank, compute);
    if (is_here) {
      add_pieces(*placed, contents_.parameters.back().states, layout, rank,
                 accumulate_type(compute));
    }
  }
}

void PlacedSample::add_parameter(const ParameterSpec& spec, const PlacedSpec* placed,
                                 const Layout& layout, int rank, DType compute) {
  const DType dtype = spec.is_matrix() ? compute : accumulate_type(compute);
  ParameterSource source{.name = spec.name, .dtype = dtype, .shape = spec.shape};
  if (placed != nullptr && layout.values_are_cut) {
    const IndexRange own =
        share(placed->region.elements(), layout.data_coordinate(rank), layout.data);
    const Tensor part = filled("parameter", *placed, own.begin, {own.size()}, dtype);
    source = parameter_source(spec.name, spec.shape, placed->region, own.begin, part);
  } else if (placed != nullptr) {
    const Tensor part = filled("parameter", *placed, 0, placed->region.shape(spec.shape), dtype);
    source = parameter_source(spec.name, spec.shape, placed->region, part);
  }
  source.states = states_of(spec, compute);
  contents_.parameters.push_back(std::move(source));
}

void PlacedSample::add_pieces(const PlacedSpec& placed, const std::vector<std::string>& states,
                              const Layout& layout, int rank, DType dtype) {
  const IndexRange own = share(placed.region.elements(), layout.data_coordinate(rank), layout.data);
  for (const std::string& state : states) {
    const Tensor data = filled(state, placed, own.begin, {own.size()}, dtype);
    contents_.pieces.push_back(piece_of(state, placed.spec.name, placed.region, own.begin, data));
  }
}

Tensor PlacedSample::filled(const std::string& state, const PlacedSpec& placed, std::int64_t offset,
                            Shape shape, DType dtype) {
  const Tensor tensor = memory_.emplace_back(dtype, shape).tensor;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const double value =
        sample_value(state, placed.spec.name, global_index(placed.spec, placed.region, offset + i));
    if (dtype == DType::bf16) {
      tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(value));
    } else {
      tensor.data<float>()[i] = static_cast<float>(value);
    }
  }
  return tensor;
}

void expect_placed(const CheckpointReader& reader, const Layout& layout, DType compute) {
  const ModelConfig& config = reader.config();
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  reader.check_matches(specs);
  std::int64_t elements = 0;
  for (int rank = 0; rank < layout.size(); ++rank) {
    for (const PlacedSpec& placed : layout.placed(config, rank)) {
      const ParameterSpec& spec = placed.spec;
      const IndexRange own =
          share(placed.region.elements(), layout.data_coordinate(rank), layout.data);
      if (placed.is_primary) elements += own.size();
      const OwnedTensor part(accumulate_type(compute), {own.size()});
      const auto expect = [&](const std::string& state) {
        for (std::int64_t i = 0; i < own.size(); ++i) {
          const std::int64_t index = global_index(spec, placed.region, own.begin + i);
          ASSERT_EQ(at(part.tensor, i), sample_value(state, spec.name, index))
              << layout.str() << ": " << state << " of " << spec.name << " at " << index;
        }
      };
      reader.read_range(spec.name, placed.region, own.begin, part.tensor);
      expect("parameter");
      for (const std::string& state : states_of(spec, compute)) {
        ASSERT_TRUE(reader.has_state(state, spec.name)) << state << " of " << spec.name;
        reader.read_piece(state, spec.name, placed.region, own.begin, part.tensor);
        expect(state);
      }
      EXPECT_EQ(reader.has_state("exp_avg", spec.name), !is_frozen(spec)) << spec.name;
    }
  }
  EXPECT_EQ(elements, parameter_count(config)) << layout.str();
}

}  // namespace gda::test
