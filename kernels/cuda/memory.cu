/* memory.cu - the device: what it must be, one block of its memory for the whole process, copies, scratch.
 *
 * The block is cut by first fit; pieces are few (blocks of tapes, weights, moments) and long-lived, so a list will do.
 */
#include "kernels/cuda/cuda.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN ((size_t)256)
#define LEAST_MAJOR 8 /* compute capability: Ampere, the first with bfloat16 products */
#define MIB ((size_t)1 << 20)

struct piece {
    struct piece *next; /* by address */
    char *at;
    size_t bytes;
    bool taken;
};

static struct {
    pthread_mutex_t lock;
    size_t users;
    int device;
    char *block;
    size_t bytes;
    struct piece *first;
    char name[64];
} memory = {PTHREAD_MUTEX_INITIALIZER, 0, 0, NULL, 0, NULL, ""};

void cuda_fail(struct cuda *c, const char *what, const char *why)
{
    if (!c->failed)
        (void)fprintf(stderr, "freshet: cuda: %s: %s; results from here on are not numbers\n", what, why);
    c->failed = true;
}

void cuda_check(struct cuda *c, cudaError_t code, const char *what)
{
    if (code != cudaSuccess) cuda_fail(c, what, cudaGetErrorString(code));
}

static enum status find_device(int device, struct err *e)
{
    int n = 0, driver = 0, major = 0;
    struct cudaDeviceProp about;
    const cudaError_t code = cudaGetDeviceCount(&n);
    const bool told = code != cudaSuccess && cudaDriverGetVersion(&driver) == cudaSuccess;
    if (code == cudaErrorInsufficientDriver && told && driver == 0)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: no NVIDIA driver is installed here (libcuda.so.1); set kernels.backend=cpu");
    if (code != cudaSuccess)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: no device can be used: %s (driver %d, this plug-in was built for %d)",
                       cudaGetErrorString(code), driver, CUDART_VERSION);
    if (device >= n)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: kernels.device=%d: the machine has %d", device, n);
    if (cudaSetDevice(device) != cudaSuccess || cudaGetDeviceProperties(&about, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: device %d does not answer", device);
    (void)snprintf(memory.name, sizeof memory.name, "%.63s", about.name);
    if (major < LEAST_MAJOR)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: %s has compute capability %d.x, %d.0 is the least; set kernels.backend=cpu",
                       memory.name, major, LEAST_MAJOR);
    return STATUS_OK;
}

/* One piece that is all of it. */
static enum status take_block(size_t want_mb, struct err *e)
{
    size_t free_bytes = 0, total = 0;
    if (cudaMemGetInfo(&free_bytes, &total) != cudaSuccess)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: %s does not say what memory is free", memory.name);
    const size_t bytes = (want_mb > 0 ? want_mb * MIB : free_bytes / 10 * 9) / ALIGN * ALIGN;
    memory.first = (struct piece *)calloc(1, sizeof *memory.first);
    if (memory.first == NULL) return ERR_SET(e, STATUS_OOM, "cuda: no host memory");
    if (bytes == 0 || cudaMalloc((void **)&memory.block, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        free(memory.first);
        memory.first = NULL;
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: %s has not %zu MiB of memory free (%zu of %zu are); lower kernels.device_mb",
                       memory.name, bytes / MIB, free_bytes / MIB, total / MIB);
    }
    memory.first->at = memory.block;
    memory.first->bytes = memory.bytes = bytes;
    return STATUS_OK;
}

enum status cuda_memory_open(const struct kern_plugin_settings *s, char *about, size_t about_bytes, struct err *e)
{
    enum status st = STATUS_OK;
    (void)pthread_mutex_lock(&memory.lock);
    if (memory.users == 0) {
        st = find_device(s->device, e);
        if (st == STATUS_OK) st = take_block(s->memory_mb, e);
        if (st == STATUS_OK) memory.device = s->device;
    } else if (memory.device != s->device) {
        st = ERR_SET(e, STATUS_UNSUPPORTED, "cuda: kernels.device=%d: this process uses device %d already", s->device,
                     memory.device);
    } else if (cudaSetDevice(memory.device) != cudaSuccess) { /* of the calling thread */
        st = ERR_SET(e, STATUS_UNSUPPORTED, "cuda: device %d does not answer", memory.device);
    }
    if (st == STATUS_OK) {
        memory.users++;
        (void)snprintf(about, about_bytes, "cuda (%s, %zu MiB)", memory.name, memory.bytes / MIB);
    }
    (void)pthread_mutex_unlock(&memory.lock);
    return st;
}

