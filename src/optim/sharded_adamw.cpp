#include "gda/optim/sharded_adamw.h"

#include <algorithm>
#include <cmath>

#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"

namespace gda {

ShardedAdamW::ShardedAdamW(const ParameterStore& parameters, Communicator& communicator)
    : parameters_(&parameters), communicator_(&communicator) {
  for (std::size_t i = 0; i < parameters.buckets().size(); ++i) {
    const Bucket& bucket = parameters.buckets()[i];
    const std::int64_t length = bucket.elements / communicator.size();
    const std::int64_t begin = length * communicator.rank();
    const DType state = accumulate_type(parameters.compute_type());
    const auto allocate = [&] {
      memory_.emplace_back(static_cast<std::size_t>(length) * size_of(state),
                           bucket.values.device(), "optimizer state");
      return memory_.back().tensor(state, {length});
    };
    Shard& shard = shards_.emplace_back();
    shard.value = bucket.values.rows(begin, length);
    shard.master = bucket.dtype == state ? shard.value : allocate();
    if (bucket.trainable) {
      shard.gradient = bucket.gradients.rows(begin, length);
      shard.m = allocate();
      shard.v = allocate();
    }
    add_pieces(i);
  }
}

void ShardedAdamW::add_pieces(std::size_t bucket_index) {
  const Bucket& bucket = parameters_->buckets()[bucket_index];
  const Shard& shard = shards_[bucket_index];
  const std::int64_t begin = shard.value.dim(0) * communicator_->rank();
  const std::int64_t end = begin + shard.value.dim(0);
  for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
    const ParameterSpec& spec = parameters_->all()[bucket.parameters[i]].spec;
    const std::int64_t first = std::max(begin, bucket.offsets[i]);
    const std::int64_t last = std::min(end, bucket.offsets[i] + spec.shape.elements());
    if (first >= last) continue;
    const auto part = [&](const Tensor& flat) {
      return flat ? flat.rows(first - begin, last - first) : Tensor();
    };
    pieces_.push_back({.spec = &spec,
                       .bucket = bucket_index,
                       .offset = first - bucket.offsets[i],
                       .length = last - first,
                       .gradient = part(shard.gradient),
                       .value = part(shard.value),
                       .master = part(shard.master),
                       .m = part(shard.m),
                       .v = part(shard.v),
                       .origins = {}});
  }
}

std::size_t ShardedAdamW::bytes() const {
  std::size_t total = 0;
  for (const Buffer& buffer : memory_) total += buffer.bytes();
  return total;
}

Tensor ShardedAdamW::expand(const Context& context, const std::vector<AxisRun>& runs) {
  if (runs.empty()) return {};
  std::int64_t size = 0;
  for (const AxisRun& run : runs) size += run.length;
  const Tensor tensor = origins_.emplace_back(DType::i32, Shape{size}, context.device()).tensor;
  fill_from_host(context.stream, tensor, [&](const Tensor& host) {
    auto* next = host.data<std::int32_t>();
    for (const AxisRun& run : runs) {
      next = std::fill_n(next, run.length, static_cast<std::int32_t>(run.value));
    }
  });
  return tensor;
}

void ShardedAdamW::set_origins(const Context& context, const std::vector<UpdateOrigin>& origins) {
  origins_.clear();
  for (Piece& piece : pieces_) piece.origins = {};
  for (const UpdateOrigin& origin : origins) {
    const Tensor rows = expand(context, origin.rows);
    const Tensor columns = expand(context, origin.columns);
    for (Piece& piece : pieces_) {
      if (piece.spec->name != origin.name) continue;
      const Shape& shape = piece.spec->shape;
      // A vector is one row, along which its coordinates are columns.
      const bool is_matrix = shape.rank() == 2;
      piece.origins = {.rows = is_matrix ? rows : Tensor(),
                       .columns = is_matrix ? columns : rows,
                       .row_length = is_matrix ? shape[1] : shape[0],
                       .offset = piece.offset};
    }
  }
}

void ShardedAdamW::copy_masters_from_values(const Context& context) {
  for (const Shard& shard : shards_) {
    if (shard.master.raw() != shard.value.raw()) convert(context, shard.value, shard.master);
  }
}

