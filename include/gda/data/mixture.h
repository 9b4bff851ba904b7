// Mapping of a run's samples to sources, and to sample indices within them: a pure function of
// the global sample number, with nothing to save and nothing to replay.
//
// Every sample has sequence_length tokens, so shares of tokens are shares of samples. Write w_k(g)
// for the share of source k at sample g (its weight over the sum of weights, at g's step) and
// Q_k(g) = w_k(0) + ... + w_k(g - 1) for the quota of k in the first g samples. The counts c_k(g)
// must be whole, sum to g, never fall, and stay near Q_k(g).
//
// Two sources A and B with A + B = N samples between them: A takes f(m) = floor(Q_A(t)) of the
// first m samples, where t is when their common quota reaches m, Q_N(t) = m. As Q_A grows by at
// most 1 while Q_N grows by 1, f grows by 0 or 1: sample m is A's if f(m + 1) > f(m), and then it
// is A's sample f(m), else B's sample m - f(m). More than two sources form a binary tree of such
// pairs. Each level adds less than one sample of error, so |c_k(g) - Q_k(g)| < ceil(log2 K), for
// ever. A source whose weight drops to 0 may for the same reason still be owed that many samples.
//
// All of this is exact integer arithmetic: shares are multiples of 2^-30, held constant over
// plateaus of steps. Where a weight moves, the interval between two points is cut into at most
// kPlateausPerInterval plateaus (every step has its own when the interval is shorter), with the
// weights at their middle. A look-up is a few binary searches in a table of plateaus.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "gda/config/fields.h"

namespace gda {

// Quotas in units of 2^-30 samples outgrow 64 bits in long runs.
__extension__ typedef __int128 Quota;

class Mixture {
 public:
  static constexpr std::int64_t kPlateausPerInterval = 1024;

  // first_sample_of_step(s): global number of the first sample of step s, i.e. the sum of the batch
  // sizes of steps 0 ... s - 1. Only called while constructing. Throws ConfigError if there are no
  // weights, if one is negative, or if all are 0 at some step.
  Mixture(const std::vector<Timeline>& weights,
          const std::function<std::int64_t(std::int64_t step)>& first_sample_of_step);

  struct Choice {
    int source = 0;
    std::int64_t index = 0;  // how many samples the source gave before this one
  };
  Choice at(std::int64_t sample) const;

  // c_k(sample): how many of the first `sample` samples are of the source.
  std::int64_t count(int source, std::int64_t sample) const;
  // w_k at a sample: what `at` follows.
  double share(int source, std::int64_t sample) const;
  int sources() const { return sources_; }

 private:
  // An inner node covers the sources of two children; shares and quotas are in units of 2^-30.
  struct Node {
    int left = -1;  // children; -1: a leaf
    int right = -1;
    int source = 0;
    std::vector<std::int64_t> share;  // per plateau
    std::vector<Quota> quota;         // per plateau, at its first sample
  };
  int build(int first, int count, const std::vector<std::vector<std::int64_t>>& shares);
  void add_quotas(Node& node) const;
  std::size_t plateau_of(std::int64_t sample) const;
  // f(m) of an inner node.
  std::int64_t left_count(const Node& node, std::int64_t m) const;

  int sources_ = 0;
  std::vector<std::int64_t> first_sample_;  // per plateau
  std::vector<Node> nodes_;
  int root_ = 0;
};

}  // namespace gda
