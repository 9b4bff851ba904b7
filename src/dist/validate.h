// Validation of arguments, the same for every communicator. validate_... throw DistError.
#pragma once

#include <string_view>

#include "gda/dist/communicator.h"

namespace gda::dist {

bool is_on_host(const Tensor& tensor);

// For groups that move the host's memory alone.
void validate_on_host(std::string_view operation, const Tensor& tensor);

void validate_all_reduce(const Tensor& data);
void validate_reduce_scatter(const Tensor& from, const Tensor& to, int rank, int size);
void validate_all_gather(const Tensor& from, const Tensor& to, int rank, int size);
void validate_broadcast(const Tensor& data, int root, int size);
void validate_all_to_all(const Tensor& from, const Tensor& to, int size);
void validate_send_receive(const Tensor& send, int to, const Tensor& receive, int from, int rank,
                           int size);
void validate_split(int colour);

}  // namespace gda::dist
