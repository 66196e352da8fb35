/* nccl.cu - sums over processes by NCCL, opened at run time: one communicator and one stream of its own for each struct kern, so
 * that a sum runs beside the kernels that are queued after it.
 *
 * NCCL waits for its peers without end; here nobody waits longer than he is told to: joining is done on a thread that can be
 * left behind, sums are looked after, and given up (ncclCommAbort) when they fail or take too long.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/nccl_calls.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAP_NS 20000

struct cuda_nccl {
    struct nccl_calls call;
    struct ncclComm *comm; /* NULL: not joined, or given up */
    cudaStream_t stream;
    cudaEvent_t before, after; /* what is summed is there; it is summed */
    int wrong;                 /* the first code of a sum that was not queued; 0: none */
};

/* --- the library ---------------------------------------------------------------------------------------------------- */

static enum status load(struct nccl_calls *call, struct err *e)
{
    void *library = cuda_library(getenv("FRESHET_NCCL"), "libnccl.so.2", "libnccl.so");
    if (library == NULL)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: libnccl.so.2 is not to be found (%s); put it into LD_LIBRARY_PATH, or name it in FRESHET_NCCL",
                       dlerror());
    bool whole = true;
#define X(type, f, args)                                                                                               \
    *(void **)&call->f = dlsym(library, "nccl" #f);                                                                    \
    whole = whole && call->f != NULL;
    NCCL_CALLS(X)
#undef X
    return whole ? STATUS_OK : ERR_SET(e, STATUS_UNSUPPORTED, "cuda: the NCCL found is too old for this plug-in (2.4 is the least)");
}

static enum status cuda_together_name(struct kern *k, void *id, struct err *e)
{
    struct nccl_calls call;
    ncclUniqueId made;
    (void)k;
    const enum status st = load(&call, e);
    if (st != STATUS_OK) return st;
    cuda_memory_here();
    const int code = call.GetUniqueId(&made);
    if (code != NCCL_SUCCESS) return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: NCCL does not start: %s", call.GetErrorString(code));
    memcpy(id, &made, sizeof made);
    return STATUS_OK;
}

/* --- joining -------------------------------------------------------------------------------------------------------- */

struct joining { /* belongs to whoever is last: the thread, or the one that waits for it */
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct nccl_calls call;
    ncclUniqueId id;
    struct ncclComm *comm;
    int rank, n, code;
    bool is_done, left;
};

static void joining_free(struct joining *j)
{
    (void)pthread_mutex_destroy(&j->lock);
    (void)pthread_cond_destroy(&j->done);
    free(j);
}

static void *join_main(void *arg)
{
    struct joining *j = (struct joining *)arg;
    cuda_memory_here();
    const int code = j->call.CommInitRank(&j->comm, j->n, j->id, j->rank);
    (void)pthread_mutex_lock(&j->lock);
    j->code = code;
    j->is_done = true;
    const bool left = j->left;
    (void)pthread_cond_signal(&j->done);
    (void)pthread_mutex_unlock(&j->lock);
    if (!left) return NULL;
    if (code == NCCL_SUCCESS) (void)j->call.CommAbort(j->comm); /* nobody waits for it any more */
    joining_free(j);
    return NULL;
}

static struct timespec in_ms(int64_t ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

/* False: it is not done after so long; the thread frees j then. */
static bool wait_joined(struct joining *j, int64_t timeout_ms)
{
    const struct timespec until = in_ms(timeout_ms);
    int code = 0;
    (void)pthread_mutex_lock(&j->lock);
    while (!j->is_done && code == 0) code = pthread_cond_timedwait(&j->done, &j->lock, &until);
    const bool done = j->is_done;
    j->left = !done;
    (void)pthread_mutex_unlock(&j->lock);
    return done;
}

static void joining_init(struct joining *j)
{
    pthread_condattr_t how;
    (void)pthread_condattr_init(&how);
    (void)pthread_condattr_setclock(&how, CLOCK_MONOTONIC); /* as in_ms */
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_cond_init(&j->done, &how);
    (void)pthread_condattr_destroy(&how);
}

static enum status join_all(struct cuda_nccl *q, const void *id, int rank, int n, int64_t timeout_ms, struct err *e)
{
    pthread_t thread;
    struct joining *j = (struct joining *)calloc(1, sizeof *j);
    if (j == NULL) return ERR_SET(e, STATUS_OOM, "cuda: no host memory");
    joining_init(j);
    j->call = q->call;
    memcpy(&j->id, id, sizeof j->id);
    j->rank = rank;
    j->n = n;
    if (pthread_create(&thread, NULL, join_main, j) != 0) {
        joining_free(j);
        return ERR_SET(e, STATUS_IO, "cuda: no thread to join the other ranks");
    }
    (void)pthread_detach(thread);
    if (!wait_joined(j, timeout_ms))
        return ERR_SET(e, STATUS_IO, "cuda: NCCL did not bring rank %d and the others together in %lld ms (train.ranks_timeout_ms)", rank,
                       (long long)timeout_ms);
    const int code = j->code;
    q->comm = code == NCCL_SUCCESS ? j->comm : NULL;
    joining_free(j);
    if (code == NCCL_SUCCESS) return STATUS_OK;
    return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: rank %d cannot join the others through NCCL: %s; NCCL_DEBUG=WARN says more", rank,
                   q->call.GetErrorString(code));
}

