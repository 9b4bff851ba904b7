// Who is where when an operation is late: a rank that gives up asks all others. Each answers from
// whatever it does, waiting for another operation or for none, since the thread that calls MPI
// never sleeps for long; only a rank that is stopped or gone does not. So the one that the others
// wait for is told by a single rank, whichever's time is over first. Used on the MPI thread only.
#pragma once

#include <array>
#include <chrono>
#include <list>
#include <string>
#include <vector>

#include "dist/mpi_group.h"
#include "dist/rank_names.h"

namespace gda::dist {

class RollCall {
 public:
  // Tags of MPI_COMM_WORLD that are left to it; no other message has them.
  static constexpr int kQuestionTag = 32765;
  static constexpr int kAnswerTag = 32766;

  // Whether another rank has asked. Also lets MPI work.
  static bool is_asked();
  // Tells all who have asked what this rank does: "waiting in barrier for rank 1".
  void answer(const std::string& doing);
  // What every rank of `world` does, this one too, in lines of "ranks 0, 3: waiting in ...". Waits
  // for no answer longer than `limit`.
  std::vector<std::string> ask(const MpiGroup& world, const RankNames& names,
                               const std::string& doing, std::chrono::steady_clock::duration limit);

 private:
  // Cut to that length, so that it arrives without anybody's help.
  using Text = std::array<char, 1024>;
  struct Answer {
    int rank = 0;
    Text text{};
    MPI_Request request = MPI_REQUEST_NULL;
  };

  // The process ends soon after: what MPI may still read or write is kept until then.
  std::list<Text> told_;
  std::list<Answer> heard_;
};

}  // namespace gda::dist
