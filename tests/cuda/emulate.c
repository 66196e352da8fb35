/* emulate.c - a device for the emulated plug-in: its memory, and kernels run thread by thread on the host.
 *
 * Threads of a block that wait for each other are coroutines on stacks of their own; a wait ends when all that still run
 * have come to it.  With FRESHET_EMULATED_GUARD in the environment device memory has no rights outside launches and copies, so that
 * the plug-in's own host code faults where it follows a device pointer.  One launch at a time.  What is done when: emulate_order.c.
 */
#include "emulate.h"
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

void emulated_device_open(void)
{
    (void)pthread_mutex_lock(&device_lock);
    if (guarded) (void)mprotect(device_block, device_bytes, PROT_READ | PROT_WRITE);
}

void emulated_device_close(void)
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
    emulated.device_rooms++;
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
    uint32_t share[2][THREADS][6]; /* of an mma: a, then b; by turns likewise */
    unsigned mmas[THREADS];
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

static double half_of(uint32_t pair, unsigned which)
{
    const uint32_t bits = which == 0 ? pair << 16 : pair & 0xffff0000u;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* Lane 4g + t has of a rows g and g + 8, columns 2t, 2t + 1 and those 8 later; of b column g, the same rows; of c rows g and
 * g + 8, columns 2t and 2t + 1. */
void emulate_mma(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    const unsigned me = threadIdx.x, warp = me / 32 * 32, g = me % 32 / 4, t = me % 4;
    uint32_t(*const share)[6] = threads.share[threads.mmas[me]++ % 2];
    memcpy(share[me], a, 4 * sizeof *a);
    memcpy(share[me] + 4, b, 2 * sizeof *b);
    emulate_warp_wait();
    for (unsigned i = 0; i < 4; i++) {
        double sum = (double)c[i];
        for (unsigned k = 0; k < 16; k++) {
            const uint32_t left = share[warp + 4 * g + k % 8 / 2][i / 2 + k / 8 * 2];
            const uint32_t right = share[warp + 4 * (2 * t + i % 2) + k % 8 / 2][4 + k / 8];
            sum += half_of(left, k % 2) * half_of(right, k % 2);
        }
        c[i] = (float)sum;
    }
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
    for (unsigned i = 0; i < threads.n; i++)
        threads.begun[i] = threads.done[i] = false, threads.exchanges[i] = threads.mmas[i] = 0;
    while (threads.block.running > 0)
        for (unsigned i = 0; i < threads.n; i++)
            if (!threads.done[i]) turn(i);
}

static void launch(void (*kernel)(const void *args), const void *args, size_t grid, unsigned block, bool together)
{
    emulated_device_open();
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
    emulated_device_close();
}

struct launched {
    void (*kernel)(const void *args);
    size_t grid;
    unsigned block;
    bool together;
    max_align_t args[64]; /* a kernel's parameters are 4 KiB at most; ours are far below */
};

static void launch_again(const void *what)
{
    const struct launched *l = what;
    launch(l->kernel, l->args, l->grid, l->block, l->together);
}

cudaError_t cudaLaunchKernel(const void *of, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t s)
{
    const struct emulated_kernel *k = of;
    struct launched l = {k->run, grid.x, block.x, k->together, {{0}}};
    (void)shared;
    if (k->bytes > sizeof l.args) abort();
    memcpy(l.args, args[0], k->bytes);
    emulated.launches++;
    s->queue(s, launch_again, &l, sizeof l);
    return cudaSuccess;
}
