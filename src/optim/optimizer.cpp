#include "gda/optim/optimizer.h"

#include <algorithm>
#include <utility>

#include "gda/core/error.h"
#include "gda/core/stream.h"
#include "gda/ops/elementwise.h"
#include "gda/optim/adamw.h"
#include "gda/optim/muon.h"

namespace gda {

namespace {

AdamWOptions adamw_options(const OptimizerConfig& config) {
  if (config.name == OptimizerName::adamw) {
    return {.beta1 = config.betas[0],
            .beta2 = config.betas[1],
            .eps = config.eps,
            .weight_decay = config.weight_decay};
  }
  const AdamWGroupConfig group = config.adamw.value_or(AdamWGroupConfig{});
  return {.beta1 = group.betas[0],
          .beta2 = group.betas[1],
          .eps = group.eps,
          .weight_decay = group.weight_decay.value_or(config.weight_decay),
          .lr_scale = group.lr && config.lr > 0 ? *group.lr / config.lr : 1};
}

}  // namespace

UpdateRules make_update_rules(const OptimizerConfig& config, const GradientBuckets& buckets) {
  UpdateRules rules;
  if (config.name == OptimizerName::muon) {
    rules.push_back(std::make_unique<Muon>(
        buckets, MuonOptions{.momentum = config.momentum, .weight_decay = config.weight_decay}));
  }
  rules.push_back(std::make_unique<AdamW>(adamw_options(config)));
  return rules;
}

Optimizer::Optimizer(GradientBuckets& buckets, UpdateRules rules)
    : buckets_(&buckets), rules_(std::move(rules)) {
  const std::vector<Bucket>& all = buckets.parameters().buckets();
  for (std::size_t i = 0; i < all.size(); ++i) {
    allocate_shard(all[i], buckets.part(i));
    add_pieces(i);
  }
}

const UpdateRule* Optimizer::rule_of(const ParameterSpec& spec) const {
  if (!spec.trainable) return nullptr;
  for (const auto& rule : rules_) {
    if (rule->takes(spec)) return rule.get();
  }
  fail<OpError>("[optimizer] no rule updates {}", spec.name);
}

std::vector<std::string> Optimizer::states(const ParameterSpec& spec) const {
  const UpdateRule* rule = rule_of(spec);
  return rule == nullptr ? std::vector<std::string>{} : rule->states();
}

// A bucket has the states that any of its parameters needs.
void Optimizer::allocate_shard(const Bucket& bucket, const GradientBuckets::Part& part) {
  const ParameterStore& parameters = buckets_->parameters();
  const DType type = accumulate_type(parameters.compute_type());
  const auto allocate = [&] {
    memory_.emplace_back(static_cast<std::size_t>(part.value.dim(0)) * size_of(type),
                         bucket.values.device(), "optimizer state");
    return memory_.back().tensor(type, part.value.shape());
  };
  Shard& shard = shards_.emplace_back();
  shard.master = bucket.dtype == type ? part.value : allocate();
  for (const auto& rule : rules_) {
    const auto is_its = [&](std::size_t index) {
      return rule_of(parameters.all()[index].spec) == rule.get();
    };
    if (std::none_of(bucket.parameters.begin(), bucket.parameters.end(), is_its)) continue;
    for (const std::string& name : rule->states()) {
      const auto is_there = [&](const OptimizerState& state) { return state.name == name; };
      if (std::any_of(shard.states.begin(), shard.states.end(), is_there)) continue;
      shard.states.push_back({.name = name, .tensor = allocate()});
    }
  }
}

void Optimizer::add_pieces(std::size_t bucket_index) {
  const ParameterStore& parameters = buckets_->parameters();
  const Bucket& bucket = parameters.buckets()[bucket_index];
  const GradientBuckets::Part& own = buckets_->part(bucket_index);
  const Shard& shard = shards_[bucket_index];
  const std::int64_t end = own.begin + own.value.dim(0);
  for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
    const Parameter& parameter = parameters.all()[bucket.parameters[i]];
    const std::int64_t first = std::max(own.begin, bucket.offsets[i]);
    const std::int64_t last = std::min(end, bucket.offsets[i] + parameter.region.elements());
    if (first >= last) continue;
    const auto cut = [&](const Tensor& flat) {
      return flat ? flat.rows(first - own.begin, last - first) : Tensor();
    };
    OptimizerPiece& piece = pieces_.emplace_back();
    piece.parameter = &parameter;
    piece.offset = first - bucket.offsets[i];
    piece.length = last - first;
    piece.gradient = cut(own.gradient);
    piece.value = cut(own.value);
    piece.master = cut(shard.master);
    const std::vector<std::string> names = states(parameter.spec);
    for (const OptimizerState& state : shard.states) {
      if (std::find(names.begin(), names.end(), state.name) == names.end()) continue;
      piece.states.push_back({.name = state.name, .tensor = cut(state.tensor)});
    }
  }
}

