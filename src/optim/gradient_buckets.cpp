#include "gda/optim/gradient_buckets.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"

namespace gda {
namespace {

// Of a tied embedding's gradient at a time: 4 MiB of f32, on the way for several times as long as a
// message takes to begin.
constexpr std::int64_t kExchangedElements = std::int64_t{1} << 20;

int size_of_group(const Communicator* group) {
  return group == nullptr ? 1 : group->size();
}

bool is_partial(const ParameterSpec& spec) {
  return spec.completion == Completion::partial_by_token ||
         spec.completion == Completion::partial_by_head;
}

}  // namespace

GradientBuckets::GradientBuckets(const ParameterStore& parameters, Communicator& replicas)
    : parameters_(&parameters), groups_{.replicas = replicas, .world = replicas} {
  make_parts();
}

GradientBuckets::GradientBuckets(const ParameterStore& parameters, const GradientGroups& groups)
    : parameters_(&parameters), groups_(groups) {
  check_placement();
  make_parts();
}

GradientBuckets::~GradientBuckets() {
  if (std::uncaught_exceptions() > exceptions_) return;
  try {
    wait_all();
  } catch (const Error& error) {
    log::warning("values of parameters did not arrive: {}", error.what());
  }
}

void GradientBuckets::check_placement() const {
  const int size = size_of_group(groups_.tensor);
  const int stages = size_of_group(groups_.pipeline);
  for (const Parameter& parameter : parameters_->all()) {
    const ParameterSpec& spec = parameter.spec;
    const bool is_whole = parameter.region == Region::whole(spec.shape);
    require<OpError>(spec.cut == Cut::none || is_whole == (size == 1),
                     "[gradients] {}: {} of {} in a tensor group of {}", spec.name,
                     parameter.region.str(), spec.shape.str(), size);
    if (spec.completion != Completion::tied || stages == 1) continue;
    const int stage = groups_.pipeline->rank();
    require<OpError>(stage == 0 || stage == stages - 1,
                     "[gradients] {} is tied, and held by rank {} of a pipeline group of {}; "
                     "expected the first or the last",
                     spec.name, stage, stages);
  }
}

// A part has memory of its own where the bucket's is others' in turn.
void GradientBuckets::make_parts() {
  const Communicator& replicas = groups_.replicas;
  for (std::size_t i = 0; i < parameters_->buckets().size(); ++i) {
    const Bucket& all = bucket(i);
    const std::int64_t length = all.elements / replicas.size();
    Part& part = parts_.emplace_back();
    part.begin = length * replicas.rank();
    const auto memory = [&](const Tensor& whole, bool is_apart, const char* purpose) {
      if (!whole || !is_apart) return whole ? own(i, whole) : Tensor();
      return memory_.emplace_back(whole.dtype(), Shape{length}, whole.device(), purpose).tensor;
    };
    part.value = memory(all.values, all.shares_values, "parameters");
    part.gradient = memory(all.gradients, has_slots(), "gradients");
    const auto grow = [](auto& slots, std::size_t slot) {
      slots.resize(std::max(slots.size(), slot + 1));
    };
    grow(value_slots_, all.value_slot);
    grow(gradient_slots_, all.gradient_slot);
    if (!all.shares_values) value_slots_[all.value_slot].bucket = i;
  }
}

Tensor GradientBuckets::own(std::size_t bucket, const Tensor& whole) const {
  return whole.rows(parts_[bucket].begin, whole.dim(0) / groups_.replicas.size());
}

const ParameterSpec& GradientBuckets::first_spec(std::size_t index) const {
  return parameters_->all()[bucket(index).parameters.front()].spec;
}

// Parameters of a bucket are alike: all are matrices, which are cut, or all are repeated vectors.
bool GradientBuckets::is_primary(std::size_t index) const {
  return parameters_->all()[bucket(index).parameters.front()].is_primary;
}

GradientBuckets::Held GradientBuckets::held() const {
  Held held;
  std::set<const void*> counted;  // slots serve several buckets
  const auto add = [&](const Tensor& whole, const Tensor& part, std::size_t& bytes) {
    if (!whole) return;
    if (counted.insert(whole.raw()).second) bytes += whole.bytes();
    const auto begin = reinterpret_cast<std::uintptr_t>(whole.raw());
    const auto own = reinterpret_cast<std::uintptr_t>(part.raw());
    if (own < begin || own >= begin + whole.bytes()) bytes += part.bytes();
  };
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    add(bucket(i).values, parts_[i].value, held.values);
    add(bucket(i).gradients, parts_[i].gradient, held.gradients);
  }
  return held;
}

void GradientBuckets::initialize(std::uint64_t seed, const Stream& stream) {
  wait_all();
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    parameters_->initialize_bucket(i, seed, stream);
    if (!bucket(i).shares_values) continue;
    copy(stream, own(i, bucket(i).values), parts_[i].value);
    value_slots_[bucket(i).value_slot].bucket = i;
  }
}

void GradientBuckets::gather(std::size_t index) {
  value_slots_[bucket(index).value_slot].gathered =
      groups_.replicas.all_gather(parts_[index].value, bucket(index).values);
}

void GradientBuckets::fetch(std::size_t index) {
  ValueSlot& slot = value_slots_[bucket(index).value_slot];
  if (slot.bucket == index) return;
  slot.gathered.wait();
  slot.bucket = index;
  gather(index);
}

