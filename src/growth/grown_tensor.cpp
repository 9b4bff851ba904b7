#include "growth/grown_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gda/core/philox.h"

namespace gda {
namespace {

double factor_of(const AxisMap::Run& run, CarriedState state) {
  switch (state) {
    case CarriedState::value:
      return run.scale;
    case CarriedState::first_moment:
      return run.gradient_scale;
    case CarriedState::second_moment:
      return run.gradient_scale * run.gradient_scale;
  }
  return 1;
}

// One stream of random numbers for each use, tensor and growth.
Philox random_numbers(std::uint64_t seed, const TensorStep& step, std::string_view use) {
  return Philox(seed, RandomPurpose::growth_noise, fmt::format("{} {}", step.draw, use));
}

}  // namespace

IndexRange source_rows(const TensorMap& map, CarriedState state, const IndexRange& target) {
  const std::int64_t height = map.source_shape.rank() == 0 ? 0 : map.source_shape[0];
  const bool is_value = state == CarriedState::value;
  const TensorStep& step = map.steps.back();
  if (map.steps.size() > 1 || (is_value && step.has_noise())) return {0, height};
  if (!is_value && step.fresh_moments) return {};
  IndexRange rows{height, 0};
  std::int64_t begin = 0;
  for (const AxisMap::Run& run : step.rows.runs) {
    const IndexRange here = intersection({begin, begin + run.length}, target);
    if (here.size() > 0 && run.source != AxisMap::kFilled) {
      rows.begin = std::min(rows.begin, run.source + here.begin - begin);
      rows.end = std::max(rows.end, run.source + here.end - begin);
    }
    begin += run.length;
  }
  return rows.size() > 0 ? rows : IndexRange{};
}

template <class T>
GrownTensor<T>::GrownTensor(const TensorMap& map, CarriedState state, std::uint64_t seed,
                            std::vector<T> source, std::int64_t first_row)
    : state_(state), seed_(seed), source_(std::move(source)), first_row_(first_row) {
  if (map.source_shape.rank() == 2) source_columns_ = map.source_shape[1];
  for (const TensorStep& step : map.steps) {
    if (step_ != nullptr) finish_step();
    begin_step(step);
  }
}

template <class T>
std::int64_t GrownTensor<T>::row_count() const {
  return static_cast<std::int64_t>(row_map_.size());
}

template <class T>
void GrownTensor<T>::begin_step(const TensorStep& step) {
  step_ = &step;
  row_map_ = step.rows.expanded();
  // Vectors have no column axis; they are matrices of one column.
  column_map_ = step.columns.runs.empty() ? AxisMap::identity(1) : step.columns;
  columns_ = column_map_.size();
  const bool noisy = state_ == CarriedState::value && step.has_noise();
  noise_stddev_ = noisy ? measure_rms() * std::pow(10.0, -step.noise_db / 20.0) : 0;
  if (noisy) column_coordinates_ = column_map_.expanded();
}

template <class T>
void GrownTensor<T>::finish_step() {
  std::vector<T> result(static_cast<std::size_t>(row_count() * columns_));
  rows(0, result);
  source_ = std::move(result);
  source_columns_ = columns_;
  first_row_ = 0;
}

// Summed by rows, so that the result does not depend on the number of threads.
template <class T>
double GrownTensor<T>::measure_rms() const {
  const std::int64_t height = static_cast<std::int64_t>(source_.size()) / source_columns_;
  std::vector<double> squares(static_cast<std::size_t>(height));
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < height; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < source_columns_; ++j) {
      const auto value =
          static_cast<double>(source_[static_cast<std::size_t>(i * source_columns_ + j)]);
      sum += value * value;
    }
    squares[static_cast<std::size_t>(i)] = sum;
  }
  double total = 0;
  for (const double sum : squares) total += sum;
  return source_.empty() ? 0 : std::sqrt(total / static_cast<double>(source_.size()));
}

template <class T>
bool GrownTensor<T>::is_zero() const {
  return state_ != CarriedState::value && step_->fresh_moments;
}

template <class T>
void GrownTensor<T>::rows(std::int64_t first, std::span<T> target) const {
  const auto width = static_cast<std::size_t>(columns_);
  const auto count = static_cast<std::int64_t>(target.size() / width);
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) {
    const std::span<T> row = target.subspan(static_cast<std::size_t>(i) * width, width);
    if (is_zero()) {
      std::fill(row.begin(), row.end(), T(0));
    } else {
      copy_or_fill(first + i, row);
      if (noise_stddev_ > 0) add_noise(first + i, row);
    }
  }
}

template <class T>
void GrownTensor<T>::copy_or_fill(std::int64_t row, std::span<T> target) const {
  const AxisMap::Run& from = row_map_[static_cast<std::size_t>(row)];
  const bool is_value = state_ == CarriedState::value;
  const Initializer& fill = step_->fill;
  std::size_t j = 0;
  for (const AxisMap::Run& run : column_map_.runs) {
    const std::size_t end = j + static_cast<std::size_t>(run.length);
    if (from.source != AxisMap::kFilled && run.source != AxisMap::kFilled) {
      const double factor = factor_of(from, state_) * factor_of(run, state_);
      const T* source = source_.data() + (from.source - first_row_) * source_columns_ + run.source;
      for (; j < end; ++j) target[j] = static_cast<T>(factor * static_cast<double>(*source++));
    } else if (is_value && fill.stddev > 0) {
      const Philox random = random_numbers(seed_, *step_, "fill");
      const auto index = static_cast<std::uint64_t>(row * columns_);
      for (; j < end; ++j) target[j] = static_cast<T>(fill.stddev * random.normal(index + j));
    } else {
      for (; j < end; ++j) target[j] = is_value ? static_cast<T>(fill.value) : T(0);
    }
  }
}

template <class T>
void GrownTensor<T>::add_noise(std::int64_t row, std::span<T> target) const {
  const AxisMap::Run& from = row_map_[static_cast<std::size_t>(row)];
  if (from.source == AxisMap::kFilled) return;
  const Philox random = random_numbers(seed_, *step_, "noise");
  for (const ColumnPair& pair : step_->noise) {
    for (std::int64_t j = 0; j < pair.width; ++j) {
      const auto plus = static_cast<std::size_t>(pair.plus + j);
      const auto minus = static_cast<std::size_t>(pair.minus + j);
      const double stddev = noise_stddev_ * from.scale * column_coordinates_[plus].scale;
      const auto index = static_cast<std::uint64_t>(row * columns_) + plus;
      const T n = static_cast<T>(stddev * random.normal(index));
      target[plus] += n;
      target[minus] -= n;
    }
  }
}

template class GrownTensor<float>;
template class GrownTensor<double>;

namespace {

template <class T>
void apply_to(const TensorMap& map, CarriedState state, std::uint64_t seed,
              std::span<const T> source, std::span<T> target) {
  GrownTensor<T>(map, state, seed, {source.begin(), source.end()}).rows(0, target);
}

}  // namespace

void apply(const TensorMap& map, CarriedState state, std::uint64_t seed,
           std::span<const float> source, std::span<float> target) {
  apply_to(map, state, seed, source, target);
}

void apply(const TensorMap& map, CarriedState state, std::uint64_t seed,
           std::span<const double> source, std::span<double> target) {
  apply_to(map, state, seed, source, target);
}

}  // namespace gda