std::size_t Optimizer::bytes() const {
  std::size_t total = 0;
  for (const Buffer& buffer : memory_) total += buffer.bytes();
  return total;
}

Tensor Optimizer::expand(const Context& context, const std::vector<AxisRun>& runs,
                         const IndexRange& range) {
  if (runs.empty()) return {};
  const Tensor tensor =
      origins_.emplace_back(DType::i32, Shape{range.size()}, context.device()).tensor;
  fill_from_host(context.stream, tensor, [&](const Tensor& host) {
    auto* next = host.data<std::int32_t>();
    std::int64_t begin = 0;
    for (const AxisRun& run : runs) {
      const IndexRange here = intersection({begin, begin + run.length}, range);
      next = std::fill_n(next, here.size(), static_cast<std::int32_t>(run.value));
      begin += run.length;
    }
  });
  return tensor;
}

void Optimizer::set_origins(const Context& context, const std::vector<UpdateOrigin>& origins) {
  origins_.clear();
  for (OptimizerPiece& piece : pieces_) piece.origins = {};
  for (const UpdateOrigin& origin : origins) {
    const Parameter* parameter = buckets_->parameters().find(origin.name);
    if (parameter == nullptr) continue;
    const Region& region = parameter->region;
    const Tensor rows = expand(context, origin.rows, region.rows);
    const Tensor columns = expand(context, origin.columns, region.columns);
    for (OptimizerPiece& piece : pieces_) {
      if (piece.parameter != parameter) continue;
      // A vector is one row, along which its coordinates are columns.
      const bool is_matrix = parameter->spec.is_matrix();
      piece.origins = {.rows = is_matrix ? rows : Tensor(),
                       .columns = is_matrix ? columns : rows,
                       .row_length = is_matrix ? region.columns.size() : region.rows.size(),
                       .offset = piece.offset};
    }
  }
}

void Optimizer::copy_masters_from_values(const Context& context) {
  for (const OptimizerPiece& piece : pieces_) {
    if (piece.has_own_master()) convert(context, piece.value, piece.master);
  }
}

void Optimizer::round_stochastically(std::uint64_t seed, std::int64_t updates) {
  rounding_seed_ = seed;
  updates_ = updates;
}

void Optimizer::round_masters(const Context& context, const OptimizerPiece& piece) const {
  if (!piece.has_own_master()) return;
  const ParameterSpec& spec = piece.spec();
  if (!rounding_seed_ || !spec.trainable || piece.value.dtype() != DType::bf16) {
    return convert(context, piece.master, piece.value);
  }
  const Philox random(*rounding_seed_, RandomPurpose::rounding, spec.name);
  for (const Stretch& part :
       stretches(piece.parameter->region, spec.shape, piece.offset, piece.length)) {
    const std::int64_t begin = part.local - piece.offset;
    stochastic_round(context, piece.master.rows(begin, part.length),
                     piece.value.rows(begin, part.length), random,
                     static_cast<std::uint64_t>(updates_), part.global);
  }
}

void Optimizer::publish_masters(const Context& context) {
  for (const OptimizerPiece& piece : pieces_) round_masters(context, piece);
  buckets_->publish(true);
}

std::vector<OptimizerPiece> Optimizer::pieces_of(const UpdateRule& rule) const {
  std::vector<OptimizerPiece> result;
  for (const OptimizerPiece& piece : pieces_) {
    if (rule_of(piece.spec()) == &rule) result.push_back(piece);
  }
  return result;
}

void Optimizer::scale(const Context& context, const HeadFactors& clip, bool writes_values) {
  for (const OptimizerPiece& piece : pieces_) {
    if (piece.parameter != clip.parameter) continue;
    const bool copies = writes_values && piece.has_own_master();
    scale_heads(context, clip.factors, clip.head_dim, piece.parameter->region, piece.offset,
                piece.master, copies ? piece.value : Tensor());
  }
}

void Optimizer::update(const Context& context, const UpdateStep& step,
                       const std::vector<HeadFactors>& clips) {
  const ProfileRange range("update");
  buckets_->complete(context);
  buckets_->wait_all();
  updates_ = step.update;
  UpdateStep options = step;
  options.writes_values = !rounding_seed_;
  for (const auto& rule : rules_) rule->update(context, pieces_of(*rule), options);
  for (const HeadFactors& clip : clips) scale(context, clip, options.writes_values);
  if (rounding_seed_) {
    for (const OptimizerPiece& piece : pieces_) {
      if (piece.spec().trainable) round_masters(context, piece);
    }
  }
  buckets_->publish(false);
  buckets_->zero(context);
}

}  // namespace gda