const char *cuda_memory_device(void)
{
    return memory.name;
}

size_t cuda_memory_bytes(void)
{
    return memory.bytes;
}

void cuda_memory_here(void)
{
    (void)cudaSetDevice(memory.device); /* a thread-local word, unless it changes */
}

void cuda_memory_close(void)
{
    (void)pthread_mutex_lock(&memory.lock);
    if (--memory.users == 0) {
        for (struct piece *p = memory.first, *next; p != NULL; p = next) {
            next = p->next;
            free(p);
        }
        memory.first = NULL;
        (void)cudaFree(memory.block);
        memory.block = NULL;
    }
    (void)pthread_mutex_unlock(&memory.lock);
}

/* Cuts what is beyond bytes off p; without host memory for that p keeps it. */
static void cut(struct piece *p, size_t bytes)
{
    struct piece *rest = p->bytes > bytes ? (struct piece *)calloc(1, sizeof *rest) : NULL;
    if (rest == NULL) return;
    rest->next = p->next;
    rest->at = p->at + bytes;
    rest->bytes = p->bytes - bytes;
    p->next = rest;
    p->bytes = bytes;
}

void *cuda_memory_take(size_t bytes)
{
    const size_t need = bytes > SIZE_MAX - ALIGN ? SIZE_MAX : (bytes + ALIGN) / ALIGN * ALIGN; /* never 0 */
    (void)pthread_mutex_lock(&memory.lock);
    struct piece *p = memory.first;
    while (p != NULL && (p->taken || p->bytes < need)) p = p->next;
    if (p != NULL) {
        cut(p, need);
        p->taken = true;
    }
    (void)pthread_mutex_unlock(&memory.lock);
    return p != NULL ? p->at : NULL;
}

static void join_next(struct piece *p)
{
    struct piece *next = p->next;
    if (next == NULL || next->taken) return;
    p->bytes += next->bytes;
    p->next = next->next;
    free(next);
}

void cuda_memory_give(void *at)
{
    struct piece *before = NULL;
    if (at == NULL) return;
    (void)pthread_mutex_lock(&memory.lock);
    struct piece *p = memory.first;
    for (; p != NULL && p->at != at; p = p->next) before = p;
    if (p != NULL) {
        p->taken = false;
        join_next(p);
        if (before != NULL && !before->taken) join_next(before);
    }
    (void)pthread_mutex_unlock(&memory.lock);
}

void *cuda_scratch(struct cuda *c, size_t bytes)
{
    if (bytes <= c->scratch_bytes && c->scratch != NULL) return c->scratch;
    cuda_wait(c, "growing scratch");
    cuda_memory_give(c->scratch);
    size_t want = 2 * c->scratch_bytes > bytes ? 2 * c->scratch_bytes : bytes;
    c->scratch = (char *)cuda_memory_take(want);
    if (c->scratch == NULL && want > bytes) c->scratch = (char *)cuda_memory_take(want = bytes);
    c->scratch_bytes = c->scratch != NULL ? want : 0;
    if (c->scratch == NULL) cuda_fail(c, "scratch", "no memory left on the device; raise kernels.device_mb");
    return c->scratch;
}

void *cuda_host_room(struct cuda *c, size_t bytes)
{
    if (bytes <= c->host_bytes) return c->host;
    char *grown = (char *)realloc(c->host, 2 * bytes);
    if (grown == NULL) {
        cuda_fail(c, "offsets", "no host memory");
        return NULL;
    }
    c->host = grown;
    c->host_bytes = 2 * bytes;
    return grown;
}
