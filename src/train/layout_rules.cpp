#include "train/layout_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "gda/core/error.h"
#include "gda/core/text.h"
#include "gda/model/context_cut.h"
#include "gda/model/layer_part.h"
#include "gda/train/rank_layout.h"
#include "train/run_timeline.h"

namespace gda {
namespace {

// "96 or 108": the multiples of `unit` on both sides of a number that is none.
std::string nearest_multiples(std::int64_t number, std::int64_t unit) {
  const std::int64_t below = number / unit * unit;
  return below == 0 ? fmt::format("{}", unit) : fmt::format("{} or {}", below, below + unit);
}

// "2 or 4": the divisors of `number` on both sides of a number that is none.
std::string nearest_divisors(std::int64_t number, std::int64_t wanted) {
  std::int64_t below = std::min(wanted, number);
  while (number % below != 0) --below;
  std::int64_t above = wanted;
  while (above < number && number % above != 0) ++above;
  return above > number ? fmt::format("{}", below) : fmt::format("{} or {}", below, above);
}

// Of a model, which `where` names if growth makes it.
class ModelRules {
 public:
  ModelRules(const RunConfig& config, FieldVisitor& visit, const ModelConfig& model,
             std::string where)
      : config_(config), visit_(visit), model_(model), where_(std::move(where)) {}

  void check() const {
    const ParallelConfig& parallel = config_.parallel;
    check_call("parallel.tensor", [&] {
      layer_part(model_, {.stage = whole_model(model_), .tensor_size = parallel.tensor});
    });
    check_call(parallel.stage_layers.empty() ? "parallel.pipeline" : "parallel.stage_layers",
               [&] { pipeline_stages(model_, parallel); });
    if (check_context()) check_length();
  }

 private:
  void rule(std::string_view key, bool holds, const std::string& message) const {
    visit_.rule(key, holds, where_ + message);
  }

  template <class Call>
  void check_call(std::string_view key, const Call& call) const {
    try {
      call();
    } catch (const ConfigError& error) {
      rule(key, false, error.what());
    }
  }

  // Whether context ranks can share the heads where they are told to.
  bool check_context() const {
    const ParallelConfig& parallel = config_.parallel;
    const std::int64_t groups = model_.attention.kv_groups();
    const bool fits = parallel.context == 1 || parallel.context_method != ContextMethod::ulysses ||
                      groups % (parallel.tensor * parallel.context) == 0;
    if (fits || groups % parallel.tensor != 0) return fits;
    rule("parallel.context", false,
         fmt::format("{} do not divide over {} times {}, as ulysses needs; the nearest that suit: "
                     "{}; or give parallel.context_method: gather",
                     counted(groups, "K/V group"), counted(parallel.context, "context rank"),
                     counted(parallel.tensor, "tensor-parallel rank"),
                     nearest_divisors(groups / parallel.tensor, parallel.context)));
    return false;
  }

  void check_length() const {
    const ParallelConfig& parallel = config_.parallel;
    const auto context = static_cast<int>(parallel.context);
    const ContextCut cut =
        context_cut(model_, parallel.context_method, 0, context, static_cast<int>(parallel.tensor));
    const std::int64_t unit = cut.divisor() * parallel.tensor;
    const std::int64_t length = config_.data.sequence_length;
    if (length < 1) return;
    rule("data.sequence_length", length % unit == 0,
         fmt::format("{} tokens cannot be cut over {} times {}{}: a multiple of {} is needed, such "
                     "as {}",
                     length, counted(context, "context rank"),
                     counted(parallel.tensor, "tensor-parallel rank"),
                     cut.divisor() > context ? ", in two pieces each (gather)" : "", unit,
                     nearest_multiples(length, unit)));
  }

  const RunConfig& config_;
  FieldVisitor& visit_;
  const ModelConfig& model_;
  std::string where_;
};

// Whether a model by itself is one; if not, that is told of elsewhere.
bool is_valid(const ModelConfig& model) {
  try {
    model.validate();
    return true;
  } catch (const ConfigError&) {
    return false;
  }
}

void graph_rule(const RunConfig& config, FieldVisitor& visit) {
  const ParallelConfig& parallel = config.parallel;
  const auto refuse = [&](std::string_view key, std::int64_t value, std::string_view why) {
    visit.rule("train.cuda_graphs", !config.train.cuda_graphs || value == 1,
               fmt::format("parallel.{} is {}: {}, and a graph holds computation alone; give false",
                           key, value, why));
  };
  constexpr std::string_view kExchange = "ranks exchange data within every micro-batch";
  refuse("tensor", parallel.tensor, kExchange);
  refuse("context", parallel.context, kExchange);
  refuse("pipeline", parallel.pipeline, "micro-batches alternate forward and backward");
  refuse("zero_stage", parallel.zero_stage, kExchange);
}

}  // namespace

void layout_rules(const RunConfig& config, FieldVisitor& visit) {
  const ParallelConfig& parallel = config.parallel;
  graph_rule(config, visit);
  if (std::min({parallel.tensor, parallel.pipeline, parallel.context, parallel.virtual_stages}) <
          1 ||
      !is_valid(config.model)) {
    return;
  }
  ModelRules(config, visit, config.model, "").check();
  if (config.growth.stages.empty()) return;
  try {
    const RunTimeline timeline(config);
    for (std::int64_t i = 1; i <= timeline.stages(); ++i) {
      ModelRules(config, visit, timeline.model(i), fmt::format("after growth stage {}: ", i))
          .check();
    }
  } catch (const ConfigError&) {
    return;  // told by the rules of the stages
  }
}

void world_rules(const RunConfig& config, FieldVisitor& visit, std::int64_t ranks) {
  const ParallelConfig& parallel = config.parallel;
  const std::int64_t model_ranks = parallel.model_ranks();
  if (model_ranks < 1 || config.train.micro_batch_size < 1) return;  // told of by themselves
  if (ranks == 0) ranks = model_ranks;
  visit.rule(
      "parallel", ranks % model_ranks == 0,
      fmt::format("{} cannot be cut into models of {}, tensor {} times pipeline {} times "
                  "context {}; the nearest numbers of processes: {}",
                  counted(ranks, "process"), counted(model_ranks, "rank"), parallel.tensor,
                  parallel.pipeline, parallel.context, nearest_multiples(ranks, model_ranks)));
  if (ranks % model_ranks != 0) return;

  const TrainConfig& train = config.train;
  const std::int64_t replicas = ranks / model_ranks;
  const bool in_rounds = parallel.schedule == PipelineSchedule::interleaved;
  const std::int64_t unit = train.micro_batch_size * replicas * (in_rounds ? parallel.pipeline : 1);
  const auto check = [&](std::string_view key, std::int64_t size) {
    visit.rule(
        key, size % unit == 0,
        fmt::format(
            "{} cannot be split over {} in micro-batches of {}{}: a multiple of {} is "
            "needed, such as {}",
            counted(size, "sequence"), counted(replicas, "data-parallel rank"),
            train.micro_batch_size,
            in_rounds ? fmt::format(" in rounds of {} (parallel.pipeline)", parallel.pipeline) : "",
            unit, nearest_multiples(size, unit)));
  };
  check("train.global_batch_size", train.global_batch_size);
  for (const BatchRampPoint& point : train.batch_ramp) {
    if (point.value != train.global_batch_size) check("train.batch_ramp", point.value);
  }
  for (const GrowthStageConfig& stage : config.growth.stages) {
    if (stage.global_batch_size) check("growth.stages", *stage.global_batch_size);
  }
}

}  // namespace gda
