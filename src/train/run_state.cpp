#include "gda/train/run_state.h"

#include <nlohmann/json.hpp>

#include "gda/core/error.h"

namespace gda {

std::string RunState::json() const {
  nlohmann::ordered_json json = {
      {"step", step},
      {"samples", samples},
      {"tokens", tokens},
      {"updates", updates},
      {"growths", stages_done},
      {"flops", flops},
      {"skipped", guard.skipped},
      {"consecutive_skips", guard.consecutive},
      {"recent_losses", guard.losses},
      {"recent_gradient_norms", guard.gradient_norms},
  };
  if (data) json["data"] = nlohmann::ordered_json::parse(data->json());
  return json.dump(2) + "\n";
}

RunState parse_run_state(std::string_view text, std::string_view origin) {
  RunState state;
  try {
    const auto json = nlohmann::json::parse(text);
    json.at("step").get_to(state.step);
    json.at("samples").get_to(state.samples);
    json.at("tokens").get_to(state.tokens);
    json.at("updates").get_to(state.updates);
    state.stages_done = json.value("growths", std::int64_t{0});
    if (json.contains("data")) state.data = parse_data_record(json["data"].dump(), origin);
    json.at("flops").get_to(state.flops);
    json.at("skipped").get_to(state.guard.skipped);
    json.at("consecutive_skips").get_to(state.guard.consecutive);
    json.at("recent_losses").get_to(state.guard.losses);
    json.at("recent_gradient_norms").get_to(state.guard.gradient_norms);
  } catch (const nlohmann::json::exception& reason) {
    fail<FormatError>("{}: not the state of a run: {}", origin, reason.what());
  }
  return state;
}

}  // namespace gda
