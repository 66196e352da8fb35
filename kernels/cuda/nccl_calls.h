/* nccl_calls.h - the few declarations of NCCL (2.4 or later) that nccl.cu uses.
 *
 * They are written out, as the library's header comes only with the library itself; both are opened at run time alone.  They are
 * those of nccl.h 2.32 with its enumerations as int, and NCCL keeps them: it is a C interface of old.
 */
#ifndef KERNELS_CUDA_NCCL_CALLS_H
#define KERNELS_CUDA_NCCL_CALLS_H
#include <cuda_runtime.h>
#include <stddef.h>

struct ncclComm; /* ncclComm_t is a pointer to it */
typedef struct {
    char internal[128];
} ncclUniqueId;
enum {
    NCCL_SUCCESS = 0,
    NCCL_IN_PROGRESS = 7,
    NCCL_FLOAT32 = 7,
    NCCL_SUM = 0
}; /* C enumerations of NCCL, which are int */

#define NCCL_CALLS(X)                                                                                                  \
    X(int, GetUniqueId, (ncclUniqueId *))                                                                              \
    X(int, CommInitRank, (struct ncclComm **, int, ncclUniqueId, int))                                                       \
    X(int, CommGetAsyncError, (struct ncclComm *, int *))                                                                     \
    X(int, CommAbort, (struct ncclComm *))                                                                                    \
    X(int, AllReduce, (const void *, void *, size_t, int, int, struct ncclComm *, cudaStream_t))                              \
    X(const char *, GetErrorString, (int))

struct nccl_calls {
#define X(type, f, args) type(*f) args;
    NCCL_CALLS(X)
#undef X
};
#endif
