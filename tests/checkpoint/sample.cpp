#include "sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "gda/core/checksum.h"

namespace gda::test {
namespace {

const std::vector<std::string> kStates = {"exp_avg", "exp_avg_sq", "master"};

void set(const Tensor& tensor, std::int64_t i, double value) {
  switch (tensor.dtype()) {
    case DType::f64:
      tensor.data<double>()[i] = value;
      break;
    case DType::f32:
      tensor.data<float>()[i] = static_cast<float>(value);
      break;
    default:
      tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(value));
  }
}

double get(const Tensor& tensor, std::int64_t i) {
  switch (tensor.dtype()) {
    case DType::f64:
      return tensor.data<double>()[i];
    case DType::f32:
      return tensor.data<float>()[i];
    default:
      return static_cast<double>(static_cast<float>(tensor.data<bfloat16>()[i]));
  }
}

struct Range {
  const ParameterSpec* spec;
  std::int64_t offset;
  std::int64_t length;
};

// The parts of parameters that rank `rank` of `size` owns.
std::vector<Range> ranges_of(const std::vector<ParameterSpec>& specs, int rank, int size) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : specs) total += spec.shape.elements();
  const std::int64_t part = (total + size - 1) / size;
  const std::int64_t begin = rank * part;
  std::vector<Range> ranges;
  std::int64_t start = 0;
  for (const ParameterSpec& spec : specs) {
    const std::int64_t end = start + spec.shape.elements();
    const std::int64_t from = std::max(begin, start);
    const std::int64_t to = std::min(begin + part, end);
    if (from < to) ranges.push_back({&spec, from - start, to - from});
    start = end;
  }
  return ranges;
}

}  // namespace

ModelConfig sample_config() {
  ModelConfig config;
  config.hidden_size = 6;
  config.num_hidden_layers = 2;
  config.intermediate_size = 10;
  config.vocab_size = 13;
  config.attention.head_dim = 2;
  config.attention.signal_heads = 3;
  config.attention.noise_heads = 1;
  config.attention.num_key_value_heads = 2;
  return config;
}

std::vector<ParameterSpec> sample_specs() {
  const auto spec = [](const std::string& name, Shape shape) {
    ParameterSpec result;
    result.name = name;
    result.shape = shape;
    return result;
  };
  return {spec("model.embed_tokens.weight", {13, 6}),
          spec("model.layers.0.self_attn.q_proj.weight", {8, 6}),
          spec("model.layers.0.self_attn.lambda_q1", {2}),
          spec("model.layers.1.mlp.gate_proj.weight", {10, 6}), spec("model.norm.weight", {6})};
}

double sample_value(const std::string& state, const std::string& name, std::int64_t i) {
  const std::uint64_t hash = hash_name(state + name) + static_cast<std::uint64_t>(i) * 7;
  return static_cast<double>(static_cast<std::int64_t>(hash % 255) - 127) / 128;
}

Sample::Sample(std::int64_t step, DType compute, int rank, int size, bool with_masters) {
  contents_.step = step;
  contents_.model = sample_config();
  contents_.trainer_json = "{\"step\": " + std::to_string(step) + "}\n";
  contents_.run_config = "train: {}\n";
  const std::vector<ParameterSpec> specs = sample_specs();
  for (const ParameterSpec& spec : specs) {
    const DType dtype = spec.is_matrix() ? compute : accumulate_type(compute);
    contents_.parameters.push_back(
        parameter_source(spec.name, filled("parameter", spec.name, 0, spec.shape, dtype)));
    contents_.parameters.back().states = kStates;
    if (!with_masters) contents_.parameters.back().states.pop_back();
  }
  for (const Range& range : ranges_of(specs, rank, size)) {
    for (const std::string& state : kStates) {
      if (state == "master" && !with_masters) continue;
      const Tensor data = filled(state, range.spec->name, range.offset, Shape{range.length},
                                 accumulate_type(compute));
      contents_.pieces.push_back(
          piece_of(state, range.spec->name, Region::whole(range.spec->shape), range.offset, data));
    }
  }
}

Tensor Sample::filled(const std::string& state, const std::string& name, std::int64_t offset,
                      Shape shape, DType dtype) {
  const Tensor tensor = memory_.emplace_back(dtype, shape).tensor;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    set(tensor, i, sample_value(state, name, offset + i));
  }
  return tensor;
}

void Sample::overwrite() {
  for (OwnedTensor& owned : memory_) std::memset(owned.tensor.raw(), 0x11, owned.tensor.bytes());
}

void expect_sample(const CheckpointReader& reader, DType accumulate, int parts) {
  const std::vector<ParameterSpec> specs = sample_specs();
  for (const ParameterSpec& spec : specs) {
    const OwnedTensor value(accumulate, spec.shape);
    reader.read_parameter(spec.name, value.tensor);
    for (std::int64_t i = 0; i < value.tensor.elements(); ++i) {
      ASSERT_EQ(get(value.tensor, i), sample_value("parameter", spec.name, i)) << spec.name << i;
    }
  }
  for (int part = 0; part < parts; ++part) {
    for (const Range& range : ranges_of(specs, part, parts)) {
      for (const std::string& state : kStates) {
        // Where no masters are stored, the parameters are the masters.
        const bool stored = reader.has_state(state);
        const OwnedTensor piece(accumulate, Shape{range.length});
        reader.read_piece(state, range.spec->name, range.offset, piece.tensor);
        for (std::int64_t i = 0; i < range.length; ++i) {
          const double expected =
              sample_value(stored ? state : "parameter", range.spec->name, range.offset + i);
          ASSERT_EQ(get(piece.tensor, i), expected) << state << " " << range.spec->name << " " << i;
        }
      }
    }
  }
}

}  // namespace gda::test
