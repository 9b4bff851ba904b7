// Shared by the operators' tests: tensors of random numbers, conversion, comparison with tolerances
// that follow from the arithmetic, gradients by finite differences, and errors' texts.
//
// An operator's f64 version is the reference: its gradients are checked by finite differences, and
// its f32 and bf16 versions are compared with the CPU's (OnCpu), which is plain loops, on the same
// (already rounded) inputs; a GPU's f64 version is, too.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/memory.h"
#include "gda/core/philox.h"
#include "gda/ops/context.h"
#include "support/device.h"

namespace gda::test {

// Skips all tests where the device that they are to run on is missing.
class DeviceIsThere : public testing::Environment {
 public:
  void SetUp() override {
    if (on_cuda() && cuda::device_count() == 0) GTEST_SKIP() << "no CUDA device is there";
  }
};
inline testing::Environment* const kDeviceIsThere =
    testing::AddGlobalTestEnvironment(new DeviceIsThere);

// The types that are compared with the CPU's f64.
inline std::vector<DType> judged_types() {
  if (on_cuda()) return {DType::f32, DType::bf16, DType::f64};
  return {DType::f32, DType::bf16};
}

// Half the distance from 1 to the next number: the largest relative error of one rounding.
inline double unit_roundoff(DType dtype) {
  return std::ldexp(1.0, dtype == DType::f64 ? -53 : dtype == DType::f32 ? -24 : -8);
}

namespace detail {

// Offset of element i (counted densely) when dimension 0 has a row stride.
inline std::int64_t offset_of(const Tensor& tensor, std::int64_t i) {
  if (tensor.rank() == 0) return 0;
  const std::int64_t row = tensor.elements() / tensor.dim(0);
  return i / row * tensor.row_stride() + i % row;
}

}  // namespace detail

// Where a tensor is read or written as a whole it is waited for once: a GPU that is waited for at
// every element takes minutes.
namespace detail {

inline double read(const Tensor& tensor, std::int64_t i) {
  const std::int64_t at = offset_of(tensor, i);
  switch (tensor.dtype()) {
    case DType::f64:
      return tensor.data<double>()[at];
    case DType::f32:
      return tensor.data<float>()[at];
    case DType::bf16:
      return static_cast<float>(tensor.data<bfloat16>()[at]);
    case DType::i32:
      return tensor.data<std::int32_t>()[at];
  }
  return 0;
}

inline void write(const Tensor& tensor, std::int64_t i, double value) {
  const std::int64_t at = offset_of(tensor, i);
  switch (tensor.dtype()) {
    case DType::f64:
      tensor.data<double>()[at] = value;
      break;
    case DType::f32:
      tensor.data<float>()[at] = static_cast<float>(value);
      break;
    case DType::bf16:
      tensor.data<bfloat16>()[at] = bfloat16(static_cast<float>(value));
      break;
    case DType::i32:
      tensor.data<std::int32_t>()[at] = static_cast<std::int32_t>(value);
      break;
  }
}

// Element i becomes value(i), for all of them.
template <class Value>
void write_all(const Tensor& tensor, Value&& value) {
  wait_for(tensor.device());
  for (std::int64_t i = 0; i < tensor.elements(); ++i) write(tensor, i, value(i));
}

}  // namespace detail

// Element i, counted densely in row-major order.
inline double get(const Tensor& tensor, std::int64_t i) {
  wait_for(tensor.device());
  return detail::read(tensor, i);
}

inline void set(const Tensor& tensor, std::int64_t i, double value) {
  wait_for(tensor.device());
  detail::write(tensor, i, value);
}

inline std::vector<double> values(const Tensor& tensor) {
  wait_for(tensor.device());
  std::vector<double> all(static_cast<std::size_t>(tensor.elements()));
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = detail::read(tensor, static_cast<std::int64_t>(i));
  }
  return all;
}

// All elements of a tensor, from as many numbers.
inline void set_values(const Tensor& tensor, const std::vector<double>& numbers) {
  detail::write_all(tensor,
                    [&](std::int64_t i) { return numbers.at(static_cast<std::size_t>(i)); });
}

inline void fill(const Tensor& tensor, double value) {
  detail::write_all(tensor, [&](std::int64_t) { return value; });
}

