#include "gda/train/growth_config.h"

#include <fmt/format.h>

namespace gda {

void StageWeight::fields(FieldVisitor& visit) {
  visit.field({.key = "name", .doc = "name of a data source", .required = true}, name);
  visit.field({.key = "weight",
               .doc = "share of the tokens, relative to the other sources",
               .minimum = 0,
               .required = true},
              weight);
}

void GrowthStageConfig::fields(FieldVisitor& visit) {
  visit.field(
      {.key = "step", .doc = "number of completed steps at which the model grows", .minimum = 1},
      step);
  visit.field({.key = "tokens",
               .doc = "instead of step: number of trained tokens; the model grows before the first "
                      "step that begins with so many",
               .minimum = 1},
              tokens);
  visit.nested({.key = "plan", .doc = "what grows, and how"}, plan);
  visit.field(
      {.key = "plan_file",
       .doc =
           "instead of plan: a plan file, as for `gda grow plan`; the plan is stored with the run",
       .is_path = true},
      plan_file);
  visit.field({.key = "seed", .doc = "seed of noise and of new weights", .minimum = 0}, seed);
  visit.field({.key = "learning_rate",
               .doc = "keep: the schedule continues; rewind: it begins again at its peak, and ends "
                      "with the run"},
              learning_rate);
  visit.field({.key = "rewarm_steps",
               .doc = "steps over which the learning rate rises from 0 to its scheduled value",
               .minimum = 0},
              rewarm_steps);
  visit.field({.key = "global_batch_size",
               .doc = "sequences per step from here on; null: unchanged",
               .minimum = 1},
              global_batch_size);
  visit.list_of(
      {.key = "weights", .doc = "weights of the data sources from here on; empty: unchanged"},
      weights);
  visit.field({.key = "trainable",
               .doc = "which parameters are trained from here on: keep, as before; all; new, what "
                      "this growth adds as complete layers; or a list of names and patterns",
               .one_of = {"keep", "all", "new"}},
              trainable);

  visit.rule("step", step.has_value() != tokens.has_value(),
             step ? "give step or tokens, not both" : "missing; give step or tokens");
  visit.rule("plan", plan.has_value() == plan_file.empty(),
             plan ? "give plan or plan_file, not both"
                  : "missing; give plan: {steps: [...]}, or plan_file");
}

void GrowthConfig::fields(FieldVisitor& visit) {
  visit.list_of(
      {.key = "stages",
       .doc = "growth stages, in the order of their steps; empty: the model does not grow"},
      stages);
}

}  // namespace gda
