// What every communicator asks of the tensors that it is given. Each throws DistError.
#pragma once

#include <string_view>

#include "gda/dist/communicator.h"

namespace gda::dist {

// For groups that move the host's memory alone.
void validate_on_host(std::string_view operation, const Tensor& tensor);

void validate_all_reduce(const Tensor& data);
void validate_reduce_scatter(const Tensor& from, const Tensor& to, int rank, int size);
void validate_all_gather(const Tensor& from, const Tensor& to, int rank, int size);
void validate_broadcast(const Tensor& data, int root, int size);

}  // namespace gda::dist
