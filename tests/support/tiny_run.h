// A training run small enough for a test: two sources of tokens with structure to learn, and a
// configuration in a scratch folder. It runs on the device of support/device.h.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gda/core/philox.h"
#include "gda/data/token_writer.h"
#include "gda/dist/device_communicator.h"
#include "gda/train/run_config.h"
#include "support/device.h"
#include "support/tiny_model.h"

namespace gda::test {

// Documents of 5 to 40 tokens in which each token is usually the last one plus `stride`.
inline void write_tiny_dataset(const std::string& prefix, std::int64_t vocab_size, int stride,
                               int documents) {
  TokenDatasetWriter writer(prefix, vocab_size);
  const Philox random(3, RandomPurpose::test, prefix.substr(prefix.find_last_of('/') + 1));
  std::uint64_t draw = 0;
  for (int document = 0; document < documents; ++document) {
    std::vector<std::int32_t> tokens(5 + random.bits(draw++) % 36);
    auto token = static_cast<std::int32_t>(random.bits(draw++) % 17);
    for (auto& entry : tokens) {
      entry = token;
      const bool jump = random.uniform(draw++) < 0.1;
      token = (token + (jump ? 5 : stride)) % static_cast<std::int32_t>(vocab_size);
    }
    writer.append(tokens);
    writer.end_document();
  }
  writer.finish();
}

// Two sources and a configuration whose run goes to `directory`.
inline RunConfig tiny_run(const std::filesystem::path& data, const std::filesystem::path& directory,
                          const std::string& attention = "grouped_differential") {
  RunConfig config;
  config.model = tiny_config(attention);
  config.model.initializer_range = 0.05;
  config.data.sequence_length = 16;
  config.data.validation_fraction = 0.1;
  config.data.sources.resize(2);
  config.data.sources[0] = {.name = "one", .path = (data / "one").string(), .weight = {}};
  config.data.sources[1] = {.name = "two", .path = (data / "two").string(), .weight = {}};
  config.optimizer.lr = 3e-3;
  config.schedule.warmup_steps = 2;
  config.train.steps = 20;
  config.train.global_batch_size = 12;
  config.train.micro_batch_size = 1;
  config.precision.compute = ComputePrecision::fp32;
  config.checkpoint.every_steps = 0;
  config.eval.every_steps = 0;
  config.run_dir = directory.string();
  config.logging.every_steps = 5;
  config.logging.tensorboard = false;
  config.logging.peak_tflops = 0.1;
  config.device = on_cuda() ? WantedDevice::cuda : WantedDevice::cpu;
  config.parallel.backend = nccl_is_available() ? DeviceBackend::nccl : DeviceBackend::mpi;
  return config;
}

inline void write_tiny_data(const std::filesystem::path& data) {
  write_tiny_dataset((data / "one").string(), 19, 1, 300);
  write_tiny_dataset((data / "two").string(), 19, 3, 200);
}

}  // namespace gda::test
