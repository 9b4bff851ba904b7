#include "report/metrics_fields.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

namespace gda {
namespace {

using Json = nlohmann::ordered_json;

Json by_name(const std::vector<std::pair<std::string, double>>& values) {
  Json object = Json::object();
  for (const auto& [name, value] : values) object[name] = value;
  return object;
}

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json if_known(double rate) {
  return rate > 0 ? Json(rate) : Json();
}

Json by_phase(const PhaseSeconds& seconds) {
  Json object = Json::object();
  for (std::size_t i = 0; i < kPhases; ++i) {
    object[std::string(name_of(static_cast<Phase>(i)))] = seconds[i];
  }
  return object;
}

constexpr MetricField<LineStamp> kStampFields[] = {
    {"step", "steps", "steps done", [](const LineStamp& r) { return Json(r.step); }},
    {"time", "UTC", "when the line was written, ISO 8601 with milliseconds",
     [](const LineStamp& r) { return Json(r.time); }},
    {"elapsed_seconds", "s", "since this process began or resumed the run",
     [](const LineStamp& r) { return Json(r.elapsed_seconds); }},
};

constexpr MetricField<StepReport> kStepFields[] = {
    {"tokens", "tokens", "trained on since step 0, by all ranks",
     [](const StepReport& r) { return Json(r.tokens); }, "train/tokens"},
    {"loss", "nats a token", "mean over the targets of the step, before its update",
     [](const StepReport& r) { return Json(r.loss); }, "train/loss"},
    {"lr", "", "learning rate of the step", [](const StepReport& r) { return Json(r.lr); },
     "train/lr"},
    {"grad_norm", "", "norm of the gradient, before clipping",
     [](const StepReport& r) { return Json(r.grad_norm); }, "train/grad_norm"},
    {"targets", "tokens", "that the loss of the step is the mean over",
     [](const StepReport& r) { return Json(r.targets); }, "train/targets"},
    {"tokens_per_second", "tokens/s", "of all ranks, since the last line of a step",
     [](const StepReport& r) { return Json(r.tokens_per_second); }, "throughput/tokens_per_second"},
    {"flops_full", "FLOP/s",
     "of all ranks; the model's operations, attention over all positions counted",
     [](const StepReport& r) { return Json(r.flops_full); }, "throughput/flops_full"},
    {"flops_causal", "FLOP/s", "the same with half of the attention, which is what is computed",
     [](const StepReport& r) { return Json(r.flops_causal); }, "throughput/flops_causal"},
    {"mfu_full", "share", "flops_full / peak_flops; null if above 1 or the peak is not known",
     [](const StepReport& r) { return or_null(r.mfu_full()); }, "throughput/mfu_full"},
    {"mfu_causal", "share", "flops_causal / peak_flops; null if above 1 or the peak is not known",
     [](const StepReport& r) { return or_null(r.mfu_causal()); }, "throughput/mfu_causal"},
    {"peak_flops", "FLOP/s", "what the devices of all ranks can do at most",
     [](const StepReport& r) { return if_known(r.peak.flops); }},
    {"peak_origin", "", "where peak_flops is from: data sheet, measured, logging.peak_tflops",
     [](const StepReport& r) { return Json(r.peak.origin()); }},
    {"measured_flops", "FLOP/s",
     "rate of matrix products of all ranks, or of a step that was faster; null if not measured",
     [](const StepReport& r) { return if_known(r.peak.measured); }},
    {"share_of_measured", "share", "flops_causal / measured_flops",
     [](const StepReport& r) { return or_null(r.share_of_measured()); },
     "throughput/share_of_measured"},
    {"eta_seconds", "s", "until the last step, at the pace since the last line of a step",
     [](const StepReport& r) { return Json(r.eta_seconds); }},
    {"skipped", "updates", "skipped since step 0",
     [](const StepReport& r) { return Json(r.skipped); }, "train/skipped"},
    {"flops", "FLOPs", "the model's since step 0, counted as flops_full",
     [](const StepReport& r) { return Json(r.total_flops); }, "train/flops"},
    {"parameters", "", "of the model", [](const StepReport& r) { return Json(r.parameters); },
     "model/parameters"},
    {"trainable_parameters", "", "of those, the ones that are trained",
     [](const StepReport& r) { return Json(r.trainable_parameters); },
     "model/trainable_parameters"},
    {"stage", "stages", "growth stages done", [](const StepReport& r) { return Json(r.stage); },
     "growth/stage"},
    {"mask", "", "growth's mask in the step, from 0 to 1; null while none rises",
     [](const StepReport& r) { return or_null(r.mask); }, "growth/mask"},
    {"resident_bytes", "bytes", "memory of rank 0's process on its host",
     [](const StepReport& r) { return Json(r.resident_bytes); }, "memory/resident_bytes"},
    {"peak_resident_bytes", "bytes", "the most that the process of any rank has had",
     [](const StepReport& r) { return Json(r.peak_resident_bytes); }, "memory/peak_resident_bytes"},
    {"loss_by_source", "nats a token", "by data source, of those with targets in the step",
     [](const StepReport& r) { return by_name(r.source_losses); }, "loss_by_source"},
    {"share_by_source", "share",
     "of the samples that are drawn now, by data source: its weight over the sum of the weights",
     [](const StepReport& r) { return by_name(r.source_shares); }, "share_by_source"},
    {"passes_by_source", "passes", "how often each data source has been gone through",
     [](const StepReport& r) { return by_name(r.source_passes); }, "passes_by_source"},
    {"lambda", "", "differential attention's λ, by layer; empty without",
     [](const StepReport& r) { return Json(r.lambdas); }, "lambda/layer"},
    {"max_logit", "",
     "largest logit of attention that optimizer.qk_clip saw since the last line of a step, by "
     "layer; empty if it did not look",
     [](const StepReport& r) { return Json(r.max_logits); }, "max_logit/layer"},
    {"clipped_heads", "heads", "query heads of all layers that it scaled down since then",
     [](const StepReport& r) { return Json(r.clipped_heads); }, "optimizer/clipped_heads"},
    {"seconds", "s", "since the last line of a step, by phase; they add up to all that passed",
     [](const StepReport& r) { return by_phase(r.seconds); }, "seconds"},
    {"sent_bytes", "bytes",
     "by rank 0 since then, as a ring would: to the ranks of its pipeline, those that share its "
     "tokens (context) or matrices (tensor), and those with the same parameters (replicas); empty "
     "for one rank",
     [](const StepReport& r) { return by_name(r.sent_bytes); }, "sent_bytes"},
    {"waited_seconds", "s",
     "of rank 0's host since then for what those send, whichever phase it is counted to; 0 on a "
     "GPU, where the host does not wait",
     [](const StepReport& r) { return by_name(r.waited_seconds); }, "waited_seconds"},
};

constexpr MetricField<EvalReport> kEvalFields[] = {
    {"name", "", "of the data source whose validation documents these are",
     [](const EvalReport& r) { return Json(r.name); }},
    {"loss", "nats a token", "mean; null if there was nothing to predict",
     [](const EvalReport& r) { return Json(r.loss); }, "loss"},
    {"perplexity", "", "e^loss", [](const EvalReport& r) { return Json(r.perplexity()); },
     "perplexity"},
    {"tokens", "tokens", "predicted", [](const EvalReport& r) { return Json(r.tokens); }},
};

constexpr MetricField<EvalMeanReport> kEvalMeanFields[] = {
    {"loss", "nats a token", "mean over the tokens of all sets",
     [](const EvalMeanReport& r) { return Json(r.loss()); }, "loss"},
    {"perplexity", "", "e^loss", [](const EvalMeanReport& r) { return Json(r.perplexity()); },
     "perplexity"},
    {"tokens", "tokens", "predicted", [](const EvalMeanReport& r) { return Json(r.tokens); }},
    {"sets", "sets", "that were evaluated", [](const EvalMeanReport& r) { return Json(r.sets); }},
};

constexpr MetricField<GrowthReport> kGrowthFields[] = {
    {"stage", "", "number of the stage, from 1",
     [](const GrowthReport& r) { return Json(r.stage); }},
    {"parameters_before", "", "of the model that grew",
     [](const GrowthReport& r) { return Json(r.parameters_before); }},
    {"parameters", "", "of the grown model",
     [](const GrowthReport& r) { return Json(r.parameters); }},
    {"loss_before", "nats a token", "of the model that grew, on the next samples",
     [](const GrowthReport& r) { return Json(r.loss_before); }, "loss_before"},
    {"loss", "nats a token", "of the grown model, on the same samples",
     [](const GrowthReport& r) { return Json(r.loss); }, "loss_after"},
    {"preserving", "", "whether this growth keeps what the model computes",
     [](const GrowthReport& r) { return Json(r.preserving); }},
};

}  // namespace

template <>
std::span<const MetricField<LineStamp>> metric_fields() {
  return kStampFields;
}
template <>
std::span<const MetricField<StepReport>> metric_fields() {
  return kStepFields;
}
template <>
std::span<const MetricField<EvalReport>> metric_fields() {
  return kEvalFields;
}
template <>
std::span<const MetricField<EvalMeanReport>> metric_fields() {
  return kEvalMeanFields;
}
template <>
std::span<const MetricField<GrowthReport>> metric_fields() {
  return kGrowthFields;
}

void add_value(std::string tag, const Json& value, EventFile& events) {
  if (value.is_number()) {
    events.add(std::move(tag), value.get<double>());
  } else if (value.is_object()) {
    for (const auto& [name, entry] : value.items()) {
      add_value(fmt::format("{}/{}", tag, name), entry, events);
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      add_value(fmt::format("{}_{:02}", tag, i), value[i], events);
    }
  }
}

}  // namespace gda
