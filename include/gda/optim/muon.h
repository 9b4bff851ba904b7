// Muon (Jordan et al. 2024) as an update rule, with the step size and the decay of Liu et al.,
// "Muon is Scalable for LLM Training" (2025).
//
//   momentum = mu momentum + g;  u = g + mu momentum;  X = newton_schulz(u)
//   p = (1 - lr weight_decay) p - lr 0.2 sqrt(max(rows, columns)) X
//
// X has singular values near 1, so the factor gives an update the root mean square of about 0.2
// that AdamW's have, whatever the matrix's shape: both can be given the same learning rate.
//
// A matrix is iterated whole, by one rank that owns it (matrix_owners.h), but its momentum is cut
// like everything else's: over the replicas, and before that over the tensor group. Owners are all
// of these ranks, the ones of a stage, in the order of their replica and then of their tensor
// coordinate. They take their matrices in rounds, the expensive ones first. In each, ranks send
// their parts of u to the owners and get parts of X back, all at once and all in one order; what is
// sent for the round before and gathered for the next travels while a rank iterates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gda/dist/communicator.h"
#include "gda/optim/gradient_buckets.h"
#include "gda/optim/update_rule.h"

namespace gda {

struct MuonOptions {
  double momentum = 0.95;
  double weight_decay = 0;  // of parameters that ask for it
};

// Takes the matrices of decoder layers. State: "momentum". Scratch, besides Newton-Schulz's own:
// two matrices of the accumulate type, each the largest that this rank owns and shares, and a third
// where tensor ranks cut its columns. The update is the same on any number of ranks, up to the
// rounding of the summed gradients.
class Muon : public UpdateRule {
 public:
  // `buckets` must outlive it. OpError where a matrix is cut over ranks that the groups of
  // `buckets` do not have: what is orthogonal in a part is not so in the whole.
  Muon(const GradientBuckets& buckets, const MuonOptions& options);
  bool takes(const ParameterSpec& spec) const override;
  std::vector<std::string> states() const override { return {kMomentum}; }
  void update(const Context& context, const std::vector<OptimizerPiece>& pieces,
              const UpdateStep& step) override;

 private:
  static constexpr const char* kMomentum = "momentum";

  // With the boxes of the tensor coordinates one after another, each in row-major order: where rows
  // are cut, or nothing is, that is the matrix.
  struct Matrix {
    const Parameter* parameter = nullptr;
    std::vector<IndexRange> parts;  // elements that each rank holds; empty where it has none
  };
  // What a step works with.
  struct Step;

  void find_ranks();
  void check_box(const Parameter& parameter) const;
  void add_matrix(const Parameter& parameter, std::int64_t begin, std::int64_t part_length);
  const Matrix* owned(std::size_t round, int rank) const;
  const IndexRange& own_part(const Matrix& matrix) const;
  bool is_shared(const Matrix& matrix) const;
  std::size_t rounds() const;
  // Starts the messages of a round: in turn to the next rank and from the one before, then to the
  // second next, and so on. `outwards`: from owners.
  std::vector<Pending> exchange(const Step& step, std::size_t round, bool outwards) const;
  void iterate(const Step& step, std::size_t round) const;
  // x = newton_schulz(u), both in boxes where columns are cut.
  void orthogonalize(const Step& step, const Matrix& matrix, const Tensor& u,
                     const Tensor& x) const;
  void apply(const Step& step, const Matrix& matrix, const Tensor& direction) const;
  void apply_received(const Step& step, std::size_t round) const;

  const GradientBuckets* buckets_;
  MuonOptions options_;
  Communicator* group_ = nullptr;  // that messages go through
  std::vector<int> ranks_;         // of the stage, in it
  int own_ = 0;                    // this one, in ranks_
  int tensor_ = 0;                 // coordinate
  int tensor_size_ = 1;
  std::vector<Matrix> matrices_;
  std::vector<std::vector<std::size_t>> hands_;  // of each rank
};

}  // namespace gda
