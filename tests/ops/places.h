// Operators that several places carry out together, with one process for all of them.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>

#include "support/op_test.h"

namespace gda::test {

// What an operator calls to meet the other places: `tensor` becomes the sum or the maximum of all.
using Meet = std::function<void(const Tensor&)>;

// Lets places carry out one pass after the other, as often as they meet and once more. In each
// round they get the results of the meetings whose tensors all of them have shown in rounds before,
// and show those of the next one. Passes must therefore be such that they can be repeated.
class Places {
 public:
  explicit Places(int count) : count_(count) {}

  using Pass = std::function<void(int place, const Meet& maximum, const Meet& sum)>;

  // The meetings in their order: what was asked for, and of which shape and type.
  struct Meeting {
    bool is_sum;
    Shape shape;
    DType dtype;
    std::vector<double> result;
    bool operator==(const Meeting& other) const {
      return is_sum == other.is_sum && shape == other.shape && dtype == other.dtype;
    }
  };

  std::vector<Meeting> carry_out(const Pass& pass) {
    for (;;) {
      std::optional<Meeting> next;
      int shown = 0;
      for (int place = 0; place < count_; ++place) {
        std::size_t at = 0;
        const auto meet = [&](bool is_sum, const Tensor& tensor) {
          const Meeting here{is_sum, tensor.shape(), tensor.dtype(), {}};
          const std::size_t index = at++;
          if (index < known_.size()) {
            EXPECT_TRUE(here == known_[index]) << "meeting " << index << " at place " << place;
            write(tensor, known_[index].result);
          } else if (index == known_.size()) {
            EXPECT_TRUE(!next || here == *next) << "meeting " << index << " at place " << place;
            combine(next, here, read(tensor));
            ++shown;
          }
        };
        pass(
            place, [&](const Tensor& tensor) { meet(false, tensor); },
            [&](const Tensor& tensor) { meet(true, tensor); });
      }
      if (!next) return known_;
      EXPECT_EQ(shown, count_) << "places at meeting " << known_.size();
      known_.push_back(std::move(*next));
    }
  }

 private:
  // An operator's scratch memory on a GPU is not the host's.
  static std::vector<double> read(const Tensor& tensor) {
    wait_for(tensor.device());
    const HostCopy host({.device = tensor.device()}, tensor);
    return values(host.tensor());
  }
  static void write(const Tensor& tensor, const std::vector<double>& numbers) {
    fill_from_host({.device = tensor.device()}, tensor,
                   [&](const Tensor& host) { set_values(host, numbers); });
    wait_for(tensor.device());
  }
  static void combine(std::optional<Meeting>& next, const Meeting& here,
                      std::vector<double> values) {
    if (!next) {
      next = here;
      next->result = std::move(values);
      return;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      double& result = next->result[i];
      result = here.is_sum ? result + values[i] : std::max(result, values[i]);
    }
  }

  int count_;
  std::vector<Meeting> known_;
};

// Where parts of [0, borders.back()) begin and end.
struct Part {
  std::int64_t begin, end;
  std::int64_t count() const { return end - begin; }
};
inline std::vector<Part> parts_of(const std::vector<std::int64_t>& borders) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
    parts.push_back({borders[i], borders[i + 1]});
  }
  return parts;
}

// A contiguous copy of some columns or rows.
inline TestTensor columns_copy(const Tensor& x, const Part& part) {
  return cast(x.columns(part.begin, part.count()), x.dtype());
}
inline TestTensor rows_copy(const Tensor& x, const Part& part) {
  return cast(x.rows(part.begin, part.count()), x.dtype());
}

}  // namespace gda::test
