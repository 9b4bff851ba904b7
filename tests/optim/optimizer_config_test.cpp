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

TEST(OptimizerConfig, RejectsWhatCannotWork) {
  EXPECT_EQ(error_of("name: sgd"), "x.yaml:1: name: must be adamw, got \"sgd\"");
  EXPECT_EQ(error_of("betas: [0.9]"), "x.yaml:1: betas: expected two numbers, found 1");
  EXPECT_EQ(error_of("betas: [0.9, 1]"), "x.yaml:1: betas: a decay rate must be below 1");
  EXPECT_EQ(error_of("eps: 0"), "x.yaml:1: eps: must be at least 1e-30, got 0");
  EXPECT_EQ(error_of("grad_clip: -1"), "x.yaml:1: grad_clip: must be at least 0, got -1");
}

}  // namespace
}  // namespace gda