void GradientBuckets::use(std::size_t index, std::optional<std::size_t> next) {
  fetch(index);
  if (next && bucket(*next).value_slot != bucket(index).value_slot) fetch(*next);
  value_slots_[bucket(index).value_slot].gathered.wait();
}

void GradientBuckets::publish(bool with_frozen) {
  const auto is_new = [&](std::size_t i) { return with_frozen || bucket(i).trainable; };
  for (ValueSlot& slot : value_slots_) {
    if (slot.bucket && bucket(*slot.bucket).shares_values && is_new(*slot.bucket)) {
      slot.gathered.wait();
      slot.bucket.reset();
    }
  }
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (!is_new(i)) continue;
    if (!bucket(i).shares_values) {
      gather(i);
    } else if (!value_slots_[bucket(i).value_slot].bucket) {
      fetch(i);
    }
  }
}

void GradientBuckets::wait_all() {
  for (const ValueSlot& slot : value_slots_) slot.gathered.wait();
}

void GradientBuckets::prepare_gradient(const Context& context, std::size_t index) {
  if (!has_slots()) return;
  GradientSlot& slot = gradient_slots_[bucket(index).gradient_slot];
  const bool is_adding = slot.bucket && !slot.is_reduced;
  if (is_adding && slot.bucket == index) return;
  require<OpError>(!is_adding, "[gradients] {} needs the memory of {}, which was not reduced",
                   first_spec(index).name, is_adding ? first_spec(*slot.bucket).name : "");
  finish(context, slot);
  fill_zero(context, bucket(index).gradients);
  slot.bucket = index;
}

void GradientBuckets::reduce(std::size_t index) {
  GradientSlot& slot = gradient_slots_[bucket(index).gradient_slot];
  require<OpError>(!has_slots() || (slot.bucket == index && !slot.is_reduced),
                   "[gradients] {} is to be reduced, but its memory was not prepared for it",
                   first_spec(index).name);
  require<OpError>(!is_complete_,
                   "[gradients] {} is to be reduced, but this step's gradients are complete: "
                   "update or zero() comes first",
                   first_spec(index).name);
  const Tensor& whole = bucket(index).gradients;
  slot.bucket = index;
  slot.is_reduced = true;
  slot.reduced = groups_.replicas.reduce_scatter(whole, own(index, whole));
}

void GradientBuckets::finish(const Context& context, GradientSlot& slot) {
  if (!slot.bucket) return;
  slot.reduced.wait();
  const std::size_t index = *slot.bucket;
  if (has_slots()) {
    require<OpError>(slot.is_reduced, "[gradients] {} was not reduced", first_spec(index).name);
    add(context, own(index, bucket(index).gradients), parts_[index].gradient);
  }
  slot = {};
}

void GradientBuckets::sum_over_tensor(std::size_t index) {
  if (!parts_[index].gradient) return;
  groups_.tensor->all_reduce(parts_[index].gradient, Reduction::sum).wait();
}

// Both stages add the same two numbers. In pieces: a table of gradients is more than a pass takes.
void GradientBuckets::add_other_stage(const Context& context, std::size_t index) {
  const ArenaScope scope(context.arena);
  Communicator& pipeline = *groups_.pipeline;
  const Tensor& gradient = parts_[index].gradient;
  if (!gradient) return;
  const std::int64_t elements = gradient.elements();
  const std::int64_t piece = std::min(elements, kExchangedElements);
  const Tensor memory = context.arena.allocate(gradient.dtype(), {piece});
  const int peer = pipeline.rank() == 0 ? pipeline.size() - 1 : 0;
  for (std::int64_t begin = 0; begin < elements; begin += piece) {
    const std::int64_t count = std::min(piece, elements - begin);
    const Tensor own = gradient.rows(begin, count);
    const Tensor other = memory.rows(0, count);
    pipeline.send_receive(own, peer, other, peer).wait();
    add(context, other, own);
  }
}

// Tensor groups lie within a stage: all of them come before what stages exchange.
void GradientBuckets::complete(const Context& context) {
  for (GradientSlot& slot : gradient_slots_) finish(context, slot);
  if (std::exchange(is_complete_, true)) return;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (is_partial(first_spec(i)) && size_of_group(groups_.tensor) > 1) sum_over_tensor(i);
  }
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const bool is_tied = first_spec(i).completion == Completion::tied;
    if (is_tied && size_of_group(groups_.pipeline) > 1) add_other_stage(context, i);
  }
}

double GradientBuckets::gradient_norm(const Context& context) {
  const ProfileRange range("gradient norm");
  complete(context);
  const ArenaScope scope(context.arena);
  const auto count = static_cast<std::int64_t>(parts_.size());
  const Tensor squares = context.arena.allocate(DType::f64, {count});
  fill_zero(context, squares);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const Tensor& gradient = parts_[index].gradient;
    if (gradient && is_primary(index)) sum_of_squares(context, gradient, squares.rows(i, 1));
  }
  const HostCopy host(context.stream, squares);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += host[i];
  return std::sqrt(groups_.world.all_reduce(sum, Reduction::sum));
}

void GradientBuckets::zero(const Context& context) {
  for (GradientSlot& slot : gradient_slots_) {
    slot.reduced.wait();
    slot = {};
  }
  is_complete_ = false;
  if (!has_slots()) return parameters_->zero_gradients(context);
  for (const Part& part : parts_) {
    if (part.gradient) fill_zero(context, part.gradient);
  }
}

}  // namespace gda
