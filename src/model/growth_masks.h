// The masks of a growing model (gda/model/growth_state.h), as its modules use them.
#pragma once

#include "gda/core/memory.h"
#include "gda/model/growth_state.h"
#include "gda/model/layer_part.h"
#include "gda/ops/column_mask.h"

namespace gda {

// Of one layer. By default nothing grows: no mask, no work.
struct LayerMasks {
  ColumnMask hidden;        // [D], of both norms
  ColumnMask feed_forward;  // [F], of the gated product
  Tensor heads;             // [out_size], of o_proj's input; empty: all 1
  double layer = 1;         // h + layer * (Block(h) - h)
};

// Owns the masks' numbers: factors of the heads and units of a place, sums over those of all
// places.
class GrowthMasks {
 public:
  // `statistics`: type of the factors. Takes memory when a mask is first set.
  GrowthMasks(const ModelConfig& config, const LayerPart& part, DType statistics, Device device);

  // See Decoder::set_growth.
  void set(const GrowthMask& mask, double m);

  const ColumnMask& hidden() const { return hidden_; }
  LayerMasks layer(std::int64_t index) const;

 private:
  struct Axis {
    std::int64_t size = 0;   // coordinates in all places
    IndexRange here;         // those of this place
    std::int64_t width = 1;  // columns of a coordinate
  };
  // The factors of the columns that are here: m in the ranges, and 1 elsewhere.
  ColumnMask fill(OwnedTensor& factors, const std::vector<IndexRange>& grown, double m,
                  const Axis& axis) const;

  Axis hidden_axis_, unit_axis_, head_axis_;
  DType statistics_;
  Device device_;
  OwnedTensor hidden_factors_, feed_forward_factors_, head_factors_;
  ColumnMask hidden_, feed_forward_, heads_;
  std::vector<IndexRange> layers_;
  double m_ = 1;
};

}  // namespace gda
