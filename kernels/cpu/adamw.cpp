#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "isa.h"
#include "isa/adamw.h"
#include "ops/adamw_kernels.h"
#include "parallel.h"

namespace gda::cpu {
namespace {

// Parameters of one piece: five arrays of it stay in the second-level cache between the update and
// a copy.
constexpr std::int64_t kPiece = 8192;

// The factors of a parameter that has seen `count` updates, this one included.
AdamWFactors<float> factors(const AdamWStep& step, std::int64_t count) {
  const double correction1 = 1 - power(step.beta1, count);
  const double correction2 = 1 - power(step.beta2, count);
  return {.gradient_scale = static_cast<float>(step.gradient_scale),
          .beta1 = static_cast<float>(step.beta1),
          .one_minus_beta1 = static_cast<float>(1 - step.beta1),
          .beta2 = static_cast<float>(step.beta2),
          .one_minus_beta2 = static_cast<float>(1 - step.beta2),
          .root_correction = static_cast<float>(1 / std::sqrt(correction2)),
          .eps = static_cast<float>(step.eps),
          .step_size = static_cast<float>(step.lr / correction1),
          .decay = static_cast<float>(step.lr * step.weight_decay)};
}

// f32 arrays of one update, and the kernels that work on them.
struct Arrays {
  const AdamWTable& table;
  const Tensor& gradient;
  const Tensor& master;
  const Tensor& m;
  const Tensor& v;
  const Tensor& copy;

  bool rounds() const { return !copy.empty() && copy.dtype() == DType::bf16; }
  void copy_plain(std::int64_t begin, std::int64_t n) const {
    if (copy.empty() || rounds()) return;
    std::memcpy(copy.data<float>() + begin, master.data<float>() + begin,
                static_cast<std::size_t>(n) * sizeof(float));
  }
};

void update(const AdamWFactors<float>& f, const Arrays& a, std::int64_t begin, std::int64_t n) {
  const auto at = [&](const Tensor& tensor) { return tensor.data<float>() + begin; };
  if (a.rounds()) {
    a.table.update_and_copy(f, at(a.gradient), at(a.master), at(a.m), at(a.v),
                            a.copy.data<bfloat16>() + begin, n);
    return;
  }
  a.table.update(f, at(a.gradient), at(a.master), at(a.m), at(a.v), n);
  a.copy_plain(begin, n);
}

void update_columns(const AdamWFactors<float>& f, const AdamWColumns& columns, const Arrays& a,
                    std::int64_t begin, std::int64_t n) {
  const auto at = [&](const Tensor& tensor) { return tensor.data<float>() + begin; };
  if (a.rounds()) {
    a.table.update_columns_and_copy(f, columns, at(a.gradient), at(a.master), at(a.m), at(a.v),
                                    a.copy.data<bfloat16>() + begin, n);
    return;
  }
  a.table.update_columns(f, columns, at(a.gradient), at(a.master), at(a.m), at(a.v), n);
  a.copy_plain(begin, n);
}

// The factors of every coordinate of an axis; neighbours usually began together.
std::vector<AdamWFactors<float>> axis_factors(const AdamWStep& step, const Tensor& origins) {
  std::vector<AdamWFactors<float>> result;
  const auto* origin = origins.data<std::int32_t>();
  for (std::int64_t i = 0; i < origins.elements(); ++i) {
    const bool as_before = i > 0 && origin[i] == origin[i - 1];
    result.push_back(as_before ? result.back() : factors(step, step.step - origin[i]));
  }
  return result;
}

// An update whose step counts go by rows and columns.
class RegionUpdate {
 public:
  RegionUpdate(const AdamWStep& step, const AdamWOrigins& origins)
      : offset_(origins.offset), width_(origins.row_length), all_(factors(step, step.step)) {
    if (!origins.rows.empty()) rows_ = axis_factors(step, origins.rows);
    if (origins.columns.empty()) return;
    for (const AdamWFactors<float>& column : axis_factors(step, origins.columns)) {
      root_corrections_.push_back(column.root_correction);
      step_sizes_.push_back(column.step_size);
    }
  }

  // Elements [begin, end) of the piece, row by row.
  void run(const Arrays& arrays, std::int64_t begin, std::int64_t end) const {
    while (begin < end) {
      const std::int64_t row = (offset_ + begin) / width_;
      const std::int64_t column = (offset_ + begin) % width_;
      const std::int64_t n = std::min(end - begin, width_ - column);
      const AdamWFactors<float>& f = rows_.empty() ? all_ : rows_[static_cast<std::size_t>(row)];
      if (step_sizes_.empty()) {
        update(f, arrays, begin, n);
      } else {
        update_columns(f, {root_corrections_.data() + column, step_sizes_.data() + column}, arrays,
                       begin, n);
      }
      begin += n;
    }
  }

 private:
  std::int64_t offset_;
  std::int64_t width_;
  AdamWFactors<float> all_;
  std::vector<AdamWFactors<float>> rows_;
  std::vector<float> root_corrections_;
  std::vector<float> step_sizes_;
};

// Updates that element i of the piece has seen, this one included.
std::int64_t count_of(const AdamWStep& step, const AdamWOrigins& origins, std::int64_t i) {
  const std::int64_t at = origins.offset + i;
  std::int32_t origin = 0;
  if (!origins.rows.empty()) origin = origins.rows.data<std::int32_t>()[at / origins.row_length];
  if (!origins.columns.empty()) {
    origin = std::max(origin, origins.columns.data<std::int32_t>()[at % origins.row_length]);
  }
  return step.step - origin;
}

// The formula of gda/ops/adamw.h as it stands there.
void reference(const ops::AdamWUpdate& a) {
  const AdamWStep& step = a.step;
  for (std::int64_t i = 0; i < a.master.elements(); ++i) {
    const auto t = static_cast<double>(count_of(step, a.origins, i));
    const double g = step.gradient_scale * a.gradient.data<double>()[i];
    double& first = a.m.data<double>()[i];
    double& second = a.v.data<double>()[i];
    double& parameter = a.master.data<double>()[i];
    first = step.beta1 * first + (1 - step.beta1) * g;
    second = step.beta2 * second + (1 - step.beta2) * g * g;
    const double mean = first / (1 - std::pow(step.beta1, t));
    const double square = second / (1 - std::pow(step.beta2, t));
    parameter -= step.lr * (mean / (std::sqrt(square) + step.eps) + step.weight_decay * parameter);
    if (!a.copy.empty()) a.copy.data<double>()[i] = parameter;
  }
}

}  // namespace

void adamw_update(const Context&, const ops::AdamWUpdate& a) {
  if (a.master.dtype() == DType::f64) {
    return reference(a);
  }
  static const AdamWTable& table = choose(baseline::kAdamW, avx2::kAdamW, avx512::kAdamW);
  const Arrays arrays{.table = table,
                      .gradient = a.gradient,
                      .master = a.master,
                      .m = a.m,
                      .v = a.v,
                      .copy = a.copy};
  if (a.origins.empty()) {
    const AdamWFactors<float> f = factors(a.step, a.step.step);
    parallel_pieces(a.master.elements(), kPiece, [&](std::int64_t begin, std::int64_t end) {
      update(f, arrays, begin, end - begin);
    });
    return;
  }
  const RegionUpdate regions(a.step, a.origins);
  parallel_pieces(a.master.elements(), kPiece,
                  [&](std::int64_t begin, std::int64_t end) { regions.run(arrays, begin, end); });
}

}  // namespace gda::cpu
