#include "gda/optim/muon.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/ops/muon.h"
#include "gda/ops/newton_schulz.h"
#include "gda/optim/matrix_owners.h"

namespace gda {
namespace {

// Largest root mean square of an update, as AdamW's is between 0.2 and 0.4 (Liu et al. 2025).
constexpr double kUpdateRms = 0.2;

Tensor flat(const Tensor& tensor) {
  return tensor.reshape({tensor.elements()});
}

// The first elements of this memory as another type.
Tensor view(const Tensor& memory, DType dtype, const Shape& shape) {
  return {memory.raw(), dtype, shape, memory.device()};
}

}  // namespace

struct Muon::Step {
  const Context& context;
  const UpdateStep& options;
  DType compute;
  std::unordered_map<const Parameter*, const OptimizerPiece*> pieces;
  Tensor slots[2];  // u of a matrix that this rank owns and shares, then X; rounds in turn

  const OptimizerPiece& piece(const Matrix& matrix) const { return *pieces.at(matrix.parameter); }
  // Where the whole u of a matrix is on its owner, and then X in place of it.
  Tensor whole(const Matrix& matrix, std::size_t round, bool is_shared, DType dtype) const {
    const Tensor& memory = is_shared ? slots[round % 2] : piece(matrix).gradient;
    return view(memory, dtype, matrix.parameter->spec.shape);
  }
  // Where a rank that is not the owner has its part of u, and then of X.
  Tensor part(const Matrix& matrix, DType dtype) const {
    const OptimizerPiece& own = piece(matrix);
    return view(own.gradient, dtype, {own.length});
  }
};

Muon::Muon(const GradientBuckets& buckets, const MuonOptions& options)
    : buckets_(&buckets), options_(options) {
  const ParameterStore& parameters = buckets.parameters();
  const int ranks = buckets.replicas().size();
  std::vector<double> costs;
  for (const Bucket& bucket : parameters.buckets()) {
    const std::int64_t length = bucket.elements / ranks;
    for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
      const Parameter& parameter = parameters.all()[bucket.parameters[i]];
      if (!parameter.spec.trainable || !takes(parameter.spec)) continue;
      require<OpError>(parameter.region == Region::whole(parameter.spec.shape),
                       "[muon] {}: expected the whole matrix, got {}", parameter.spec.name,
                       parameter.region.str());
      Matrix& matrix = matrices_.emplace_back();
      matrix.parameter = &parameter;
      const std::int64_t begin = bucket.offsets[i];
      const IndexRange all{begin, begin + parameter.region.elements()};
      for (int rank = 0; rank < ranks; ++rank) {
        const IndexRange held = intersection(all, {rank * length, (rank + 1) * length});
        matrix.parts.push_back({held.begin - begin, held.end - begin});
      }
      costs.push_back(newton_schulz_cost(parameter.spec.shape));
    }
  }
  hands_ = deal_matrices(costs, ranks);
}

bool Muon::takes(const ParameterSpec& spec) const {
  return spec.layer >= 0 && spec.is_matrix();
}

const Muon::Matrix* Muon::owned(std::size_t round, int rank) const {
  const std::vector<std::size_t>& hand = hands_[static_cast<std::size_t>(rank)];
  return round < hand.size() ? &matrices_[hand[round]] : nullptr;
}

const IndexRange& Muon::own_part(const Matrix& matrix) const {
  return matrix.parts[static_cast<std::size_t>(buckets_->replicas().rank())];
}

bool Muon::is_shared(const Matrix& matrix) const {
  return own_part(matrix).size() < matrix.parameter->region.elements();
}

std::size_t Muon::rounds() const {
  std::size_t most = 0;
  for (const auto& hand : hands_) most = std::max(most, hand.size());
  return most;
}

