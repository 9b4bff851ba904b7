#include <cmath>
#include <cstring>

#include "isa.h"
#include "isa/adamw.h"
#include "ops/adamw_kernels.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

// Parameters of one piece: five arrays of it stay in the second-level cache between the update and
// a copy.
constexpr std::int64_t kPiece = 8192;

template <class T>
AdamWFactors<T> factors(const AdamWStep& step) {
  const auto t = static_cast<double>(step.step);
  const double correction1 = 1 - std::pow(step.beta1, t);
  const double correction2 = 1 - std::pow(step.beta2, t);
  return {.gradient_scale = static_cast<T>(step.gradient_scale),
          .beta1 = static_cast<T>(step.beta1),
          .one_minus_beta1 = static_cast<T>(1 - step.beta1),
          .beta2 = static_cast<T>(step.beta2),
          .one_minus_beta2 = static_cast<T>(1 - step.beta2),
          .root_correction = static_cast<T>(1 / std::sqrt(correction2)),
          .eps = static_cast<T>(step.eps),
          .step_size = static_cast<T>(step.lr / correction1),
          .decay = static_cast<T>(step.lr * step.weight_decay)};
}

// The formula of gda/ops/adamw.h as it stands there.
void reference(const AdamWStep& step, const Tensor& gradient, const Tensor& master, const Tensor& m,
               const Tensor& v, const Tensor& copy) {
  const auto t = static_cast<double>(step.step);
  for (std::int64_t i = 0; i < master.elements(); ++i) {
    const double g = step.gradient_scale * gradient.data<double>()[i];
    double& first = m.data<double>()[i];
    double& second = v.data<double>()[i];
    double& parameter = master.data<double>()[i];
    first = step.beta1 * first + (1 - step.beta1) * g;
    second = step.beta2 * second + (1 - step.beta2) * g * g;
    const double mean = first / (1 - std::pow(step.beta1, t));
    const double square = second / (1 - std::pow(step.beta2, t));
    parameter -= step.lr * (mean / (std::sqrt(square) + step.eps) + step.weight_decay * parameter);
    if (!copy.empty()) copy.data<double>()[i] = parameter;
  }
}

}  // namespace

void adamw_update(const Context&, const AdamWStep& options, const Tensor& gradient,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& copy) {
  if (master.dtype() == DType::f64) return reference(options, gradient, master, m, v, copy);
  static const AdamWTable& table = choose(baseline::kAdamW, avx2::kAdamW, avx512::kAdamW);
  const auto f = factors<float>(options);
  parallel_pieces(master.elements(), kPiece, [&](std::int64_t begin, std::int64_t end) {
    const auto at = [&](const Tensor& tensor) { return tensor.data<float>() + begin; };
    const std::int64_t n = end - begin;
    if (!copy.empty() && copy.dtype() == DType::bf16) {
      table.update_and_copy(f, at(gradient), at(master), at(m), at(v),
                            copy.data<bfloat16>() + begin, n);
      return;
    }
    table.update(f, at(gradient), at(master), at(m), at(v), n);
    if (!copy.empty()) {
      std::memcpy(at(copy), at(master), static_cast<std::size_t>(n) * sizeof(float));
    }
  });
}

}  // namespace gda::cpu
