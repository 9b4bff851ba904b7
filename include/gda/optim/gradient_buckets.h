// Communication of data-parallel ranks: gradients that are summed, and new values that reach every
// rank (ZeRO stage 1, Rajbhandari et al. 2020).
//
// Every bucket of the ParameterStore is cut into `size` equal parts; rank r owns part r: it
// receives that part's summed gradient (reduce-scatter), and sends its new values to every rank by
// an all-gather that runs under the next forward pass. Frozen buckets have no gradient, and are
// gathered only after loading.
#pragma once

#include <cstdint>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/model/parameters.h"

namespace gda {

class GradientBuckets {
 public:
  // This rank's part of a bucket: its elements [begin, begin + value.elements()).
  struct Part {
    std::int64_t begin = 0;
    Tensor value;
    Tensor gradient;  // empty if the bucket is frozen
  };

  // `parameters` (aligned to replicas.size()) and `replicas` must outlive it.
  GradientBuckets(const ParameterStore& parameters, Communicator& replicas);

  const ParameterStore& parameters() const { return *parameters_; }
  Communicator& replicas() const { return *replicas_; }
  const Part& part(std::size_t bucket) const { return parts_[bucket]; }

  // Starts summing a bucket's gradient over the ranks; each bucket once a step, in the same order
  // on every rank.
  void reduce(std::size_t bucket);
  // Waits for all reductions. The 2-norm of the whole gradient, the same on every rank; not finite
  // if any element is not. The host waits for a device once, for the sums of all buckets.
  double gradient_norm(const Context& context);
  // Waits for all reductions and zeroes the gradients.
  void zero(const Context& context);

  // Starts sending this rank's values of a bucket to all ranks.
  void gather(std::size_t bucket);
  // Waits until the bucket's values are here.
  void wait(std::size_t bucket);
  void wait_all();

 private:
  struct Traffic {
    Pending reduced;
    Pending gathered;
  };

  const ParameterStore* parameters_;
  Communicator* replicas_;
  std::vector<Part> parts_;
  std::vector<Traffic> traffic_;
};

}  // namespace gda
