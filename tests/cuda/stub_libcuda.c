/* stub_libcuda.c - as much of NVIDIA's driver library as cuDNN asks for while it makes plans for a device that is not there:
 * compiled kernels are taken, and nothing can be run.  For tests/gpu/plans.sh.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

enum { SUCCESS = 0, NO_DEVICE = 100, NOT_FOUND = 500 };

#define TAKES(name)                                                                                                    \
    int name(void **handle);                                                                                           \
    int name(void **handle)                                                                                            \
    {                                                                                                                  \
        *handle = (void *)(uintptr_t)4096;                                                                             \
        return SUCCESS;                                                                                                \
    }
#define ANSWERS(name, code)                                                                                            \
    int name(void);                                                                                                    \
    int name(void)                                                                                                     \
    {                                                                                                                  \
        return code;                                                                                                   \
    }
#define COUNTS(name, n)                                                                                                \
    int name(int *value);                                                                                              \
    int name(int *value)                                                                                               \
    {                                                                                                                  \
        *value = (n);                                                                                                  \
        return SUCCESS;                                                                                                \
    }
#define NAMES(name)                                                                                                    \
    int name(int code, const char **text);                                                                             \
    int name(int code, const char **text)                                                                              \
    {                                                                                                                  \
        (void)code;                                                                                                    \
        *text = "there is no device";                                                                                  \
        return SUCCESS;                                                                                                \
    }

TAKES(cuLibraryLoadData)
TAKES(cuLibraryGetKernel)
TAKES(cuKernelGetFunction)
TAKES(cuModuleLoadData)
TAKES(cuModuleGetFunction)
COUNTS(cuDriverGetVersion, 13000)
COUNTS(cuKernelGetAttribute, 0)
COUNTS(cuFuncGetAttribute, 0)
NAMES(cuGetErrorString)
NAMES(cuGetErrorName)
ANSWERS(cuLibraryUnload, SUCCESS)
ANSWERS(cuModuleUnload, SUCCESS)
ANSWERS(cuKernelSetAttribute, SUCCESS)
ANSWERS(cuFuncSetAttribute, SUCCESS)
ANSWERS(cuInit, NO_DEVICE)
ANSWERS(cuCtxGetCurrent, NO_DEVICE)
ANSWERS(cuCtxGetLimit, NO_DEVICE)
ANSWERS(cuCtxPopCurrent, NO_DEVICE)
ANSWERS(cuCtxPushCurrent, NO_DEVICE)
ANSWERS(cuStreamGetCtx, NO_DEVICE)
ANSWERS(cuDeviceGet, NO_DEVICE)
ANSWERS(cuDeviceGetCount, NO_DEVICE)
ANSWERS(cuLaunchKernel, NO_DEVICE)
ANSWERS(cuLaunchKernelEx, NO_DEVICE)
ANSWERS(cuLaunchCooperativeKernel, NO_DEVICE)
ANSWERS(cuLibraryLoadFromFile, NO_DEVICE)
ANSWERS(cuLinkCreate, NO_DEVICE)
ANSWERS(cuLinkAddData, NO_DEVICE)
ANSWERS(cuLinkComplete, NO_DEVICE)
ANSWERS(cuLinkDestroy, NO_DEVICE)
ANSWERS(cuOccupancyMaxPotentialClusterSize, NO_DEVICE)
ANSWERS(cuTensorMapEncodeIm2col, NO_DEVICE)
ANSWERS(cuTensorMapEncodeTiled, NO_DEVICE)

int cuGetProcAddress_v2(const char *name, void **at, int version, uint64_t flags, int *status);
int cuGetProcAddress_v2(const char *name, void **at, int version, uint64_t flags, int *status)
{
    (void)version, (void)flags, (void)status;
    *at = dlsym(RTLD_DEFAULT, name);
    return *at != NULL ? SUCCESS : NOT_FOUND;
}
