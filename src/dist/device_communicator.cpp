#include "gda/dist/device_communicator.h"

#include <memory>

#include "dist/forwarding_communicator.h"
#include "dist/nccl.h"
#include "dist/staged_communicator.h"
#include "gda/core/log.h"

namespace gda {

bool nccl_is_available() {
  return cuda::nccl_is_available();
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& host, const Stream& compute,
                                                       const DeviceCommunicatorOptions& options) {
  const bool sends = compute.device.type == DeviceType::cuda && host.size() > 1;
  const bool automatic = options.backend == DeviceBackend::automatic && cuda::nccl_is_available();
  const std::shared_ptr<Communicator> shared = dist::kept_elsewhere(host);
  if (sends && (automatic || options.backend == DeviceBackend::nccl)) {
    return cuda::make_nccl_communicator(shared, compute, options.timeout);
  }
  if (sends && options.backend == DeviceBackend::automatic && host.is_root()) {
    log::warning(
        "this build has no NCCL: ranks exchange through the host's memory, which is slow; "
        "configure it with GDA_NCCL=ON, or set parallel.backend: mpi if that is meant");
  }
  return dist::make_staged_communicator(shared, compute);
}

}  // namespace gda
