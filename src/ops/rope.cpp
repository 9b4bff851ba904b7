#include "gda/ops/rope.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "gda/core/stream.h"
#include "ops/backend.h"
#include "ops/dispatch.h"
#include "ops/rope_kernels.h"

namespace gda {
namespace {

using ops::check_tensor;

void check_scaling(const RopeScaling& scaling) {
  require<OpError>(scaling.factor > 0, "[make_rope_table] factor: expected more than 0, got {}",
                   scaling.factor);
  require<OpError>(
      scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor,
      "[make_rope_table] expected 0 < low_freq_factor < high_freq_factor, got {} and {}",
      scaling.low_freq_factor, scaling.high_freq_factor);
  require<OpError>(
      scaling.original_max_position_embeddings >= 1,
      "[make_rope_table] original_max_position_embeddings: expected at least 1, got {}",
      scaling.original_max_position_embeddings);
}

// Turns within the original context tell how well a frequency was trained: those with few turns
// are slowed down by `factor`, those with many are kept.
double scale(double frequency, const RopeScaling& scaling) {
  const double turns = static_cast<double>(scaling.original_max_position_embeddings) * frequency /
                       (2 * std::numbers::pi);
  if (turns < scaling.low_freq_factor) return frequency / scaling.factor;
  if (turns > scaling.high_freq_factor) return frequency;
  const double kept =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

// Reads the positions, so it is for those in the host's memory only.
void check_positions(std::string_view op, const Tensor& position, std::int64_t positions) {
  for (std::int64_t i = 0; i < position.elements(); ++i) {
    const std::int32_t p = position.data<std::int32_t>()[i];
    require<OpError>(p >= 0 && p < positions,
                     "[{}] position[{}]: expected 0 to {} (the table has {} positions; make it "
                     "longer for longer sequences), got {}",
                     op, i, positions - 1, positions, p);
  }
}

void check_arguments(std::string_view op, const Context& context, std::string_view name,
                     const Tensor& x, const Tensor& position, const Tensor& table) {
  ops::check_compute_type(op, x);
  require<OpError>(table.rank() == 3 && table.dim(0) == 2,
                   "[{}] table: expected [2, positions, d/2] of make_rope_table, got {}", op,
                   table.str());
  check_tensor(op, "table", table, accumulate_type(x.dtype()), table.shape(), context);
  const std::int64_t head_dim = 2 * table.dim(2);
  require<OpError>(x.rank() == 2 && head_dim > 0 && x.dim(1) % head_dim == 0,
                   "[{}] {}: expected rows [N, heads * {}] for this table's head width, got {}", op,
                   name, head_dim, x.str());
  check_tensor(op, name, x, x.dtype(), x.shape(), context, true);
  check_tensor(op, "position", position, DType::i32, {x.dim(0)}, context);
  if (context.device().type == DeviceType::cpu) check_positions(op, position, table.dim(1));
}

}  // namespace

OwnedTensor make_rope_table(double theta, const std::optional<RopeScaling>& scaling,
                            std::int64_t positions, std::int64_t head_dim, DType dtype,
                            Device device) {
  require<OpError>(theta > 0, "[make_rope_table] theta: expected more than 0, got {}", theta);
  require<OpError>(positions >= 1, "[make_rope_table] positions: expected at least 1, got {}",
                   positions);
  require<OpError>(head_dim >= 2 && head_dim % 2 == 0,
                   "[make_rope_table] head_dim: expected an even number of at least 2, got {}",
                   head_dim);
  require<OpError>(dtype == DType::f32 || dtype == DType::f64,
                   "[make_rope_table] dtype: expected fp32 or fp64, got {}", name_of(dtype));
  if (scaling) check_scaling(*scaling);

  std::vector<double> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t j = 0; j < frequencies.size(); ++j) {
    const double exponent = -2 * static_cast<double>(j) / static_cast<double>(head_dim);
    const double frequency = std::pow(theta, exponent);
    frequencies[j] = scaling ? scale(frequency, *scaling) : frequency;
  }
  OwnedTensor table(dtype, {2, positions, head_dim / 2});
  cpu::fill_rope_table(frequencies, table.tensor);
  if (device.type == DeviceType::cpu) return table;
  OwnedTensor there(dtype, table.tensor.shape(), device);
  const Stream stream{.device = device};
  copy(stream, table.tensor, there.tensor);
  synchronize(stream);  // it may be read in any stream
  return there;
}

void rope_forward(const Context& context, const Tensor& x, const Tensor& position,
                  const Tensor& table) {
  check_arguments("rope_forward", context, "x", x, position, table);
  ops::backend(context.device()).rope_forward(context, x, position, table);
}

void rope_backward(const Context& context, const Tensor& dx, const Tensor& position,
                   const Tensor& table) {
  check_arguments("rope_backward", context, "dx", dx, position, table);
  ops::backend(context.device()).rope_backward(context, dx, position, table);
}

}  // namespace gda
