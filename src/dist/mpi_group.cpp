#include "dist/mpi_group.h"

#include <numeric>
#include <utility>

namespace gda::dist {
namespace {

// Ranks show each other their colours first: MPI's own call, which no timeout reaches, begins when
// all are there.
class Split final : public Operation {
 public:
  Split(std::shared_ptr<const MpiGroup> whole, int colour, std::shared_ptr<MpiGroup> result)
      : whole_(std::move(whole)),
        result_(std::move(result)),
        colours_(static_cast<std::size_t>(whole_->place.size), colour) {}

  bool next_round(Transfers& transfers) override {
    const Group place = whole_->place;
    const auto own = static_cast<std::size_t>(place.rank);
    if (!posted_) {
      for (int peer = 0; peer < place.size; ++peer) {
        if (peer == place.rank) continue;
        transfers.receive(&colours_[static_cast<std::size_t>(peer)], sizeof(int), peer);
        transfers.send(&colours_[own], sizeof(int), peer);
      }
      return posted_ = true;
    }
    check_mpi(MPI_Comm_split(whole_->comm, colours_[own], place.rank, &result_->comm),
              "MPI_Comm_split");
    check_mpi(MPI_Comm_set_errhandler(result_->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    for (std::size_t rank = 0; rank < colours_.size(); ++rank) {
      if (colours_[rank] != colours_[own]) continue;
      if (rank == own) result_->place.rank = static_cast<int>(result_->world_ranks.size());
      result_->world_ranks.push_back(whole_->world_ranks[rank]);
    }
    result_->place.size = static_cast<int>(result_->world_ranks.size());
    return false;
  }

 private:
  std::shared_ptr<const MpiGroup> whole_;
  std::shared_ptr<MpiGroup> result_;
  std::vector<int> colours_;  // of each rank
  bool posted_ = false;
};

}  // namespace

std::shared_ptr<MpiGroup> make_world_group() {
  auto world = std::make_shared<MpiGroup>();
  world->comm = MPI_COMM_WORLD;
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &world->place.rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &world->place.size), "MPI_Comm_size");
  world->world_ranks.resize(static_cast<std::size_t>(world->place.size));
  std::iota(world->world_ranks.begin(), world->world_ranks.end(), 0);
  return world;
}

std::unique_ptr<Operation> make_split(std::shared_ptr<const MpiGroup> whole, int colour,
                                      std::shared_ptr<MpiGroup> result) {
  return std::make_unique<Split>(std::move(whole), colour, std::move(result));
}

}  // namespace gda::dist
