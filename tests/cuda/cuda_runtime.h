/* cuda_runtime.h - as much of CUDA's run time as kernels/cuda/ uses, for the host: stands in for the real header in the
 * emulated plug-in (tests/cuda/emulate.c), on machines that have neither toolkit nor GPU.
 */
#ifndef TESTS_CUDA_CUDA_RUNTIME_H
#define TESTS_CUDA_CUDA_RUNTIME_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    cudaSuccess,
    cudaErrorMemoryAllocation,
    cudaErrorInsufficientDriver,
    cudaErrorLaunchFailure,
    cudaErrorStreamCaptureUnsupported,
    cudaErrorNotReady
} cudaError_t;
struct emulated_stream {
    void (*open)(void), (*close)(void); /* device memory, for libraries that compute on it */
    /* Takes a copy of what (bytes), for run(copy) in its turn: once, or whenever a recording is played. */
    void (*queue)(struct emulated_stream *s, void (*run)(const void *what), const void *what, size_t bytes);
    void (*finish)(struct emulated_stream *s); /* all that is queued runs now */
    bool playing;                              /* what runs is of a recording */
};
typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;
typedef struct emulated_graph *cudaGraph_t, *cudaGraphExec_t;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaDevAttrComputeCapabilityMajor = 75 };
#define CUDART_VERSION 0
struct cudaDeviceProp {
    char name[256];
};

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device);
cudaError_t cudaDeviceGetAttribute(int *value, int what, int device);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready);
cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t s);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorString(cudaError_t code);

/* What launch.h asks of the compiler.  A kernel is a function of its arguments; cudaLaunchKernel calls it once a thread, with
 * threadIdx, blockIdx and blockDim set; `together`: threads of a block take turns where they wait for each other. */
struct emulated_place {
    unsigned x;
};
extern _Thread_local struct emulated_place threadIdx, blockIdx, blockDim;
struct emulated_kernel {
    void (*run)(const void *args);
    size_t bytes; /* of args */
    bool together;
};
typedef struct {
    unsigned x, y, z;
} dim3;
cudaError_t cudaLaunchKernel(const void *of, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t s);
void emulate_block_wait(void);
void emulate_warp_wait(void);
double emulate_lane(double v, unsigned lane); /* of the warp */
void emulate_mma(float c[4], const uint32_t a[4], const uint32_t b[2]);

#define KERNEL_AS(name, type, waits)                                                                                   \
    static void name##_thread(const type a);                                                                           \
    static void name(const void *args)                                                                                 \
    {                                                                                                                  \
        name##_thread(*(const type *)args);                                                                            \
    }                                                                                                                  \
    static const struct emulated_kernel name##_kernel = {name, sizeof(type), (waits)};                                 \
    static void name##_thread(const type a)
#define KERNEL(name, type) KERNEL_AS(name, type, 0)
#define KERNEL_TOGETHER(name, type) KERNEL_AS(name, type, 1)
#define LAUNCH_OF(name) (&name##_kernel)
#define BLOCK_WAIT() emulate_block_wait()
#define WARP_WAIT() emulate_warp_wait()
#define TENSOR_MMA(c, a, b) emulate_mma((c), (a), (b))
#define UNROLL
#define MAY_ALIAS __attribute__((may_alias))
#define LANE_OF(v, lane) ((__typeof__(v))emulate_lane((double)(v), (lane)))
#define LANE_XOR(v, mask) LANE_OF(v, threadIdx.x % 32u ^ (mask))
#define DEVICE __attribute__((unused)) static inline
#define SHARED static _Thread_local /* blocks run one after the other */
#endif
