#include "gda/optim/muon.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
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
  find_ranks();
  const ParameterStore& parameters = buckets.parameters();
  std::vector<double> costs;
  for (const Bucket& bucket : parameters.buckets()) {
    const std::int64_t length = bucket.elements / buckets.replicas().size();
    for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
      const Parameter& parameter = parameters.all()[bucket.parameters[i]];
      if (!parameter.spec.trainable || !takes(parameter.spec)) continue;
      check_box(parameter);
      add_matrix(parameter, bucket.offsets[i], length);
      costs.push_back(newton_schulz_cost(parameter.spec.shape));
    }
  }
  hands_ = deal_matrices(costs, static_cast<int>(ranks_.size()));
}

// On a mesh the ranks of two tensor groups of a stage are equally far from each other.
void Muon::find_ranks() {
  const GradientGroups& groups = buckets_->groups();
  const Communicator& replicas = groups.replicas;
  if (groups.tensor != nullptr) {
    tensor_ = groups.tensor->rank();
    tensor_size_ = groups.tensor->size();
  }
  own_ = replicas.rank() * tensor_size_ + tensor_;
  group_ = tensor_size_ > 1 ? &groups.world : &groups.replicas;
  for (int replica = 0; replica < replicas.size(); ++replica) {
    if (tensor_size_ == 1) {
      ranks_.push_back(replica);
      continue;
    }
    for (int tensor = 0; tensor < tensor_size_; ++tensor) {
      const int distance = groups.tensor->world_rank(tensor) - groups.tensor->world_rank(tensor_);
      ranks_.push_back(replicas.world_rank(replica) + distance);
    }
  }
  require<OpError>(ranks_[static_cast<std::size_t>(own_)] == group_->rank(),
                   "[muon] expected the group of all ranks, to send parts of matrices through");
}

void Muon::check_box(const Parameter& parameter) const {
  const ParameterSpec& spec = parameter.spec;
  Region expected = Region::whole(spec.shape);
  if (tensor_size_ > 1) {
    require<OpError>(spec.cut != Cut::none, "[muon] {} is not cut over the tensor group",
                     spec.name);
    IndexRange& axis = spec.cut == Cut::rows ? expected.rows : expected.columns;
    const std::int64_t length = axis.size() / tensor_size_;
    axis = {tensor_ * length, (tensor_ + 1) * length};
  }
  require<OpError>(parameter.region == expected, "[muon] {}: expected {}, got {}", spec.name,
                   tensor_size_ > 1 ? expected.str() : "the whole matrix", parameter.region.str());
}

// `begin`: of its box in the bucket, of which each replica has `part_length`.
void Muon::add_matrix(const Parameter& parameter, std::int64_t begin, std::int64_t part_length) {
  Matrix& matrix = matrices_.emplace_back();
  matrix.parameter = &parameter;
  const std::int64_t box = parameter.region.elements();
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    const int replica = rank / tensor_size_;
    const IndexRange part{replica * part_length, (replica + 1) * part_length};
    const IndexRange held = intersection(IndexRange{begin, begin + box}, part);
    const std::int64_t shift = rank % tensor_size_ * box - begin;
    matrix.parts.push_back({held.begin + shift, held.end + shift});
  }
}

bool Muon::takes(const ParameterSpec& spec) const {
  return spec.layer >= 0 && spec.is_matrix();
}

const Muon::Matrix* Muon::owned(std::size_t round, int rank) const {
  const std::vector<std::size_t>& hand = hands_[static_cast<std::size_t>(rank)];
  return round < hand.size() ? &matrices_[hand[round]] : nullptr;
}

const IndexRange& Muon::own_part(const Matrix& matrix) const {
  return matrix.parts[static_cast<std::size_t>(own_)];
}

bool Muon::is_shared(const Matrix& matrix) const {
  return own_part(matrix).size() < matrix.parameter->spec.shape.elements();
}

std::size_t Muon::rounds() const {
  std::size_t most = 0;
  for (const auto& hand : hands_) most = std::max(most, hand.size());
  return most;
}

std::vector<Pending> Muon::exchange(const Step& step, std::size_t round, bool outwards) const {
  const int size = static_cast<int>(ranks_.size());
  const DType type = outwards ? step.compute : accumulate_type(step.compute);
  // My part of what `peer` owns, and its part of what I own.
  const auto mine = [&](int peer) {
    const Matrix* matrix = owned(round, peer);
    if (matrix == nullptr || own_part(*matrix).size() == 0) return Tensor();
    return step.part(*matrix, type);
  };
  const auto theirs = [&](int peer) {
    const Matrix* matrix = owned(round, own_);
    if (matrix == nullptr) return Tensor();
    const IndexRange& part = matrix->parts[static_cast<std::size_t>(peer)];
    if (part.size() == 0) return Tensor();
    return flat(step.whole(*matrix, round, true, type)).rows(part.begin, part.size());
  };
  std::vector<Pending> pending;
  for (int shift = 1; shift < size; ++shift) {
    const int to = (own_ + shift) % size;
    const int from = (own_ - shift + size) % size;
    const Tensor sent = outwards ? theirs(to) : mine(to);
    const Tensor received = outwards ? mine(from) : theirs(from);
    if (!sent && !received) continue;
    const auto rank = [&](const Tensor& message, int peer) {
      return message ? ranks_[static_cast<std::size_t>(peer)] : kNobody;
    };
    pending.push_back(group_->send_receive(sent, rank(sent, to), received, rank(received, from)));
  }
  return pending;
}

void Muon::iterate(const Step& step, std::size_t round) const {
  const Matrix* matrix = owned(round, own_);
  if (matrix == nullptr) return;
  const bool shared = is_shared(*matrix);
  const IndexRange& own = own_part(*matrix);
  const Tensor u = step.whole(*matrix, round, shared, accumulate_type(step.compute));
  if (shared && own.size() > 0) {
    copy(step.context.stream, step.piece(*matrix).gradient, flat(u).rows(own.begin, own.size()));
  }
  const Tensor x = step.whole(*matrix, round, shared, step.compute);
  orthogonalize(step, *matrix, u, x);
  if (own.size() > 0) apply(step, *matrix, flat(x).rows(own.begin, own.size()));
}

void Muon::orthogonalize(const Step& step, const Matrix& matrix, const Tensor& u,
                         const Tensor& x) const {
  if (tensor_size_ == 1 || matrix.parameter->spec.cut != Cut::columns) {
    return newton_schulz(step.context, u, x);
  }
  const ArenaScope scope(step.context.arena);
  const Tensor whole = step.context.arena.allocate(u.dtype(), u.shape());
  const Tensor result = view(whole, x.dtype(), x.shape());
  const std::int64_t width = u.dim(1) / tensor_size_;
  const auto box = [&](const Tensor& boxes, std::int64_t tensor) {
    const std::int64_t length = u.dim(0) * width;
    return flat(boxes).rows(tensor * length, length).reshape({u.dim(0), width});
  };
  for (int i = 0; i < tensor_size_; ++i) {
    convert(step.context, box(u, i), whole.columns(i * width, width));
  }
  newton_schulz(step.context, whole, result);
  for (int i = 0; i < tensor_size_; ++i) {
    convert(step.context, result.columns(i * width, width), box(x, i));
  }
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
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    const Matrix* matrix = owned(round, rank);
    if (rank == own_ || matrix == nullptr || own_part(*matrix).size() == 0) continue;
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
  for (const std::size_t i : hands_[static_cast<std::size_t>(own_)]) {
    const Matrix& matrix = matrices_[i];
    if (is_shared(matrix)) most = std::max(most, matrix.parameter->spec.shape.elements());
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
