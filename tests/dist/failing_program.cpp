// Ends badly in the way that its argument names; run by mpi_failure_test under mpirun.
#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/core/stream.h"
#include "gda/dist/device_communicator.h"
#include "gda/dist/mesh.h"

namespace {

constexpr std::chrono::minutes kLate{4};

// Rank 1 of three does something of its own.
void be_culprit(const std::string& way) {
  if (way.starts_with("late")) std::this_thread::sleep_for(kLate);
  if (way == "throw") throw std::runtime_error("rank 1 has had enough");
  if (way == "leave") std::exit(0);
  if (way == "abort") gda::MpiSession::abort(7);
  if (way == "die") std::raise(SIGKILL);
  if (way == "stopped") std::raise(SIGSTOP);
}

gda::Device shared_device(gda::Communicator& world) {
  return gda::choose_device(
      {.wanted = gda::WantedDevice::cuda, .setting = "device: cuda", .may_share = true}, world);
}

std::unique_ptr<gda::Communicator> on_device(gda::Communicator& world, const gda::Stream& stream,
                                             std::chrono::seconds timeout) {
  auto group = gda::make_device_communicator(
      world, stream, {.backend = gda::DeviceBackend::automatic, .timeout = timeout});
  group->set_step(120);
  return group;
}

// As on a cluster: the thread that computes waits for the device and cannot tell that it does.
void wait_on_a_device(gda::Communicator& world, bool culprit) {
  const gda::Device device = shared_device(world);
  const gda::OwnedStream stream(device);
  const auto group = on_device(world, stream.get(), std::chrono::seconds(2));
  const gda::OwnedTensor data(gda::DType::f32, {1024}, device);
  group->broadcast(data.tensor, 0).wait();
  gda::synchronize(stream.get());
  if (culprit) std::this_thread::sleep_for(kLate);
  group->all_reduce(data.tensor, gda::Reduction::sum).wait();
  gda::synchronize(stream.get());
}

// Two places along the axis, and of four ranks along another one. For "replicas" along all but the
// pipeline, so that they are a group of their own.
gda::MeshShape shape_for(const std::string& axis, int ranks) {
  std::array<int, gda::kAxes> sizes{1, 1, 1, 1};
  for (int i = 0; i < gda::kAxes; ++i) {
    if (axis == gda::name_of(static_cast<gda::Axis>(i)) || axis == "replicas") sizes[i] = 2;
  }
  if (axis == "replicas") sizes[0] = 1;
  if (ranks == 4) sizes[axis == "tensor" ? 0 : 3] = 2;
  return {sizes[0], sizes[1], sizes[2], sizes[3]};
}

gda::Communicator& group_of(const gda::Mesh& mesh, const std::string& axis) {
  for (int i = 0; i < gda::kAxes; ++i) {
    const auto known = static_cast<gda::Axis>(i);
    if (axis == gda::name_of(known)) return mesh.group(known);
  }
  return mesh.replicas();
}

// The last rank comes late to an operation of the group along an axis, while those of other groups
// wait for all.
void be_late_along(const std::string& axis, bool on_a_device, const gda::MpiSession& session) {
  // Longer than the emulation takes on a crowded machine until all groups are there.
  const std::chrono::seconds timeout(on_a_device ? 5 : 2);
  const auto host = session.world(timeout);
  const gda::Device device = on_a_device ? shared_device(*host) : gda::Device{};
  const gda::OwnedStream stream(device);
  const auto world = on_device(*host, stream.get(), timeout);
  const gda::Mesh mesh(*world, shape_for(axis, world->size()));
  gda::Communicator& group = group_of(mesh, axis);
  const gda::OwnedTensor data(gda::DType::f32, {1024}, device);
  const int last = world->size() - 1;
  if (world->rank() == last) std::this_thread::sleep_for(kLate);
  if (group.world_rank(group.size() - 1) == last) {
    group.all_reduce(data.tensor, gda::Reduction::sum).wait();
  }
  world->all_reduce(data.tensor, gda::Reduction::sum).wait();
  gda::synchronize(stream.get());
}

void run(const std::string& way) {
  const gda::MpiSession session;
  // Processes of a crowded machine may be seconds apart until they have met.
  session.world(std::chrono::seconds(60))->barrier();
  const auto world = session.world(std::chrono::seconds(2));
  gda::log::set_rank(world->rank(), world->size());
  world->set_step(120);
  const std::string along = "late along ";
  if (way.starts_with(along)) {
    const std::string axis = way.substr(along.size(), way.find(' ', along.size()) - along.size());
    return be_late_along(axis, way.ends_with(" on a device"), session);
  }
  const bool culprit = world->rank() == 1;
  if (way == "late on a device") wait_on_a_device(*world, culprit);
  std::vector<float> data(8192, 1.0F);
  const gda::Tensor all(data.data(), gda::DType::f32, {8192});
  const gda::Tensor tensor = all.rows(0, 1024);
  // Ranks 1 and 2 in this order, and 0 alone.
  const bool grouped = way == "late in a group" || way == "no message";
  const auto pair = grouped ? world->split(world->rank() == 0 ? 0 : 1, "pair") : nullptr;
  if (culprit) be_culprit(way);
  if (way == "no message" && pair->rank() == 1) pair->receive(tensor, 0).wait();
  if (way == "other message" && !culprit) {
    // Rank 0 sends to rank 2 half of what that awaits.
    if (world->rank() == 0) world->send(tensor.rows(0, 512), 2).wait();
    if (world->rank() == 2) world->receive(tensor, 0).wait();
  }
  gda::Communicator& group = grouped ? *pair : *world;
  const std::int64_t rows = way == "other large size" ? 8192 : 1024;
  const bool half = culprit && way.starts_with("other");
  group.all_reduce(all.rows(0, half ? rows / 2 : rows), gda::Reduction::sum).wait();
  world->barrier();
}

}  // namespace

int main(int /*argc*/, char** argv) {
  // NCCL takes ranks of several hosts, not several of one, on one GPU.
  if (const char* rank = std::getenv("OMPI_COMM_WORLD_RANK")) ::setenv("NCCL_HOSTID", rank, 0);
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    gda::MpiSession::abort(3);
  }
}
