#include "gda/train/growth_config.h"

#include <fmt/format.h>

namespace gda {

void StageWeight::fields(FieldVisitor& visit) {
  visit.field({.key = "name", .doc = "name of a data source", .required = true}, name);
  visit.field({.key = "weight",
               .doc = "its share of the tokens, relative to the other sources",
               .minimum = 0,
               .required = true},
              weight);
}

void GrowthStageConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "step", .doc = "steps that are done when the model grows", .minimum = 1},
              step);
  visit.field({.key = "tokens",
               .doc = "instead of step: the model grows before the first step that begins with so "
                      "many tokens trained on",
               .minimum = 1},
              tokens);
  visit.nested({.key = "plan", .doc = "how it grows"}, plan);
  visit.field({.key = "plan_file",
               .doc = "instead of plan: a file of `gda grow plan`; its plan is stored with the run",
               .is_path = true},
              plan_file);
  visit.field({.key = "seed", .doc = "of noise and of new weights", .minimum = 0}, seed);
  visit.field({.key = "learning_rate",
               .doc = "keep: the schedule continues; rewind: it begins again at its peak, and ends "
                      "with the run",
               .one_of = {"keep", "rewind"}},
              learning_rate);
  visit.field({.key = "rewarm_steps",
               .doc = "steps in which the learning rate rises again from 0 to what it would be",
               .minimum = 0},
              rewarm_steps);
  visit.field({.key = "global_batch_size",
               .doc = "sequences a step from here on; null: as before",
               .minimum = 1},
              global_batch_size);
  visit.list_of({.key = "weights", .doc = "of the data sources from here on; empty: as before"},
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
  visit.list_of({.key = "stages", .doc = "in the order of their steps; empty: the model stays"},
                stages);
}

}  // namespace gda
