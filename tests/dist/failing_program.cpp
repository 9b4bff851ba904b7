// Ends badly in the way that its argument names; run by mpi_failure_test under mpirun.
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/dist/communicator.h"

namespace {

void run(const std::string& way) {
  const gda::MpiSession session;
  const auto world = session.world(std::chrono::seconds(2));
  gda::log::set_rank(world->rank(), world->size());
  world->barrier();
  world->set_step(120);
  std::vector<float> data(1024, 1.0F);
  const bool culprit = world->rank() == 1;
  if (culprit && way == "late") std::this_thread::sleep_for(std::chrono::seconds(60));
  if (culprit && way == "throw") throw std::runtime_error("rank 1 has had enough");
  if (culprit && way == "leave") std::exit(0);
  if (culprit && way == "abort") gda::MpiSession::abort(7);
  if (culprit && way == "die") std::raise(SIGKILL);
  world->all_reduce(gda::Tensor(data.data(), gda::DType::f32, {1024}), gda::Reduction::sum).wait();
}

}  // namespace

int main(int /*argc*/, char** argv) {
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    gda::MpiSession::abort(3);
  }
}
