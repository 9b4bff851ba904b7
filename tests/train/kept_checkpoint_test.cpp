// A checkpoint that is kept as it was written opens and trains on.
#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoint/kept.h"
#include "gda/ops/elementwise.h"
#include "gda/train/trainer.h"
#include "support/temporary_folder.h"
#include "support/train.h"

namespace gda {
namespace {

namespace fs = std::filesystem;

const Tensor& state_of(const OptimizerPiece& piece, std::string_view state) {
  return state == "master" ? piece.master : piece.state(state);
}

std::string hash_of(const Trainer& trainer, std::string_view state) {
  const auto& pieces = trainer.optimizer().pieces();
  return test::hash_of_state(trainer.parameters().specs(), [&](const ParameterSpec& spec,
                                                               const Tensor& to) {
    const auto piece = std::ranges::find_if(
        pieces, [&](const OptimizerPiece& entry) { return entry.spec().name == spec.name; });
    if (state == "master" && !piece->has_own_master()) return false;
    Arena arena;
    convert({Stream{}, arena}, state == "parameter" ? piece->value : state_of(*piece, state), to);
    return true;
  });
}

double squares_of(const Trainer& trainer, std::string_view state) {
  double sum = 0;
  for (const OptimizerPiece& piece : trainer.optimizer().pieces()) {
    if (state == "master" && !piece.has_own_master()) continue;
    const Tensor& values = state_of(piece, state);
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      const double value = values.data<float>()[i];
      sum += value * value;
    }
  }
  return sum;
}

TEST(KeptCheckpoint, GoesOn) {
  const test::TemporaryFolder folder;
  fs::create_directories(folder / "run/checkpoints");
  fs::copy(test::kept_folder() / "step-00000004", folder / "run/checkpoints/step-00000004");
  for (const char* name : {"words.bin", "words.idx"}) {
    fs::copy(test::kept_folder() / name, folder / name);
  }
  const RunConfig config = load_run_config(folder / "run/checkpoints/step-00000004/config.yaml",
                                           {"run_dir=" + (folder / "run").string(),
                                            "data.sources[0].path=" + (folder / "words").string()});
  const auto world = make_self_communicator();
  Trainer trainer(config, *world);
  trainer.resume();
  for (const auto& [state, hash] : test::kKeptHashes) {
    EXPECT_EQ(hash_of(trainer, state), hash) << state;
  }
  EXPECT_EQ(trainer.state().updates, 4);
  const StopRequest stop;
  trainer.run(stop);
  EXPECT_EQ(trainer.state().step, 5);
  // What the program that wrote it found at the fifth step, on other processors perhaps: products
  // of bf16 numbers, of eight bits, that are rounded after sums in another order. Squares double a
  // relative difference.
  constexpr double kRounding = 1.0 / 128;
  EXPECT_NEAR(trainer.last_step().loss, 2.8970245877901712, 2.9 * kRounding);
  EXPECT_NEAR(trainer.last_step().gradient_norm, 1.1511954721740005, 1.2 * kRounding);
  EXPECT_NEAR(squares_of(trainer, "master") / 2.191866005582228, 1, 2 * kRounding);
  EXPECT_NEAR(squares_of(trainer, "exp_avg") / 0.08375537996464519, 1, 2 * kRounding);
  EXPECT_NEAR(squares_of(trainer, "exp_avg_sq") / 0.00027630374018684415, 1, 4 * kRounding);
}

}  // namespace
}  // namespace gda
