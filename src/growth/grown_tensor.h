// One state of one tensor of a grown model, computed a block of rows at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gda/growth/growth_map.h"
#include "gda/model/region.h"

namespace gda {

// The rows of the source that rows `target` of the grown tensor are made of; all where the whole is
// needed: a step before the last, or noise that is relative to the tensor's size. Empty: none.
IndexRange source_rows(const TensorMap& map, CarriedState state, const IndexRange& target);

// T: float or double. All steps but the last are carried out on the whole tensor when it is made,
// the last one when rows are asked for.
template <class T>
class GrownTensor {
 public:
  // `map` must outlive it. `source` as apply()'s, or its rows from `first_row` on that
  // source_rows() says, if no others of the grown tensor are asked for.
  GrownTensor(const TensorMap& map, CarriedState state, std::uint64_t seed, std::vector<T> source,
              std::int64_t first_row = 0);

  std::int64_t row_count() const;
  std::int64_t row_size() const { return columns_; }
  // Rows [first, first + target.size() / row_size()).
  void rows(std::int64_t first, std::span<T> target) const;

 private:
  // The step that is next, and what it starts from.
  void begin_step(const TensorStep& step);
  void finish_step();
  bool is_zero() const;
  void copy_or_fill(std::int64_t row, std::span<T> target) const;
  void add_noise(std::int64_t row, std::span<T> target) const;
  double measure_rms() const;

  CarriedState state_;
  std::uint64_t seed_;
  std::vector<T> source_;
  std::int64_t source_columns_ = 1;
  std::int64_t first_row_ = 0;  // of the source that is here
  const TensorStep* step_ = nullptr;
  std::vector<AxisMap::Run> row_map_;  // of one coordinate each
  AxisMap column_map_;
  std::int64_t columns_ = 1;
  std::vector<AxisMap::Run> column_coordinates_;  // of one coordinate each; only with noise
  double noise_stddev_ = 0;
};

}  // namespace gda