void ShardedAdamW::round_stochastically(std::uint64_t seed, std::int64_t updates) {
  rounding_seed_ = seed;
  updates_ = updates;
}

void ShardedAdamW::round_masters(const Context& context, const Piece& piece) const {
  if (piece.master.raw() == piece.value.raw()) return;
  if (!rounding_seed_ || !piece.spec->trainable || piece.value.dtype() != DType::bf16) {
    return convert(context, piece.master, piece.value);
  }
  const Philox random(*rounding_seed_, RandomPurpose::rounding, piece.spec->name);
  stochastic_round(context, piece.master, piece.value, random, static_cast<std::uint64_t>(updates_),
                   piece.offset);
}

void ShardedAdamW::publish_masters(const Context& context) {
  for (const Piece& piece : pieces_) round_masters(context, piece);
  for (std::size_t i = 0; i < shards_.size(); ++i) gather(i);
}

void ShardedAdamW::reduce(std::size_t bucket) {
  Shard& shard = shards_[bucket];
  shard.reduced =
      communicator_->reduce_scatter(parameters_->buckets()[bucket].gradients, shard.gradient);
}

double ShardedAdamW::gradient_norm(const Context& context) {
  const ProfileRange range("gradient norm");
  const ArenaScope scope(context.arena);
  const auto count = static_cast<std::int64_t>(shards_.size());
  const Tensor squares = context.arena.allocate(DType::f64, {count});
  fill_zero(context, squares);
  for (std::int64_t i = 0; i < count; ++i) {
    const Shard& shard = shards_[static_cast<std::size_t>(i)];
    shard.reduced.wait();
    if (shard.gradient) sum_of_squares(context, shard.gradient, squares.rows(i, 1));
  }
  const HostCopy host(context.stream, squares);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += host[i];
  return std::sqrt(communicator_->all_reduce(sum, Reduction::sum));
}

std::vector<ShardedAdamW::Piece> ShardedAdamW::joined_pieces() const {
  // Pieces lie in the order of their buckets, side by side.
  std::vector<Piece> joined;
  for (const Piece& piece : pieces_) {
    if (!piece.spec->trainable) continue;
    const bool joins = !joined.empty() && joined.back().bucket == piece.bucket &&
                       joined.back().spec->decay == piece.spec->decay &&
                       joined.back().origins.empty() && piece.origins.empty();
    if (!joins) {
      joined.push_back(piece);
      continue;
    }
    Piece& last = joined.back();
    last.length += piece.length;
    for (Tensor Piece::*part :
         {&Piece::gradient, &Piece::value, &Piece::master, &Piece::m, &Piece::v}) {
      const Tensor& first = last.*part;
      last.*part = Tensor(first.raw(), first.dtype(), {last.length}, first.device());
    }
  }
  return joined;
}

void ShardedAdamW::update(const Context& context, const AdamWStep& step) {
  const ProfileRange range("update");
  updates_ = step.step;
  for (const Piece& piece : joined_pieces()) {
    AdamWStep options = step;
    if (!piece.spec->decay) options.weight_decay = 0;
    const bool shared = piece.master.raw() == piece.value.raw();
    adamw_update(context, options, piece.gradient, piece.master, piece.m, piece.v,
                 shared || rounding_seed_ ? Tensor() : piece.value, piece.origins);
  }
  if (rounding_seed_) {
    for (const Piece& piece : pieces_) {
      if (piece.spec->trainable) round_masters(context, piece);
    }
  }
  // Gathered in the order in which the next forward pass reads them.
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (parameters_->buckets()[i].trainable) gather(i);
  }
  parameters_->zero_gradients(context);
}

void ShardedAdamW::skip(const Context& context) {
  for (const Shard& shard : shards_) shard.reduced.wait();
  parameters_->zero_gradients(context);
}

void ShardedAdamW::gather(std::size_t bucket) {
  Shard& shard = shards_[bucket];
  shard.gathered = communicator_->all_gather(shard.value, parameters_->buckets()[bucket].values);
}

void ShardedAdamW::wait(std::size_t bucket) {
  shards_[bucket].gathered.wait();
}

void ShardedAdamW::wait_all() {
  for (const Shard& shard : shards_) shard.gathered.wait();
}

}  // namespace gda
