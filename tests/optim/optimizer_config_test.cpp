#include "gda/optim/optimizer_config.h"

#include <gtest/gtest.h>

#include "gda/core/error.h"

namespace gda {
namespace {

std::string error_of(const std::string& text) {
  OptimizerConfig config;
  try {
    read_yaml(text, "x.yaml", {}, [&](FieldVisitor& visit) { config.fields(visit); });
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(OptimizerConfig, AcceptsAdamW) {
  EXPECT_EQ(error_of("{name: adamw, lr: 4.0e-4, betas: [0.9, 0.95], eps: 1.0e-8, "
                     "weight_decay: 0.1, grad_clip: 0}"),
            "(no error)");
}

TEST(OptimizerConfig, AcceptsMuon) {
  EXPECT_EQ(error_of("{name: muon, lr: 4.0e-4, momentum: 0.9, weight_decay: 0.1, adamw: {lr: 0, "
                     "betas: [0.9, 0.95], eps: 1.0e-6, weight_decay: 0}}"),
            "(no error)");
  EXPECT_EQ(error_of("{name: muon, adamw: null}"), "(no error)");
}

// Nothing is read and ignored.
TEST(OptimizerConfig, RejectsWhatBelongsToAnotherRule) {
  constexpr const char* kOnlyMuon = "only optimizer.name muon has it; remove this key";
  EXPECT_EQ(error_of("momentum: 0.9"), std::string("x.yaml:1: momentum: ") + kOnlyMuon);
  EXPECT_EQ(error_of("adamw: {eps: 1.0e-6}"), std::string("x.yaml:1: adamw: ") + kOnlyMuon);
  EXPECT_EQ(error_of("{name: muon, betas: [0.9, 0.999]}"),
            "x.yaml:1: betas: with optimizer.name muon it is AdamW's: give optimizer.adamw.betas");
  EXPECT_EQ(error_of("{name: muon, eps: 1.0e-6}"),
            "x.yaml:1: eps: with optimizer.name muon it is AdamW's: give optimizer.adamw.eps");
}

TEST(OptimizerConfig, RejectsWhatCannotWork) {
  EXPECT_EQ(error_of("name: sgd"), "x.yaml:1: name: must be one of adamw, muon, got \"sgd\"");
  EXPECT_EQ(error_of("betas: [0.9]"), "x.yaml:1: betas: expected two numbers, found 1");
  EXPECT_EQ(error_of("betas: [0.9, 1]"), "x.yaml:1: betas: a decay rate must be below 1");
  EXPECT_EQ(error_of("eps: 0"), "x.yaml:1: eps: must be at least 1e-30, got 0");
  EXPECT_EQ(error_of("{name: muon, momentum: 1}"),
            "x.yaml:1: momentum: a decay rate must be below 1");
  EXPECT_EQ(error_of("{name: muon, adamw: {betas: [0.9]}}"),
            "x.yaml:1: adamw.betas: expected two numbers, found 1");
  EXPECT_EQ(error_of("{name: muon, lr: 0, adamw: {lr: 1.0e-4}}"),
            "x.yaml:1: adamw.lr: the schedule's rates are shares of optimizer.lr, which is 0; give "
            "that one above 0");
  EXPECT_EQ(error_of("grad_clip: -1"), "x.yaml:1: grad_clip: must be at least 0, got -1");
}

}  // namespace
}  // namespace gda
