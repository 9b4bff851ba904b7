#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/log.h"
#include "gda/dist/device_communicator.h"

namespace gda {
namespace {

// Kernels copy asynchronously and multiply bf16, which older GPUs do not.
constexpr int kOldestCapability = 8;

// What a rank tells the others, as words of a tensor.
struct Place {
  std::int64_t host = 0;  // a hash of its host's identity
  std::int64_t gpus = 0;  // that it can use
  std::int64_t gpu = 0;   // a hash of the UUID of the one that it would take
};

std::vector<Place> gather(Communicator& world, const Place& own) {
  constexpr std::int64_t kWords = sizeof(Place) / size_of(DType::i32);
  std::vector<Place> all(static_cast<std::size_t>(world.size()));
  Place mine = own;
  world
      .all_gather(Tensor(&mine, DType::i32, {kWords}),
                  Tensor(all.data(), DType::i32, {kWords * world.size()}))
      .wait();
  return all;
}

std::int64_t hash_of(const std::string& text) {
  return static_cast<std::int64_t>(std::hash<std::string>{}(text));
}

// The same in all containers of a host, and in no other host.
std::string host_identity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string identity;
  if (file >> identity) return identity;
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

// The number of this rank among those of its host.
int local_rank(const std::vector<Place>& places, int rank) {
  const auto own = places.begin() + rank;
  return static_cast<int>(std::count_if(
      places.begin(), own, [&](const Place& other) { return other.host == own->host; }));
}

const char* reason_for_none() {
  return nccl_is_available()
             ? "no CUDA device is there; look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use cpu"
             : "no CUDA device can be used; configure the build with --preset cuda, look at "
               "nvidia-smi and CUDA_VISIBLE_DEVICES, or use cpu";
}

// Throws where two ranks would take the same GPU.
void check_sharing(const DeviceRequest& request, const std::vector<Place>& places) {
  for (std::size_t a = 0; a < places.size(); ++a) {
    for (std::size_t b = a + 1; b < places.size(); ++b) {
      if (places[a].gpu != places[b].gpu) continue;
      require<ConfigError>(
          request.may_share,
          "{}: ranks {} and {} would use the same GPU: start one rank for each GPU of a host, "
          "here at most {}",
          request.setting, a, b, places[a].gpus);
      if (b == 1) log::warning("several ranks use one GPU: each is slower than alone");
    }
  }
}

}  // namespace

HostPlace place_on_host(Communicator& world) {
  const std::vector<Place> places = gather(world, {.host = hash_of(host_identity())});
  const auto own = static_cast<std::size_t>(world.rank());
  const auto ranks = std::count_if(places.begin(), places.end(), [&](const Place& other) {
    return other.host == places[own].host;
  });
  return {.rank = local_rank(places, world.rank()), .ranks = static_cast<int>(ranks)};
}

int ranks_of_device(Device device, Communicator& world) {
  const Place own{.gpu = hash_of(facts_of(device).uuid)};
  const std::vector<Place> places = gather(world, own);
  return static_cast<int>(std::count_if(places.begin(), places.end(),
                                        [&](const Place& other) { return other.gpu == own.gpu; }));
}

Device choose_device(const DeviceRequest& request, Communicator& world) {
  if (request.wanted == WantedDevice::cpu) return {};
  Place own{.host = hash_of(host_identity()), .gpus = cuda_device_count()};
  std::vector<Place> places = gather(world, own);
  const auto without = std::find_if(places.begin(), places.end(),
                                    [](const Place& place) { return place.gpus == 0; });
  const bool none =
      std::all_of(places.begin(), places.end(), [](const Place& place) { return place.gpus == 0; });
  if (request.wanted == WantedDevice::automatic && none) return {};
  require<ConfigError>(
      without == places.end(), "{}: {}{}", request.setting,
      none ? std::string() : fmt::format("rank {}: ", std::distance(places.begin(), without)),
      reason_for_none());
  const int number = local_rank(places, world.rank());
  const Device device{DeviceType::cuda, number % static_cast<int>(own.gpus)};
  const DeviceFacts facts = facts_of(device);
  require<ConfigError>(facts.major >= kOldestCapability,
                       "{}: {} has compute capability {}.{}; {}.0 or newer is needed, or cpu",
                       request.setting, facts.name, facts.major, facts.minor, kOldestCapability);
  own.gpu = hash_of(facts.uuid);
  places = gather(world, own);
  check_sharing(request, places);
  return device;
}

}  // namespace gda
