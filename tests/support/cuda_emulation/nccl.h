// What the program uses of NCCL's interface, for an emulation between processes of one host: each
// with the one emulated device, joined by named pipes. It keeps to the rules of communicators that
// do not block: a call may be unfinished when it returns, and until ncclCommGetAsyncError says that
// it is not, another is an error and nothing is on the stream. What ranks are to exchange is
// compared: calls that do not match are an error here and an endless wait with NCCL.
#pragma once

#include <array>
#include <cstddef>

using cudaStream_t = void*;

enum ncclResult_t {
  ncclSuccess,
  ncclSystemError,
  ncclInvalidArgument,
  ncclInvalidUsage,
  ncclRemoteError,
  ncclInProgress,
};
enum ncclDataType_t { ncclInt32, ncclFloat32, ncclFloat64, ncclBfloat16 };
enum ncclRedOp_t { ncclSum, ncclMin, ncclMax };

struct ncclUniqueId {
  char internal[128];  // NOLINT(*-avoid-c-arrays): as NCCL has it
};
struct ncclConfig_t {
  int blocking = 1;
};
#define NCCL_CONFIG_INITIALIZER \
  {}

struct ncclComm;
using ncclComm_t = ncclComm*;

const char* ncclGetErrorString(ncclResult_t status);
const char* ncclGetLastError(ncclComm_t group);

ncclResult_t ncclGetVersion(int* version);
ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t* group, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t group, ncclResult_t* state);
ncclResult_t ncclCommFinalize(ncclComm_t group);
ncclResult_t ncclCommDestroy(ncclComm_t group);
ncclResult_t ncclCommAbort(ncclComm_t group);

ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t group, cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t part, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t group, cudaStream_t stream);
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t part, ncclDataType_t type,
                           ncclComm_t group, cudaStream_t stream);
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           int root, ncclComm_t group, cudaStream_t stream);
ncclResult_t ncclSend(const void* data, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t group, cudaStream_t stream);
ncclResult_t ncclRecv(void* data, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t group, cudaStream_t stream);