std::vector<Pending> Muon::exchange(const Step& step, std::size_t round, bool outwards) const {
  Communicator& group = buckets_->replicas();
  const int size = group.size();
  const DType type = outwards ? step.compute : accumulate_type(step.compute);
  // My part of what `peer` owns, and its part of what I own.
  const auto mine = [&](int peer) {
    const Matrix* matrix = owned(round, peer);
    if (matrix == nullptr || own_part(*matrix).size() == 0) return Tensor();
    return step.part(*matrix, type);
  };
  const auto theirs = [&](int peer) {
    const Matrix* matrix = owned(round, group.rank());
    if (matrix == nullptr) return Tensor();
    const IndexRange& part = matrix->parts[static_cast<std::size_t>(peer)];
    if (part.size() == 0) return Tensor();
    return flat(step.whole(*matrix, round, true, type)).rows(part.begin, part.size());
  };
  std::vector<Pending> pending;
  for (int shift = 1; shift < size; ++shift) {
    const int to = (group.rank() + shift) % size;
    const int from = (group.rank() - shift + size) % size;
    const Tensor sent = outwards ? theirs(to) : mine(to);
    const Tensor received = outwards ? mine(from) : theirs(from);
    if (!sent && !received) continue;
    pending.push_back(
        group.send_receive(sent, sent ? to : kNobody, received, received ? from : kNobody));
  }
  return pending;
}

void Muon::iterate(const Step& step, std::size_t round) const {
  const Matrix* matrix = owned(round, buckets_->replicas().rank());
  if (matrix == nullptr) return;
  const bool shared = is_shared(*matrix);
  const IndexRange& own = own_part(*matrix);
  const Tensor u = step.whole(*matrix, round, shared, accumulate_type(step.compute));
  if (shared && own.size() > 0) {
    copy(step.context.stream, step.piece(*matrix).gradient, flat(u).rows(own.begin, own.size()));
  }
  const Tensor x = step.whole(*matrix, round, shared, step.compute);
  newton_schulz(step.context, u, x);
  if (own.size() > 0) apply(step, *matrix, flat(x).rows(own.begin, own.size()));
}

void Muon::apply(const Step& step, const Matrix& matrix, const Tensor& direction) const {
  const OptimizerPiece& piece = step.piece(matrix);
  const double lr = step.options.lr;
  const ParameterSpec& spec = piece.spec();
  const auto longer = static_cast<double>(std::max(spec.shape[0], spec.shape[1]));
  const bool copies = step.options.writes_values && piece.has_own_master();
  apply_direction(step.context, spec.decay ? lr * options_.weight_decay : 0,
                  lr * kUpdateRms * std::sqrt(longer), direction, piece.master,
                  copies ? piece.value : Tensor());
}

void Muon::apply_received(const Step& step, std::size_t round) const {
  const Communicator& group = buckets_->replicas();
  for (int rank = 0; rank < group.size(); ++rank) {
    const Matrix* matrix = owned(round, rank);
    if (rank == group.rank() || matrix == nullptr || own_part(*matrix).size() == 0) continue;
    apply(step, *matrix, step.part(*matrix, step.compute));
  }
}

void Muon::update(const Context& context, const std::vector<OptimizerPiece>& pieces,
                  const UpdateStep& options) {
  const ArenaScope scope(context.arena);
  Step step{.context = context,
            .options = options,
            .compute = buckets_->parameters().compute_type(),
            .pieces = {},
            .slots = {}};
  for (const OptimizerPiece& piece : pieces) {
    step.pieces.emplace(piece.parameter, &piece);
    momentum_update(context, options_.momentum, options.gradient_scale, piece.gradient,
                    piece.state(kMomentum));
  }
  std::int64_t most = 0;
  for (const std::size_t i : hands_[static_cast<std::size_t>(buckets_->replicas().rank())]) {
    if (is_shared(matrices_[i])) most = std::max(most, matrices_[i].parameter->region.elements());
  }
  for (Tensor& slot : step.slots) {
    if (most > 0) slot = context.arena.allocate(accumulate_type(step.compute), {most});
  }
  // A slot is free for the next round but one when what was sent from it is waited for, and this
  // rank's own part is applied: both have happened, in the round between.
  const auto wait = [](const std::vector<Pending>& all) {
    for (const Pending& pending : all) pending.wait();
  };
  const std::size_t count = rounds();
  std::vector<Pending> gathered = exchange(step, 0, false);
  std::vector<Pending> spread;
  for (std::size_t round = 0; round < count; ++round) {
    std::vector<Pending> next;
    if (round + 1 < count) next = exchange(step, round + 1, false);
    wait(gathered);
    iterate(step, round);
    std::vector<Pending> sent = exchange(step, round, true);
    wait(spread);
    if (round > 0) apply_received(step, round - 1);
    gathered = std::move(next);
    spread = std::move(sent);
  }
  wait(spread);
  if (count > 0) apply_received(step, count - 1);
}

}  // namespace gda