// Normal numbers of this standard deviation and mean, rounded to the type. The same for the same
// name: tensors of one test have different names.
inline TestTensor random_tensor(std::string_view name, DType dtype, Shape shape,
                                double deviation = 1, double mean = 0) {
  TestTensor owned(dtype, shape);
  const Philox random(20240607, RandomPurpose::test, name);
  detail::write_all(owned.tensor, [&](std::int64_t i) {
    return mean + deviation * random.normal(static_cast<std::uint64_t>(i));
  });
  return owned;
}

// Whole numbers in [0, bound), as i32.
inline TestTensor random_indices(std::string_view name, Shape shape, std::int64_t bound) {
  TestTensor owned(DType::i32, shape);
  const Philox random(20240607, RandomPurpose::test, name);
  detail::write_all(owned.tensor, [&](std::int64_t i) {
    return std::floor(random.uniform(static_cast<std::uint64_t>(i)) * static_cast<double>(bound));
  });
  return owned;
}

// A contiguous copy, rounded to another type.
inline TestTensor cast(const Tensor& from, DType dtype) {
  TestTensor owned(dtype, from.shape());
  set_values(owned.tensor, values(from));
  return owned;
}

// |x| in f64: products of it bound the rounding errors of products of x.
inline TestTensor absolute(const Tensor& x) {
  TestTensor result(DType::f64, x.shape());
  std::vector<double> all = values(x);
  for (double& value : all) value = std::abs(value);
  set_values(result.tensor, all);
  return result;
}

inline double max_abs(const Tensor& tensor) {
  double largest = 0;
  for (const double value : values(tensor)) {
    if (!(std::abs(value) <= largest)) largest = std::abs(value);
  }
  return largest;
}

// max |actual - expected|; NaN if there is one on either side.
inline double max_difference(const Tensor& actual, const Tensor& expected) {
  EXPECT_EQ(actual.shape(), expected.shape());
  if (!(actual.shape() == expected.shape())) return NAN;
  const std::vector<double> a = values(actual);
  const std::vector<double> b = values(expected);
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
    if (std::isnan(largest)) break;
  }
  return largest;
}

// max |actual - expected| / max |expected|.
inline double relative_difference(const Tensor& actual, const Tensor& expected) {
  const double difference = max_difference(actual, expected);
  return difference == 0 ? 0 : difference / max_abs(expected);
}

// sum_i x_i y_i: turns a tensor into the scalar whose gradient with respect to it is y.
inline double dot(const Tensor& x, const Tensor& y) {
  const std::vector<double> a = values(x);
  const std::vector<double> b = values(y);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b.at(i);
  return sum;
}

struct GradientCheck {
  double step = 1e-3;
  double tolerance = 1e-8;       // relative to the largest gradient
  std::int64_t max_probes = 64;  // elements that are tried, evenly spread
};

// Compares `gradient` with finite differences of `loss`, a function that reads `input` (f64). The
// stencil (-f(2h) + 8 f(h) - 8 f(-h) + f(-2h)) / 12h is wrong by h^4 f'''''/30 and by rounding,
// about 2^-53 |f| n / h: both near 1e-12 for functions of order 1.
inline void expect_gradient(const Tensor& input, const Tensor& gradient,
                            const std::function<double()>& loss, GradientCheck check = {}) {
  ASSERT_EQ(input.dtype(), DType::f64);
  ASSERT_EQ(input.shape(), gradient.shape());
  const double allowed = check.tolerance * std::max(1.0, max_abs(gradient));
  const std::int64_t stride = std::max<std::int64_t>(1, input.elements() / check.max_probes);
  for (std::int64_t i = 0; i < input.elements(); i += stride) {
    const double value = get(input, i);
    const auto at = [&](double steps) {
      set(input, i, value + steps * check.step);
      return loss();
    };
    const double estimate = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * check.step);
    set(input, i, value);
    EXPECT_NEAR(get(gradient, i), estimate, allowed) << "element " << i << " of " << input.str();
  }
}

// Expects `action` to throw an E whose message contains `text`.
template <class E = OpError, class Action>
void expect_error(Action&& action, std::string_view text) {
  try {
    action();
    ADD_FAILURE() << "expected an error with: " << text;
  } catch (const E& error) {
    EXPECT_NE(std::string_view(error.what()).find(text), std::string_view::npos)
        << "expected: " << text << "\ngot: " << error.what();
  }
}

}  // namespace gda::test
