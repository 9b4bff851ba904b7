// AdamW with its state sharded over the data-parallel ranks (ZeRO stage 1, Rajbhandari et al.
// 2020).
//
// Every bucket of the ParameterStore is cut into `size` equal parts; rank r owns part r: it
// receives that part's summed gradient (reduce-scatter), holds its fp32 master, m and v, updates
// it, and the new values reach every rank by an all-gather that runs under the next forward pass.
//
// Frozen parameters take no part in that: no gradient, no moments, no communication after loading.
// Where their values are of a narrower type than the master's, each rank still holds its part of
// the masters, so that checkpoints lose nothing and they can be trained again later.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/model/growth_state.h"
#include "gda/model/parameters.h"
#include "gda/ops/adamw.h"

namespace gda {

class ShardedAdamW {
 public:
  // The part of one parameter that this rank owns: flat elements [offset, offset + length). Tensors
  // are [length], accumulate type but `value`; a frozen parameter has no gradient, m and v.
  struct Piece {
    const ParameterSpec* spec = nullptr;
    std::size_t bucket = 0;
    std::int64_t offset = 0;
    std::int64_t length = 0;
    Tensor gradient;
    Tensor value;   // compute type
    Tensor master;  // the same memory as `value` where their types agree
    Tensor m;
    Tensor v;
    AdamWOrigins origins;
  };

  // `parameters` (with gradients, aligned to communicator.size()) and `communicator` must outlive
  // it.
  ShardedAdamW(const ParameterStore& parameters, Communicator& communicator);

  const std::vector<Piece>& pieces() const { return pieces_; }
  // Bytes of master, m and v on this rank.
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

  // Starts summing a bucket's gradient over the ranks; each bucket once a step, in the same order
  // on every rank.
  void reduce(std::size_t bucket);
  // Waits for all reductions. The 2-norm of the whole gradient, the same on every rank; not finite
  // if any element is not. The host waits for a device once, for the sums of all buckets.
  double gradient_norm(const Context& context);
  // Updates this rank's pieces (weight decay only where the parameter asks for it), starts
  // gathering the new values, and zeroes the gradients.
  void update(const Context& context, const AdamWStep& step);
  // Drops the gradients without an update.
  void skip(const Context& context);

  // Waits until the bucket's values are here.
  void wait(std::size_t bucket);
  void wait_all();

 private:
  struct Shard {
    Tensor gradient;
    Tensor value;
    Tensor master;
    Tensor m;
    Tensor v;
    Pending reduced;
    Pending gathered;
  };
  void add_pieces(std::size_t bucket_index);
  // The runs of an axis, one number a coordinate; empty if there are none.
  Tensor expand(const Context& context, const std::vector<AxisRun>& runs);
  void gather(std::size_t bucket);
  // Pieces that are updated as one: neighbours in a bucket with the same weight decay and one count
  // of updates.
  std::vector<Piece> joined_pieces() const;
  // The piece's values from its masters, where they are not the same memory.
  void round_masters(const Context& context, const Piece& piece) const;

  const ParameterStore* parameters_;
  Communicator* communicator_;
  std::vector<Shard> shards_;
  std::vector<Piece> pieces_;
  std::vector<Buffer> memory_;
  std::vector<OwnedTensor> origins_;
  std::optional<std::uint64_t> rounding_seed_;  // none: to the nearest
  std::int64_t updates_ = 0;
};

}  // namespace gda
