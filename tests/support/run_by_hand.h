// A training run in f64 whose arithmetic shares with the program only the sample order and the
// gradient of a single sample: counting targets, accumulation, the norm, clipping, skipping and
// AdamW are plain loops over whole tensors here.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "gda/data/data_loader.h"
#include "gda/model/decoder.h"
#include "gda/train/run_config.h"

namespace gda::test {

struct HandStep {
  double loss = 0;
  std::map<std::string, double> source_loss;  // of sources with targets
  double gradient_norm = 0;
  double lr = 0;
  bool skipped = false;
};

class RunByHand {
 public:
  using Numbers = std::vector<double>;

  // The configuration's schedule is constant after a warm-up, its batch has one size.
  explicit RunByHand(const RunConfig& config)
      : config_(config),
        parameters_(parameter_specs(config.model), DType::f64, 1, true),
        decoder_(config.model, parameters_),
        data_(config.data, config.model.vocab_size,
              [&](std::int64_t step) { return step * config.train.global_batch_size; }) {
    parameters_.initialize(static_cast<std::uint64_t>(config.train.seed));
  }

  // The value of a parameter, and its first and second moment, zeros at first.
  Numbers value(const std::string& name) const {
    const Tensor& tensor = parameters_.at(name).value;
    return {tensor.data<double>(), tensor.data<double>() + tensor.elements()};
  }
  Numbers& first_moment(const std::string& name) { return moment(m_, name); }
  Numbers& second_moment(const std::string& name) { return moment(v_, name); }
  std::int64_t updates() const { return updates_; }

  HandStep step(std::int64_t number) {
    HandStep result;
    const std::int64_t targets = add_gradients(number, result);
    double squares = 0;
    for (const Parameter& parameter : parameters_.all()) {
      for (std::int64_t i = 0; i < parameter.gradient.elements(); ++i) {
        const double g = parameter.gradient.data<double>()[i] / static_cast<double>(targets);
        squares += g * g;
      }
    }
    result.gradient_norm = std::sqrt(squares);
    const auto warmup = static_cast<double>(config_.schedule.warmup_steps);
    result.lr = config_.optimizer.lr * std::min(1.0, static_cast<double>(number + 1) / warmup);
    result.skipped = stands_out(losses_, result.loss) || stands_out(norms_, result.gradient_norm);
    if (!result.skipped) {
      losses_.push_back(result.loss);
      norms_.push_back(result.gradient_norm);
      update(result, static_cast<double>(targets));
    }
    for (const Bucket& bucket : parameters_.buckets()) {
      std::fill_n(bucket.gradients.data<double>(), bucket.elements, 0.0);
    }
    return result;
  }

 private:
  Numbers& moment(std::map<std::string, Numbers>& of, const std::string& name) {
    Numbers& numbers = of[name];
    numbers.resize(static_cast<std::size_t>(parameters_.at(name).value.elements()));
    return numbers;
  }

  // Sums gradients, one sample after the other, and takes mean losses; the number of targets.
  std::int64_t add_gradients(std::int64_t number, HandStep& result) {
    const std::int64_t length = config_.data.sequence_length;
    const std::int64_t first = number * config_.train.global_batch_size;
    Batch row(1, length);
    const OwnedTensor losses(DType::f64, {length});
    std::int64_t targets = 0;
    std::map<std::string, std::int64_t> source_targets;
    for (std::int64_t i = 0; i < config_.train.global_batch_size; ++i) {
      data_.fill_batch(first + i, row);
      const SequenceBatch input{.batch = 1,
                                .length = length,
                                .token = row.tokens.tensor,
                                .position = row.position.tensor,
                                .first_key = row.first_key.tensor};
      decoder_.forward_backward({Stream{}, arena_}, input, row.targets.tensor, 1, losses.tensor);
      const std::string& source = data_.source_name(row.source[0]);
      for (std::int64_t t = 0; t < length; ++t) {
        if (row.targets.tensor.data<std::int32_t>()[t] < 0) continue;
        result.loss += losses.tensor.data<double>()[t];
        result.source_loss[source] += losses.tensor.data<double>()[t];
        ++source_targets[source];
        ++targets;
      }
    }
    result.loss /= static_cast<double>(targets);
    for (auto& [source, loss] : result.source_loss) {
      loss /= static_cast<double>(source_targets[source]);
    }
    return targets;
  }

  // More than so many standard deviations above the mean of a full window of accepted steps.
  bool stands_out(const Numbers& accepted, double value) const {
    const auto window = static_cast<std::size_t>(config_.train.skip.window);
    if (config_.train.skip.spike_sigmas == 0 || accepted.size() < window) return false;
    double sum = 0;
    double squares = 0;
    for (std::size_t i = accepted.size() - window; i < accepted.size(); ++i) sum += accepted[i];
    const double mean = sum / static_cast<double>(window);
    for (std::size_t i = accepted.size() - window; i < accepted.size(); ++i) {
      squares += (accepted[i] - mean) * (accepted[i] - mean);
    }
    const double deviation = std::sqrt(squares / static_cast<double>(window));
    return value > mean + config_.train.skip.spike_sigmas * deviation;
  }

  void update(const HandStep& step, double targets) {
    const OptimizerConfig& optimizer = config_.optimizer;
    const double beta1 = optimizer.betas[0];
    const double beta2 = optimizer.betas[1];
    const auto t = static_cast<double>(++updates_);
    const double clip = std::min(1.0, optimizer.grad_clip / step.gradient_norm);
    for (const Parameter& parameter : parameters_.all()) {
      Numbers& m = first_moment(parameter.spec.name);
      Numbers& v = second_moment(parameter.spec.name);
      // Vectors do not decay.
      const double decay = parameter.spec.shape.rank() == 2 ? optimizer.weight_decay : 0.0;
      for (std::size_t i = 0; i < m.size(); ++i) {
        const double g = clip / targets * parameter.gradient.data<double>()[i];
        double& p = parameter.value.data<double>()[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        const double mean = m[i] / (1 - std::pow(beta1, t));
        const double root = std::sqrt(v[i] / (1 - std::pow(beta2, t)));
        p -= step.lr * (mean / (root + optimizer.eps) + decay * p);
      }
    }
  }

  RunConfig config_;
  Arena arena_;
  ParameterStore parameters_;
  Decoder decoder_;
  DataLoader data_;
  std::map<std::string, Numbers> m_;
  std::map<std::string, Numbers> v_;
  std::int64_t updates_ = 0;
  Numbers losses_;  // of accepted steps
  Numbers norms_;
};

}  // namespace gda::test
