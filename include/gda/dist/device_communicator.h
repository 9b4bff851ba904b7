// Collectives on tensors of a GPU, and the choice of each rank's GPU.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "gda/core/words.h"
#include "gda/dist/communicator.h"

namespace gda {

// How tensors on devices are sent.
//   nccl  from GPU to GPU, on a stream of its own beside the computation
//   mpi   through the host's memory by the communicator of the host: slow; for builds without NCCL,
//         and to find out whether a fault is NCCL's
//   auto  nccl, where this build has it
enum class DeviceBackend : std::uint8_t { automatic, nccl, mpi };
template <>
inline constexpr auto kWordsOf<DeviceBackend> = words("auto", "nccl", "mpi");

struct DeviceCommunicatorOptions {
  DeviceBackend backend = DeviceBackend::automatic;
  std::chrono::milliseconds timeout{600'000};
};

// The group of `host` for tensors of the stream's device as well as of the host. `host`, which must
// outlive it, carries those of the host.
//
// An operation on the device's tensors begins when the work that is on `compute` at its call is
// done; Pending::wait makes what comes to `compute` after it wait for the operation's end, and the
// host for nothing. NCCL adds in an order of its own choice, the same on every rank, and may round
// sums of bf16 at each rank that they pass; min and max may lose a NaN. Every group that is cut
// from this one has a stream of its own: an operation that needs what another group's does to a
// tensor is called after that one's wait. One that does not finish within the timeout ends the
// process (exit code 1) with a message as that of Communicator, when the log has what every rank
// and its device do.
//
// On the CPU, and for a group of one, no process sends anything to another: `host` with copies.
// Throws DistError if NCCL refuses, ConfigError if it is asked for and is not in this build.
std::unique_ptr<Communicator> make_device_communicator(Communicator& host, const Stream& compute,
                                                       const DeviceCommunicatorOptions& options);

// Whether this build has NCCL.
bool nccl_is_available();

// Where a rank is among those of its host.
struct HostPlace {
  int rank = 0;
  int ranks = 1;
};

// Collective.
HostPlace place_on_host(Communicator& world);
// How many ranks use the GPU of this one. Collective.
int ranks_of_device(Device device, Communicator& world);

enum class WantedDevice : std::uint8_t { automatic, cpu, cuda };
template <>
inline constexpr auto kWordsOf<WantedDevice> = words("auto", "cpu", "cuda");

struct DeviceRequest {
  WantedDevice wanted = WantedDevice::automatic;
  std::string setting;     // as the user wrote it, for messages: "device: cuda"
  bool may_share = false;  // several ranks may use one GPU
};

// The device of this rank. auto: a GPU where every rank finds one, the CPU where none does. Ranks
// of a host take its GPUs in turn; where a launcher shows each rank a single one, that. Throws the
// same ConfigError on every rank when there are too few. Collective.
Device choose_device(const DeviceRequest& request, Communicator& world);

}  // namespace gda
