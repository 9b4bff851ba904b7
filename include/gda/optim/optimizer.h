// Master weights and optimizer states, of which every data-parallel rank has its part, and the
// rules that update them.
//
// Masters are kept in the accumulate type. Frozen parameters have no states; where their values are
// of a narrower type, each rank still holds its part of the masters, so that checkpoints lose
// nothing and they can be trained again later.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gda/model/growth_state.h"
#include "gda/optim/gradient_buckets.h"
#include "gda/optim/optimizer_config.h"
#include "gda/optim/qk_clip.h"
#include "gda/optim/update_rule.h"

namespace gda {

using UpdateRules = std::vector<std::unique_ptr<UpdateRule>>;

// The rules of a configuration, the ones that take fewer parameters first. `buckets` must outlive
// them.
UpdateRules make_update_rules(const OptimizerConfig& config, const GradientBuckets& buckets);

class Optimizer {
 public:
  // `buckets` must outlive it. Each trainable parameter is updated by the first of the rules that
  // takes it.
  Optimizer(GradientBuckets& buckets, UpdateRules rules);

  const std::vector<OptimizerPiece>& pieces() const { return pieces_; }
  // Names of the states of a parameter; none if it is frozen.
  std::vector<std::string> states(const ParameterSpec& spec) const;
  // Bytes of masters and states on this rank.
  std::size_t bytes() const;

  // Counts the updates of the regions that these list from their own beginnings, none of which lies
  // after the updates done so far. Parameters that are not listed began with the run.
  void set_origins(const Context& context, const std::vector<UpdateOrigin>& origins);

  // From now on values that are narrower than their masters are rounded up or down at random, with
  // noise that is a function of the seed, the parameter's name, the element and the number of
  // updates done, instead of to the nearest. `updates`: those done so far.
  void round_stochastically(std::uint64_t seed, std::int64_t updates);

  // Sets the masters from the values: after initialisation.
  void copy_masters_from_values(const Context& context);
  // Sets this rank's values from its masters and starts gathering them: after loading.
  void publish_masters(const Context& context);

  // Updates this rank's pieces from the reduced gradients (weight decay only where the parameter
  // asks for it), starts gathering the new values in the order in which the next forward pass reads
  // them, and zeroes the gradients. `clips`: factors of the new weights of heads (qk_clip.h).
  void update(const Context& context, const UpdateStep& step,
              const std::vector<HeadFactors>& clips = {});

 private:
  // What this rank keeps beside a bucket's values and gradients.
  struct Shard {
    Tensor master;
    std::vector<OptimizerState> states;
  };
  const UpdateRule* rule_of(const ParameterSpec& spec) const;
  void allocate_shard(const Bucket& bucket, const GradientBuckets::Part& part);
  void add_pieces(std::size_t bucket_index);
  // Those that a rule updates.
  std::vector<OptimizerPiece> pieces_of(const UpdateRule& rule) const;
  // The runs of an axis, one number for each coordinate of the range; empty if there are none.
  Tensor expand(const Context& context, const std::vector<AxisRun>& runs, const IndexRange& range);
  void scale(const Context& context, const HeadFactors& clip, bool writes_values);
  // The piece's values from its masters, where they are not the same memory.
  void round_masters(const Context& context, const OptimizerPiece& piece) const;

  GradientBuckets* buckets_;
  UpdateRules rules_;
  std::vector<Shard> shards_;
  std::vector<OptimizerPiece> pieces_;
  std::vector<Buffer> memory_;
  std::vector<OwnedTensor> origins_;
  std::optional<std::uint64_t> rounding_seed_;  // none: to the nearest
  std::int64_t updates_ = 0;
};

}  // namespace gda
