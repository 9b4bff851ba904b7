#include <fmt/format.h>

#include <map>
#include <string>

#include "gda/core/error.h"
#include "gda/core/philox.h"
#include "gda/core/stream.h"
#include "gda/model/parameters.h"
#include "gda/ops/elementwise.h"

namespace gda {
namespace {

// The name of the bucket that a parameter belongs to. Vectors share one: they are few, small and of
// another type.
std::string bucket_name(const ParameterSpec& spec) {
  const char* frozen = spec.trainable ? "" : "frozen ";
  if (!spec.is_matrix()) return fmt::format("{}vectors", frozen);
  if (spec.layer < 0) return frozen + spec.name;
  return fmt::format("{}layer {}", frozen, spec.layer);
}

Tensor slice(const Tensor& flat, std::int64_t offset, Shape shape) {
  if (!flat) return {};
  return flat.rows(offset, shape.elements()).reshape(shape);
}

template <class T>
void fill(const Tensor& to, const Parameter& parameter, const Philox& random) {
  T* values = to.data<T>();
  const Initializer& init = parameter.spec.init;
  const Region& region = parameter.region;
  const std::int64_t width = parameter.spec.is_matrix() ? parameter.spec.shape[1] : 1;
  const std::int64_t columns = region.columns.size();
  const std::int64_t count = region.elements();
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = region.rows.begin + i / columns;
    const std::int64_t index = row * width + region.columns.begin + i % columns;
    const double value = init.stddev > 0
                             ? init.stddev * random.normal(static_cast<std::uint64_t>(index))
                             : init.value;
    values[i] = T(static_cast<accumulate_t<T>>(value));
  }
}

Tensor fuse(const Tensor& first, const Tensor& last) {
  if (!first) return {};
  const std::int64_t width = first.dim(1);
  const auto distance =
      static_cast<const std::byte*>(last.raw()) - static_cast<const std::byte*>(first.raw());
  const std::int64_t row_bytes = width * static_cast<std::int64_t>(size_of(first.dtype()));
  require<OpError>(last.dim(1) == width && distance >= 0 && distance % row_bytes == 0,
                   "[parameters] {} and {} do not lie side by side", first.str(), last.str());
  return {first.raw(), first.dtype(), {distance / row_bytes + last.dim(0), width}, first.device()};
}

std::vector<PlacedSpec> all_of(const std::vector<ParameterSpec>& specs) {
  std::vector<PlacedSpec> placed;
  placed.reserve(specs.size());
  for (const ParameterSpec& spec : specs) {
    placed.push_back({.spec = spec, .region = Region::whole(spec.shape)});
  }
  return placed;
}

}  // namespace

ParameterStore::ParameterStore(const std::vector<ParameterSpec>& specs, DType compute,
                               std::int64_t alignment, bool with_gradients, Device device)
    : ParameterStore(all_of(specs), compute, alignment, with_gradients, device) {}

ParameterStore::ParameterStore(const std::vector<PlacedSpec>& placed, DType compute,
                               std::int64_t alignment, bool with_gradients, Device device)
    : compute_(compute) {
  std::map<std::string, std::size_t> bucket_index;
  std::vector<std::int64_t> offset_of;
  for (const PlacedSpec& part : placed) {
    const ParameterSpec& spec = part.spec;
    const auto [entry, is_new] = bucket_index.try_emplace(bucket_name(spec), buckets_.size());
    if (is_new) {
      Bucket& bucket = buckets_.emplace_back();
      bucket.dtype = spec.is_matrix() ? compute : accumulate_type(compute);
      bucket.trainable = spec.trainable;
    }
    Bucket& bucket = buckets_[entry->second];
    index_.emplace(spec.name, parameters_.size());
    bucket.parameters.push_back(parameters_.size());
    bucket.offsets.push_back(bucket.elements);
    offset_of.push_back(bucket.elements);
    bucket.elements += part.region.elements();
    Parameter& parameter = parameters_.emplace_back();
    parameter.spec = spec;
    parameter.region = part.region;
    parameter.is_primary = part.is_primary;
    parameter.bucket = entry->second;
  }
  const DType gradient_type = accumulate_type(compute);
  for (Bucket& bucket : buckets_) {
    bucket.elements = (bucket.elements + alignment - 1) / alignment * alignment;
    const auto count = static_cast<std::size_t>(bucket.elements);
    memory_.emplace_back(count * size_of(bucket.dtype), device, "parameters");
    bucket.values = memory_.back().tensor(bucket.dtype, {bucket.elements});
    if (with_gradients && bucket.trainable) {
      memory_.emplace_back(count * size_of(gradient_type), device, "gradients");
      bucket.gradients = memory_.back().tensor(gradient_type, {bucket.elements});
    }
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = parameters_[i];
    const Bucket& bucket = buckets_[parameter.bucket];
    const Shape shape = parameter.region.shape(parameter.spec.shape);
    parameter.value = slice(bucket.values, offset_of[i], shape);
    parameter.gradient = slice(bucket.gradients, offset_of[i], shape);
  }
}

std::vector<ParameterSpec> ParameterStore::specs() const {
  std::vector<ParameterSpec> specs;
  for (const Parameter& parameter : parameters_) specs.push_back(parameter.spec);
  return specs;
}

const Parameter* ParameterStore::find(std::string_view name) const {
  const auto entry = index_.find(std::string(name));
  return entry == index_.end() ? nullptr : &parameters_[entry->second];
}

const Parameter& ParameterStore::at(std::string_view name) const {
  const Parameter* parameter = find(name);
  require<OpError>(parameter != nullptr, "[parameters] there is no parameter {}", name);
  return *parameter;
}

std::optional<std::size_t> ParameterStore::trainable_matrices(std::int64_t layer) const {
  for (const Parameter& parameter : parameters_) {
    const ParameterSpec& spec = parameter.spec;
    if (spec.layer == layer && spec.is_matrix() && spec.trainable) return parameter.bucket;
  }
  return std::nullopt;
}

std::optional<std::size_t> ParameterStore::trainable_vectors() const {
  for (const Parameter& parameter : parameters_) {
    if (!parameter.spec.is_matrix() && parameter.spec.trainable) return parameter.bucket;
  }
  return std::nullopt;
}

Weight ParameterStore::fused(std::string_view first, std::string_view last) const {
  const Weight& begin = at(first);
  const Weight& end = at(last);
  return {fuse(begin.value, end.value), fuse(begin.gradient, end.gradient)};
}

void ParameterStore::initialize(std::uint64_t seed, const Stream& stream) {
  for (const Parameter& parameter : parameters_) {
    const Philox random(seed, RandomPurpose::initialisation, parameter.spec.name);
    fill_from_host(stream, parameter.value, [&](const Tensor& to) {
      switch (to.dtype()) {
        case DType::f64:
          return fill<double>(to, parameter, random);
        case DType::f32:
          return fill<float>(to, parameter, random);
        case DType::bf16:
          return fill<bfloat16>(to, parameter, random);
        case DType::i32:
          fail<OpError>("[parameters] {} is not a parameter type", "int32");
      }
    });
  }
}

std::int64_t ParameterStore::count() const {
  std::int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.region.elements();
  return count;
}

std::int64_t ParameterStore::trainable_count() const {
  std::int64_t count = 0;
  for (const Parameter& parameter : parameters_) {
    if (parameter.spec.trainable) count += parameter.region.elements();
  }
  return count;
}

void ParameterStore::zero_gradients(const Context& context) const {
  for (const Bucket& bucket : buckets_) {
    if (bucket.gradients) fill_zero(context, bucket.gradients);
  }
}

}  // namespace gda
