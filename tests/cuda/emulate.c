/* emulate.c - a device for the emulated plug-in: its memory, copies, and kernels run thread by thread on the host.
 *
 * Threads of a block that wait for each other are coroutines on stacks of their own; a wait ends when all that still run
 * have come to it.  Streams are always done.  With FRESHET_EMULATED_GUARD in the environment device memory has no rights outside
 * launches and copies, so that the plug-in's own host code faults where it follows a device pointer.  One launch at a time.
 */
#include <cuda_runtime.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define DEVICE_BYTES ((size_t)256 << 20)
#define STACK ((size_t)64 << 10)
#define THREADS 256

_Thread_local struct emulated_place threadIdx, blockIdx, blockDim;

/* --- memory --------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;
static void *device_block;
static size_t device_bytes;
static bool guarded;

static void device_open(void)
{
    (void)pthread_mutex_lock(&device_lock);
    if (guarded) (void)mprotect(device_block, device_bytes, PROT_READ | PROT_WRITE);
}

static void device_close(void)
{
    if (guarded) (void)mprotect(device_block, device_bytes, PROT_NONE);
    (void)pthread_mutex_unlock(&device_lock);
}

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *fault = getenv("FRESHET_EMULATED_FAULT");
    *n = 1;
    return fault != NULL && strcmp(fault, "driver") == 0 ? cudaErrorInsufficientDriver : cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    (void)device;
    strcpy(p->name, "emulated");
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, int what, int device)
{
    const char *fault = getenv("FRESHET_EMULATED_FAULT");
    (void)what, (void)device;
    *value = fault != NULL && strcmp(fault, "old") == 0 ? 7 : 9;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = *total = DEVICE_BYTES;
    return cudaSuccess;
}

/* Filled with what is no number, as memory that nobody has cleared may be. */
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    if (device_block != NULL || bytes > DEVICE_BYTES) return cudaErrorMemoryAllocation;
    *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*p == MAP_FAILED) return cudaErrorMemoryAllocation;
    memset(*p, 0xff, bytes < ((size_t)8 << 20) ? bytes : (size_t)8 << 20); /* the part that is given out first */
    device_block = *p;
    device_bytes = bytes;
    guarded = getenv("FRESHET_EMULATED_GUARD") != NULL;
    if (guarded) (void)mprotect(device_block, device_bytes, PROT_NONE);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    (void)munmap(p, device_bytes);
    device_block = NULL;
    guarded = false;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    *p = malloc(bytes);
    return *p != NULL ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    (void)kind, (void)s;
    device_open();
    memmove(to, from, bytes);
    device_close();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    (void)s;
    device_open();
    memset(p, value, bytes);
    device_close();
    return cudaSuccess;
}

/* --- order ---------------------------------------------------------------------------------------------------------- */

struct emulated_event {
    int any;
};
static struct emulated_stream the_stream = {device_open, device_close};
static struct emulated_event the_event;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    (void)flags;
    *s = &the_stream;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    (void)s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    (void)s;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    (void)flags;
    *e = &the_event;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    (void)e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    (void)e, (void)s;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    (void)e;
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    (void)e;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags)
{
    (void)s, (void)e, (void)flags;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

cudaError_t cudaPeekAtLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaSuccess ? "no error" : "an emulated fault";
}

/* --- threads -------------------------------------------------------------------------------------------------------- */

struct meeting {
    unsigned there, round, running; /* of a warp or a block */
};
static struct {
    ucontext_t start; /* a thread's first turn; after that the jumps, which ask nothing of the kernel */
    jmp_buf scheduler, place[THREADS];
    char *stacks;
    bool begun[THREADS], done[THREADS];
    unsigned current, n;
    struct meeting block, warp[THREADS / 32];
    double slot[2][THREADS]; /* by turns: one exchange may begin before the last is read everywhere */
    unsigned exchanges[THREADS];
    void (*kernel)(const void *);
    const void *args;
} threads;

static void yield(void)
{
    const unsigned me = threads.current;
    if (_setjmp(threads.place[me]) == 0) _longjmp(threads.scheduler, 1);
}

static void release_if_all_there(struct meeting *m)
{
    if (m->there < m->running || m->running == 0) return;
    m->there = 0;
    m->round++;
}

static void meet(struct meeting *m)
{
    const unsigned round = m->round;
    m->there++;
    release_if_all_there(m);
    while (m->round == round) yield();
}

void emulate_block_wait(void)
{
    meet(&threads.block);
}

void emulate_warp_wait(void)
{
    meet(&threads.warp[threadIdx.x / 32]);
}

double emulate_lane(double v, unsigned lane)
{
    const unsigned me = threadIdx.x;
    double *slot = threads.slot[threads.exchanges[me]++ % 2];
    slot[me] = v;
    emulate_warp_wait();
    return slot[me / 32 * 32 + lane % 32];
}

static void thread_main(void)
{
    const unsigned me = threads.current;
    threads.kernel(threads.args);
    threads.done[me] = true;
    threads.block.running--;
    threads.warp[me / 32].running--;
    release_if_all_there(&threads.warp[me / 32]);
    release_if_all_there(&threads.block);
    _longjmp(threads.scheduler, 1);
}

/* Thread i until it waits or ends: either way it comes back through the jump. */
static void turn(unsigned i)
{
    threads.current = threadIdx.x = i;
    if (_setjmp(threads.scheduler) != 0) return;
    if (threads.begun[i]) _longjmp(threads.place[i], 1);
    threads.begun[i] = true;
    (void)getcontext(&threads.start);
    threads.start.uc_stack.ss_sp = threads.stacks + i * STACK;
    threads.start.uc_stack.ss_size = STACK;
    threads.start.uc_link = NULL;
    makecontext(&threads.start, thread_main, 0);
    (void)setcontext(&threads.start);
}

static void run_together(void)
{
    threads.block = (struct meeting){0, 0, threads.n};
    for (unsigned w = 0; w * 32 < threads.n; w++)
        threads.warp[w] = (struct meeting){0, 0, threads.n - w * 32 < 32 ? threads.n - w * 32 : 32};
    for (unsigned i = 0; i < threads.n; i++) threads.begun[i] = threads.done[i] = false, threads.exchanges[i] = 0;
    while (threads.block.running > 0)
        for (unsigned i = 0; i < threads.n; i++)
            if (!threads.done[i]) turn(i);
}

void emulate_launch(void (*kernel)(const void *args), const void *args, size_t grid, unsigned block, bool together)
{
    device_open();
    if (threads.stacks == NULL) threads.stacks = malloc(THREADS * STACK);
    threads.kernel = kernel;
    threads.args = args;
    threads.n = blockDim.x = block;
    for (size_t b = 0; b < grid && threads.stacks != NULL; b++) {
        blockIdx.x = (unsigned)b;
        if (together) {
            run_together();
            continue;
        }
        for (unsigned i = 0; i < block; i++) {
            threadIdx.x = i;
            kernel(args);
        }
    }
    device_close();
}
