#include <fmt/format.h>

#include <algorithm>
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

// The slot that it shares with others where layers take their turns; `turn`: 0 or 1.
std::optional<std::string> shared_slot(const ParameterSpec& spec, int turn) {
  if (!spec.is_matrix() || spec.completion == Completion::tied) return std::nullopt;
  if (spec.layer < 0) return "embedding and head";
  return fmt::format("{}layers {}", spec.trainable ? "" : "frozen ", turn);
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
    : ParameterStore(placed, {.compute = compute,
                              .alignment = alignment,
                              .with_gradients = with_gradients,
                              .device = device}) {}

ParameterStore::ParameterStore(const std::vector<ParameterSpec>& specs,
                               const ParameterStoreOptions& options)
    : ParameterStore(all_of(specs), options) {}

ParameterStore::ParameterStore(const std::vector<PlacedSpec>& placed,
                               const ParameterStoreOptions& options)
    : compute_(options.compute), zero_(options.zero) {
  std::map<std::string, std::size_t> bucket_index;
  for (const PlacedSpec& part : placed) {
    const ParameterSpec& spec = part.spec;
    if (const Parameter* held = find(spec.name)) {
      require<OpError>(held->region == part.region,
                       "[parameters] {} is listed with {} and with {}; expected one part of it",
                       spec.name, held->region.str(), part.region.str());
      continue;
    }
    const auto [entry, is_new] = bucket_index.try_emplace(bucket_name(spec), buckets_.size());
    if (is_new) {
      Bucket& bucket = buckets_.emplace_back();
      bucket.dtype = spec.is_matrix() ? compute_ : accumulate_type(compute_);
      bucket.trainable = spec.trainable;
    }
    add(part, entry->second);
  }
  for (Bucket& bucket : buckets_) {
    bucket.elements =
        (bucket.elements + options.alignment - 1) / options.alignment * options.alignment;
  }
  assign_slots();
  allocate(options);
}

void ParameterStore::add(const PlacedSpec& part, std::size_t bucket_number) {
  Bucket& bucket = buckets_[bucket_number];
  index_.emplace(part.spec.name, parameters_.size());
  bucket.parameters.push_back(parameters_.size());
  bucket.offsets.push_back(bucket.elements);
  bucket.elements += part.region.elements();
  Parameter& parameter = parameters_.emplace_back();
  parameter.spec = part.spec;
  parameter.region = part.region;
  parameter.is_primary = part.is_primary;
  parameter.bucket = bucket_number;
}

void ParameterStore::assign_slots() {
  std::map<std::string, std::size_t> value_slots;
  std::map<std::string, std::size_t> gradient_slots;
  std::map<bool, int> layers;  // so far, trainable and frozen
  std::vector<int> users;      // of slots of values
  for (Bucket& bucket : buckets_) {
    const ParameterSpec& spec = parameters_[bucket.parameters.front()].spec;
    const std::string own = bucket_name(spec);
    const int turn = spec.is_matrix() && spec.layer >= 0 ? layers[bucket.trainable]++ % 2 : 0;
    const std::string shared = shared_slot(spec, turn).value_or(own);
    const auto slot = [](auto& slots, const std::string& name) {
      return slots.try_emplace(name, slots.size()).first->second;
    };
    bucket.value_slot = slot(value_slots, zero_ >= ZeroStage::three ? shared : own);
    users.resize(value_slots.size());
    ++users[bucket.value_slot];
    if (!bucket.trainable) continue;
    bucket.gradient_slot = slot(gradient_slots, zero_ >= ZeroStage::two ? shared : own);
  }
  for (Bucket& bucket : buckets_) bucket.shares_values = users[bucket.value_slot] > 1;
}

void ParameterStore::allocate(const ParameterStoreOptions& options) {
  const DType gradient_type = accumulate_type(compute_);
  std::map<std::size_t, std::size_t> values;  // bytes of slots
  std::map<std::size_t, std::size_t> gradients;
  const auto raise = [](std::size_t& bytes, std::int64_t elements, DType dtype) {
    bytes = std::max(bytes, static_cast<std::size_t>(elements) * size_of(dtype));
  };
  for (const Bucket& bucket : buckets_) {
    raise(values[bucket.value_slot], bucket.elements, bucket.dtype);
    if (!options.with_gradients || !bucket.trainable) continue;
    raise(gradients[bucket.gradient_slot], bucket.elements, gradient_type);
  }
  const auto buffers = [&](const std::map<std::size_t, std::size_t>& sizes, const char* purpose) {
    std::map<std::size_t, std::size_t> index;  // into memory_
    for (const auto& [slot, bytes] : sizes) {
      index[slot] = memory_.size();
      memory_.emplace_back(bytes, options.device, purpose);
    }
    return index;
  };
  const auto value_memory = buffers(values, "parameters");
  const auto gradient_memory = buffers(gradients, "gradients");
  for (Bucket& bucket : buckets_) {
    const Shape shape{bucket.elements};
    bucket.values = memory_[value_memory.at(bucket.value_slot)].tensor(bucket.dtype, shape);
    if (options.with_gradients && bucket.trainable) {
      const Buffer& memory = memory_[gradient_memory.at(bucket.gradient_slot)];
      bucket.gradients = memory.tensor(gradient_type, shape);
    }
    for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
      Parameter& parameter = parameters_[bucket.parameters[i]];
      const Shape part = parameter.region.shape(parameter.spec.shape);
      parameter.value = slice(bucket.values, bucket.offsets[i], part);
      parameter.gradient = slice(bucket.gradients, bucket.offsets[i], part);
    }
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
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    require<OpError>(!buckets_[i].shares_values,
                     "[parameters] layers share the memory of their values, which hold one of "
                     "them at a time: initialise them through their GradientBuckets");
    initialize_bucket(i, seed, stream);
  }
}

void ParameterStore::initialize_bucket(std::size_t bucket, std::uint64_t seed,
                                       const Stream& stream) const {
  for (const std::size_t index : buckets_[bucket].parameters) {
    const Parameter& parameter = parameters_[index];
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
