#include "gda/optim/optimizer_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace gda {
namespace {

void betas_field(FieldVisitor& visit, std::vector<double>& betas) {
  visit.field({.key = "betas",
               .doc = "decay rates of the first and second moments of AdamW",
               .minimum = 0,
               .maximum = 1},
              betas);
}

void betas_rules(FieldVisitor& visit, const std::vector<double>& betas) {
  visit.rule("betas", betas.size() == 2,
             fmt::format("expected two numbers, found {}", betas.size()));
  visit.rule("betas", std::all_of(betas.begin(), betas.end(), [](double beta) { return beta < 1; }),
             "a decay rate must be below 1");
}

void eps_field(FieldVisitor& visit, double& eps) {
  visit.field({.key = "eps",
               .doc = "added to the square root of the second moment of AdamW",
               .minimum = 1e-30},
              eps);
}

}  // namespace

void AdamWGroupConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "lr",
               .doc = "learning rate at the peak of the schedule; null: optimizer.lr",
               .minimum = 0},
              lr);
  betas_field(visit, betas);
  eps_field(visit, eps);
  visit.field({.key = "weight_decay",
               .doc = "decoupled weight decay of the embedding and the output projection, "
                      "multiplied by the learning rate; null: optimizer.weight_decay",
               .minimum = 0},
              weight_decay);
  betas_rules(visit, betas);
}

void QkClipConfig::fields(FieldVisitor& visit) {
  visit.field({.key = "threshold",
               .doc = "a head whose largest logit is above it has its query and key rows scaled "
                      "down, so that the logit would have been this",
               .minimum = 1e-6},
              threshold);
  visit.field({.key = "every_steps",
               .doc = "updates from one look at the logits to the next",
               .minimum = 1},
              every_steps);
}

void OptimizerConfig::fields(FieldVisitor& visit) {
  const OptimizerConfig preset;
  visit.field({.key = "name",
               .doc = "update rule; muon: of the matrices of decoder layers, AdamW of all else"},
              name);
  visit.field({.key = "lr", .doc = "learning rate at the peak of the schedule", .minimum = 0}, lr);
  betas_field(visit, betas);
  eps_field(visit, eps);
  visit.field({.key = "weight_decay",
               .doc = "decoupled weight decay of matrices, multiplied by the learning rate",
               .minimum = 0},
              weight_decay);
  visit.field({.key = "grad_clip",
               .doc = "maximum global norm of the gradient; 0: no clipping",
               .minimum = 0},
              grad_clip);
  visit.field(
      {.key = "momentum", .doc = "muon: decay rate of the momentum", .minimum = 0, .maximum = 1},
      momentum);
  visit.nested({.key = "adamw",
                .doc = "muon: AdamW of the embedding, the output projection and vectors; null: as "
                       "muon's, with the defaults below"},
               adamw);
  visit.nested({.key = "qk_clip", .doc = "limit of attention's logits; null: none"}, qk_clip);
  betas_rules(visit, betas);
  visit.rule("momentum", momentum < 1, "a decay rate must be below 1");
  const bool is_muon = name == OptimizerName::muon;
  constexpr const char* kOnlyMuon = "only optimizer.name muon has it; remove this key";
  visit.rule("momentum", is_muon || momentum == preset.momentum, kOnlyMuon);
  visit.rule("adamw", is_muon || !adamw, kOnlyMuon);
  constexpr const char* kMoved = "with optimizer.name muon it is AdamW's: give optimizer.adamw.{}";
  visit.rule("betas", !is_muon || betas == preset.betas,
             fmt::format(fmt::runtime(kMoved), "betas"));
  visit.rule("eps", !is_muon || eps == preset.eps, fmt::format(fmt::runtime(kMoved), "eps"));
  visit.rule("adamw.lr", lr > 0 || !adamw || !adamw->lr || *adamw->lr == 0,
             "the schedule's rates are shares of optimizer.lr, which is 0; give that one above 0");
}

}  // namespace gda
