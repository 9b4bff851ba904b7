// Communication of ranks that hold the same parameters: gradients that are summed, and values that
// reach every rank (ZeRO, Rajbhandari et al. 2020).
//
// Every bucket of the ParameterStore is cut into as many equal parts as there are replicas; replica
// r owns part r: it gets that part's summed gradient (reduce-scatter), and sends its new values
// (all-gather). Frozen buckets have no gradient. By the store's ZeroStage:
//
//   one    A bucket's gradients add up over the micro-batches in its own memory, and are reduced
//          once a step. New values are gathered under the next forward pass.
//   two    Gradients of layers lie in slots (gda/model/parameters.h). Each micro-batch's are
//          reduced and added to the part, which has memory of its own, before the slot's next layer
//          begins: the reduction of one layer runs under the backward pass of the next.
//   three  And values: the part has memory of its own, and a layer's values are gathered to its
//          slot while the layer before is computed. What a slot still holds is not gathered again,
//          as at the turn from forward to backward.
//
// What the replicas' sum leaves incomplete is completed by each parameter's Completion, once a step
// for all of them (gda/model/parameter_spec.h).
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <vector>

#include "gda/core/memory.h"
#include "gda/dist/communicator.h"
#include "gda/model/parameters.h"

namespace gda {

// Ranks that this one exchanges gradients and values with. Tensor and pipeline: null, or the group
// along that axis of the mesh, as a rank's coordinate in it is that of the store's placement.
struct GradientGroups {
  Communicator& replicas;            // the same parameters: data and context ranks
  Communicator* tensor = nullptr;    // other parts of the same tensors
  Communicator* pipeline = nullptr;  // other stages
  Communicator& world;               // all
};

class GradientBuckets {
 public:
  // This rank's part of a bucket: its elements [begin, begin + value.elements()).
  struct Part {
    std::int64_t begin = 0;
    Tensor value;
    Tensor gradient;  // empty if the bucket is frozen
  };

  // `parameters` (aligned to groups.replicas.size()) and the groups must outlive it. OpError where
  // parameters are cut otherwise than over the tensor group, or a tied embedding is held by neither
  // the first nor the last rank of the pipeline group.
  GradientBuckets(const ParameterStore& parameters, const GradientGroups& groups);
  // Along one axis: no other rank holds anything else.
  GradientBuckets(const ParameterStore& parameters, Communicator& replicas);
  // Waits for values that are on their way to memory that is about to go; not if it is destroyed by
  // an exception, which may be of a rank alone.
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  const ParameterStore& parameters() const { return *parameters_; }
  const GradientGroups& groups() const { return groups_; }
  Communicator& replicas() const { return groups_.replicas; }
  const Part& part(std::size_t bucket) const { return parts_[bucket]; }
  // Memory of this rank, in bytes: the store's and that of parts which have their own.
  struct Held {
    std::size_t values = 0;
    std::size_t gradients = 0;
  };
  Held held() const;

  // Fills all values by their initialisers.
  void initialize(std::uint64_t seed, const Stream& stream);

  // Values. Collective over the replicas, in one order on all of them, as is what follows.
  //
  // The bucket's values are here when it returns, until another bucket of its slot is used. `next`:
  // the bucket that is used next: if its slot is another, its values are on their way.
  void use(std::size_t bucket, std::optional<std::size_t> next = std::nullopt);
  void wait(std::size_t bucket) { use(bucket); }
  // The parts have new values, those of frozen buckets too if it says so. Starts gathering: all,
  // but of a slot the first that comes.
  void publish(bool with_frozen);
  // Waits for all values that are on their way.
  void wait_all();

  // Gradients.
  //
  // Before a pass first adds to the bucket's gradient. From stage two on it waits until what the
  // slot holds has been reduced, adds that to its part, and zeroes the slot. OpError if that has
  // not been given to reduce().
  void prepare_gradient(const Context& context, std::size_t bucket);
  // Starts summing a bucket's gradient over the replicas: in stage one once a step, behind the last
  // micro-batch; in others behind each.
  void reduce(std::size_t bucket);
  // Waits for all reductions, and completes what they leave incomplete. Once a step; done already,
  // it does nothing. Collective over all groups.
  void complete(const Context& context);
  // The 2-norm of the whole model's completed gradient, the same bits on every rank of the world;
  // not finite if any element is not. The host waits for a device once, for the sums of all
  // buckets.
  double gradient_norm(const Context& context);
  // Waits for all reductions and zeroes the gradients.
  void zero(const Context& context);

 private:
  struct ValueSlot {
    std::optional<std::size_t> bucket;  // whose values are here, or on their way
    Pending gathered;
  };
  struct GradientSlot {
    std::optional<std::size_t> bucket;  // whose gradient is here, not yet in its part
    bool is_reduced = false;            // or is being reduced
    Pending reduced;
  };

  const Bucket& bucket(std::size_t index) const { return parameters_->buckets()[index]; }
  const ParameterSpec& first_spec(std::size_t bucket) const;
  bool is_primary(std::size_t bucket) const;
  bool has_slots() const { return parameters_->zero() >= ZeroStage::two; }
  void make_parts();
  void check_placement() const;
  Tensor own(std::size_t bucket, const Tensor& whole) const;
  void fetch(std::size_t bucket);
  void gather(std::size_t bucket);
  void finish(const Context& context, GradientSlot& slot);
  void sum_over_tensor(std::size_t bucket);
  void add_other_stage(const Context& context, std::size_t bucket);

  const ParameterStore* parameters_;
  GradientGroups groups_;
  std::vector<Part> parts_;
  std::vector<OwnedTensor> memory_;
  std::vector<ValueSlot> value_slots_;
  std::vector<GradientSlot> gradient_slots_;
  int exceptions_ = std::uncaught_exceptions();  // under way when it was made
  bool is_complete_ = false;
};

}  // namespace gda
