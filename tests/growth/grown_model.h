// Models in memory, grown by a map, and what to compare of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/growth/growth_plan.h"
#include "support/tiny_model.h"

namespace gda::test {

template <class T>
std::span<T> span_of(const Tensor& tensor) {
  return {tensor.data<T>(), static_cast<std::size_t>(tensor.elements())};
}

// The same map without its paired noise.
inline GrowthMap without_noise(GrowthMap map) {
  for (TensorMap& tensor : map.tensors) {
    for (TensorStep& step : tensor.steps) step.noise_db = 0;
  }
  return map;
}

// An old tensor of `old`, carried through the map. T: of the model.
template <class T>
void carry(const TensorMap& map, CarriedState state, const Tensor& old, std::span<T> target) {
  const std::span<const T> source = map.source.empty() ? std::span<const T>() : span_of<T>(old);
  apply(map, state, 7, source, target);
}

// Values of one model into the other.
template <class T>
void grow(const GrowthMap& map, const TinyModel& from, const TinyModel& to) {
  for (const TensorMap& tensor : map.tensors) {
    const Parameter* source = tensor.source.empty() ? nullptr : &from.parameters.at(tensor.source);
    carry<T>(tensor, CarriedState::value, source ? source->value : Tensor(),
             span_of<T>(to.parameters.at(tensor.target.name).value));
  }
}

// A trained model's vectors are not ones and zeros: all differ a little from their beginning.
template <class T>
void disturb_vectors(const TinyModel& model) {
  for (const Parameter& parameter : model.parameters.all()) {
    if (parameter.spec.is_matrix()) continue;
    const Philox random(11, RandomPurpose::test, parameter.spec.name);
    const std::span<T> values = span_of<T>(parameter.value);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] += static_cast<T>(0.2 * random.normal(i));
    }
  }
}

// Largest difference of the logits over the largest logit.
template <class T>
double logit_error(TinyModel& a, TinyModel& b) {
  const TinyBatch batch(a.config);
  const Shape shape{TinyBatch::kBatch * TinyBatch::kLength, a.config.vocab_size};
  const OwnedTensor x(dtype_of<T>, shape);
  const OwnedTensor y(dtype_of<T>, shape);
  a.decoder.forward_logits(a.context(), batch.view(), x.tensor);
  b.decoder.forward_logits(b.context(), batch.view(), y.tensor);
  double difference = 0;
  double largest = 0;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    const double p = x.tensor.data<T>()[i];
    difference = std::max(difference, std::abs(p - y.tensor.data<T>()[i]));
    largest = std::max(largest, std::abs(p));
  }
  return difference / largest;
}

inline void expect_config_error(const std::function<void()>& action, const std::string& text) {
  try {
    action();
    FAIL() << "expected ConfigError: " << text;
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()), text);
  }
}

inline GrowthMap map_of(const GrowthOperator& operation, const ModelConfig& config) {
  return GrowthStep{operation}.map(config);
}

}  // namespace gda::test