static bool make_order(struct cuda_nccl *q)
{
    return cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking) == cudaSuccess &&
           cudaEventCreateWithFlags(&q->before, cudaEventDisableTiming) == cudaSuccess &&
           cudaEventCreateWithFlags(&q->after, cudaEventDisableTiming) == cudaSuccess;
}

static enum status cuda_together_join(struct kern *k, const void *id, int rank, int n, int64_t timeout_ms, struct err *e)
{
    struct cuda *c = cuda_of(k);
    cuda_nccl_close(c);
    c->nccl = (struct cuda_nccl *)calloc(1, sizeof *c->nccl);
    if (c->nccl == NULL) return ERR_SET(e, STATUS_OOM, "cuda: no host memory");
    cuda_memory_here();
    enum status st = load(&c->nccl->call, e);
    if (st == STATUS_OK && !make_order(c->nccl))
        st = ERR_SET(e, STATUS_UNSUPPORTED, "cuda: no stream for sums: %s", cudaGetErrorString(cudaGetLastError()));
    if (st == STATUS_OK) st = join_all(c->nccl, id, rank, n, timeout_ms, e);
    if (st != STATUS_OK) cuda_nccl_close(c);
    return st;
}

void cuda_nccl_close(struct cuda *c)
{
    struct cuda_nccl *q = c->nccl;
    if (q == NULL) return;
    if (q->comm != NULL) (void)q->call.CommAbort(q->comm); /* others may be gone: an orderly end would wait for them */
    if (q->before != NULL) (void)cudaEventDestroy(q->before);
    if (q->after != NULL) (void)cudaEventDestroy(q->after);
    if (q->stream != NULL) (void)cudaStreamDestroy(q->stream);
    free(q);
    c->nccl = NULL;
}

/* --- sums ----------------------------------------------------------------------------------------------------------- */

static void cuda_together_sum(struct kern *k, float *x, size_t n)
{
    struct cuda *c = cuda_of(k);
    struct cuda_nccl *q = c->nccl;
    if (q->comm == NULL || q->wrong != 0 || n == 0) return;
    cuda_flush(c);
    cuda_check(c, cudaEventRecord(q->before, c->stream), "sum over ranks");
    cuda_check(c, cudaStreamWaitEvent(q->stream, q->before, 0), "sum over ranks");
    q->wrong = q->call.AllReduce(x, x, n, NCCL_FLOAT32, NCCL_SUM, q->comm, q->stream);
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* *done: all sums are; else *code is what NCCL or the device says, 0 nothing yet. */
static void look(struct cuda_nccl *q, bool *done, int *code, const char **why)
{
    const cudaError_t there = cudaEventQuery(q->after);
    *done = there == cudaSuccess;
    *code = 0;
    if (*done) return;
    if (there != cudaErrorNotReady) {
        *code = (int)there;
        *why = cudaGetErrorString(there);
        return;
    }
    if (q->call.CommGetAsyncError(q->comm, code) != NCCL_SUCCESS || *code == NCCL_IN_PROGRESS) *code = 0;
    if (*code != 0) *why = q->call.GetErrorString(*code);
}

static enum status give_up(struct cuda_nccl *q, const char *why, struct err *e)
{
    if (q->comm != NULL) (void)q->call.CommAbort(q->comm);
    q->comm = NULL;
    return ERR_SET(e, STATUS_IO, "cuda: a sum of gradients over all ranks failed: %s; start all ranks again", why);
}

static enum status cuda_together_wait(struct kern *k, int64_t timeout_ms, struct err *e)
{
    struct cuda *c = cuda_of(k);
    struct cuda_nccl *q = c->nccl;
    const int64_t until = now_ms() + timeout_ms;
    const char *why = "no rank may go on alone";
    bool done = false;
    if (q->comm == NULL) return give_up(q, why, e);
    if (q->wrong != 0) return give_up(q, q->call.GetErrorString(q->wrong), e);
    cuda_flush(c);
    cuda_check(c, cudaEventRecord(q->after, q->stream), "sum over ranks");
    cuda_check(c, cudaStreamWaitEvent(c->stream, q->after, 0), "sum over ranks");
    while (!done) {
        const struct timespec nap = {0, NAP_NS};
        int code;
        look(q, &done, &code, &why);
        if (code != 0) return give_up(q, why, e);
        if (!done && now_ms() >= until) return give_up(q, "another rank is gone or hangs (train.ranks_timeout_ms)", e);
        if (!done) (void)nanosleep(&nap, NULL);
    }
    return STATUS_OK;
}

static void cuda_together_leave(struct kern *k)
{
    cuda_nccl_close(cuda_of(k));
}

const struct kern_together cuda_together = {cuda_together_name, cuda_together_join, cuda_together_sum, cuda_together_wait,
                                            cuda_together_leave};
