/* queue.cu - see queue.h. */
#include "kernels/cuda/queue.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND ((size_t)16)
#define LIST_BYTES ((size_t)4 << 20) /* longer ones are not remembered: their work takes longer than their launches */
#define LONG_AGO 1024 /* lists */
#define AREAS 4 /* the lists of a step, of which the host waits for one, and one more */
#define AREA_MOST ((size_t)32 << 20)

struct command { /* and its bytes, a multiple of ROUND */
    cuda_issue_fn *issue;
    size_t bytes;
};
struct list {
    unsigned char *bytes; /* commands, one behind the other */
    size_t n, cap;
    cudaGraphExec_t ready; /* NULL: not recorded */
    uint64_t used;         /* 0: free; else when */
};
struct cuda_queue {
    struct list now;          /* since the last flush */
    size_t issued;            /* bytes of it that are on the stream */
    const struct list *like;  /* which agrees with it so far; NULL: none */
    bool held, lost, off;     /* nothing of it is on the stream; too long to be remembered; nothing is recorded */
    bool recording, within;   /* under way; between begin and end */
    uint64_t turn;            /* lists so far */
    struct list lists[CUDA_LISTS];
    char *area[AREAS];        /* pinned memory for what goes up, one a list, by turns */
    cudaEvent_t left[AREAS];  /* what was in it has left it */
    bool busy[AREAS], narrow; /* that is not known yet; one was too small */
    size_t bytes, filled;     /* of an area; of the one in use */
    int at;                   /* the one in use */
    char *inbox;              /* as large, device memory; NULL: not wanted so far */
};

/* --- opening and closing ---------------------------------------------------------------------------------------------- */

bool cuda_queue_open(struct cuda *c)
{
    struct cuda_queue *q = c->queue = (struct cuda_queue *)calloc(1, sizeof *q);
    if (q == NULL) return false;
    q->held = true;
    q->bytes = CUDA_STAGING / AREAS;
    for (int i = 0; i < AREAS; i++)
        if (cudaMallocHost((void **)&q->area[i], q->bytes) != cudaSuccess ||
            cudaEventCreateWithFlags(&q->left[i], cudaEventDisableTiming) != cudaSuccess)
            return false;
    return true;
}

static void forget_one(struct list *l)
{
    if (l->ready != NULL) (void)cudaGraphExecDestroy(l->ready);
    l->ready = NULL;
    l->used = 0;
    l->n = 0;
}

void cuda_forget(struct cuda *c)
{
    if (c->queue == NULL) return;
    cuda_wait(c, "commands");
    for (size_t i = 0; i < CUDA_LISTS; i++) forget_one(&c->queue->lists[i]);
}

void cuda_queue_close(struct cuda *c)
{
    struct cuda_queue *q = c->queue;
    if (q == NULL) return;
    cuda_forget(c);
    for (size_t i = 0; i < CUDA_LISTS; i++) free(q->lists[i].bytes);
    for (int i = 0; i < AREAS; i++) {
        if (q->left[i] != NULL) (void)cudaEventDestroy(q->left[i]);
        if (q->area[i] != NULL) (void)cudaFreeHost(q->area[i]);
    }
    cuda_memory_give(q->inbox);
    free(q->now.bytes);
    free(q);
    c->queue = NULL;
}

/* --- lists ------------------------------------------------------------------------------------------------------------ */

static bool reserve(struct list *l, size_t bytes)
{
    if (bytes <= l->cap) return true;
    unsigned char *grown = (unsigned char *)realloc(l->bytes, 2 * bytes);
    if (grown == NULL) return false;
    l->bytes = grown;
    l->cap = 2 * bytes;
    return true;
}

/* Whether a list from before begins as this one does, which did up to `from`. */
static bool agrees(struct cuda_queue *q, size_t from)
{
    const struct list *now = &q->now;
    if (q->off) return false;
    if (q->like != NULL && q->like->n >= now->n && memcmp(q->like->bytes + from, now->bytes + from, now->n - from) == 0)
        return true;
    q->like = NULL;
    for (size_t i = 0; i < CUDA_LISTS && q->like == NULL; i++) {
        const struct list *l = &q->lists[i];
        if (l->used > 0 && l->n >= now->n && memcmp(l->bytes, now->bytes, now->n) == 0) q->like = l;
    }
    return q->like != NULL;
}

static struct list *the_same(struct cuda_queue *q)
{
    for (size_t i = 0; i < CUDA_LISTS; i++) {
        struct list *l = &q->lists[i];
        if (l->used > 0 && l->n == q->now.n && memcmp(l->bytes, q->now.bytes, l->n) == 0) return l;
    }
    return NULL;
}

/* Recorded, and played not long ago. */
static bool is_dear(const struct cuda_queue *q, const struct list *l)
{
    return l->ready != NULL && q->turn + 1 - l->used < LONG_AGO;
}

/* The one that is forgotten for another: many come once, between those that come again. */
static struct list *least_used(struct cuda_queue *q)
{
    struct list *least = &q->lists[0];
    for (size_t i = 1; i < CUDA_LISTS; i++) {
        struct list *l = &q->lists[i];
        const bool dear = is_dear(q, l), other = is_dear(q, least);
        if (dear != other ? other : l->used < least->used) least = l;
    }
    return least;
}

static void remember(struct cuda_queue *q)
{
    struct list *l = least_used(q);
    forget_one(l);
    if (!reserve(l, q->now.n)) return;
    memcpy(l->bytes, q->now.bytes, q->now.n);
    l->n = q->now.n;
    l->used = q->turn + 1;
}

/* Commands from one place of the list to another; false: one was refused, and those behind it were not issued. */
static bool issue(struct cuda *c, size_t from, size_t to)
{
    bool ok = true;
    while (from < to && ok) {
        const struct command *k = (const struct command *)(const void *)(c->queue->now.bytes + from);
        ok = k->issue(c, k + 1);
        from += sizeof *k + k->bytes;
    }
    return ok;
}

/* What was held back, up to a place.  It was issued before as it is, so nobody refuses it. */
static void release(struct cuda *c, size_t to)
{
    struct cuda_queue *q = c->queue;
    if (!issue(c, q->issued, to)) cuda_fail(c, "commands", "one was refused that was not before");
    q->issued = to;
    q->held = false;
}

bool cuda_put(struct cuda *c, cuda_issue_fn *fn, const void *head, size_t n_head, const void *rest, size_t n_rest)
{
    struct cuda_queue *q = c->queue;
    const size_t from = q->now.n, bytes = (n_head + n_rest + ROUND - 1) / ROUND * ROUND;
    const struct command k = {fn, bytes};
    if (!reserve(&q->now, from + sizeof k + bytes)) {
        cuda_fail(c, "commands", "no host memory");
        return true;
    }
    unsigned char *at = q->now.bytes + from;
    memcpy(at, &k, sizeof k);
    memset(at + sizeof k + n_head, 0, bytes - n_head);
    memcpy(at + sizeof k, head, n_head);
    if (n_rest > 0) memcpy(at + sizeof k + n_head, rest, n_rest);
    q->now.n = from + sizeof k + bytes;
    if (q->held && agrees(q, from)) return true;
    if (q->held) release(c, from);
    const bool ok = issue(c, from, q->now.n);
    if (!ok) q->now.n = from; /* as if it had not been put */
    q->lost = q->lost || q->now.n > LIST_BYTES;
    if (q->lost) q->now.n = 0;
    q->issued = q->now.n;
    return ok;
}

uint64_t cuda_turn(const struct cuda *c)
{
    return c->queue->turn;
}

/* --- recordings --------------------------------------------------------------------------------------------------------- */

struct placing {
    char *to;
    const char *from;
    size_t bytes;
};
typedef uint32_t MAY_ALIAS word;

/* Four bytes a thread, which begin at a multiple of four on the way in; 2 bytes moved for each. */
KERNEL(k_place, struct placing)
{
    const size_t at = THREAD * sizeof(word);
    if (at + sizeof(word) <= a.bytes && (uintptr_t)a.to % sizeof(word) == 0) {
        *(word *)(void *)(a.to + at) = *(const word *)(const void *)(a.from + at);
        return;
    }
    for (size_t i = at; i < at + sizeof(word) && i < a.bytes; i++) a.to[i] = a.from[i];
}

static void give_up(struct cuda *c, const char *why)
{
    (void)fprintf(stderr, "freshet: cuda: launches can't be recorded (%s): they go one by one\n", why);
    (void)cudaGetLastError();
    c->queue->off = true;
}

/* The list as something to launch; NULL, and why: it cannot be had. */
static cudaGraphExec_t record(struct cuda *c, cudaError_t *why)
{
    struct cuda_queue *q = c->queue;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t ready = NULL;
    const bool failed = c->failed;
    *why = cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal);
    if (*why != cudaSuccess) return NULL;
    q->recording = true;
    const bool whole = issue(c, 0, q->now.n);
    q->recording = false;
    *why = cudaStreamEndCapture(c->stream, &graph);
    if (whole && *why == cudaSuccess) *why = cudaGraphInstantiate(&ready, graph, 0);
    if (graph != NULL) (void)cudaGraphDestroy(graph);
    if (*why != cudaSuccess) ready = NULL;
    if (ready == NULL) c->failed = failed; /* nothing has run: what went wrong was the recording */
    return ready;
}

/* The kernel that empties it is launched once before: the driver loads kernels at their first launch, which recordings may not
 * survive. */
static bool need_inbox(struct cuda *c)
{
    struct cuda_queue *q = c->queue;
    const struct placing nothing = {NULL, NULL, 0};
    if (q->inbox == NULL) q->inbox = (char *)cuda_memory_take(q->bytes);
    if (q->inbox == NULL) return false;
    cuda_launch(c, LAUNCH_OF(k_place), 1, WARP, &nothing, "k_place");
    return true;
}

static bool play(struct cuda *c, struct list *l)
{
    struct cuda_queue *q = c->queue;
    cudaError_t why = cudaSuccess;
    if (q->filled > 0 && l->ready == NULL && !need_inbox(c)) {
        give_up(c, "no memory left on the device");
        return false;
    }
    if (l->ready == NULL) l->ready = record(c, &why);
    if (l->ready == NULL) {
        give_up(c, cudaGetErrorString(why));
        return false;
    }
    if (q->filled > 0)
        cuda_check(c, cudaMemcpyAsync(q->inbox, q->area[q->at], q->filled, cudaMemcpyHostToDevice, c->stream), "upload");
    cuda_check(c, cudaGraphLaunch(l->ready, c->stream), "a recorded graph");
    return true;
}

/* The next area is the one to fill from now on. */
static void turn_area(struct cuda *c)
{
    struct cuda_queue *q = c->queue;
    if (q->filled == 0) return;
    cuda_check(c, cudaEventRecord(q->left[q->at], c->stream), "upload");
    q->busy[q->at] = true;
    q->at = (q->at + 1) % AREAS;
    q->filled = 0;
}

void cuda_flush(struct cuda *c)
{
    struct cuda_queue *q = c->queue;
    struct list *l = q->held && q->now.n > 0 ? the_same(q) : NULL;
    cuda_memory_here(); /* whoever waits may be another thread than the one that opened */
    if (l != NULL) l->used = q->turn + 1;
    if (q->held && q->now.n > 0 && (l == NULL || !play(c, l))) release(c, q->now.n);
    if (l == NULL && q->now.n > 0 && !q->lost && !q->off) remember(q);
    turn_area(c);
    q->turn += q->now.n > 0 || q->lost;
    q->now.n = q->issued = 0;
    q->held = !q->off;
    q->lost = false;
    q->like = NULL;
}

/* --- what goes up ------------------------------------------------------------------------------------------------------- */

struct uploading {
    void *to;
    size_t offset, bytes; /* in the area, or the inbox */
};

static bool issue_upload(struct cuda *c, const void *what)
{
    const struct uploading *u = (const struct uploading *)what;
    const struct cuda_queue *q = c->queue;
    if (q->recording) {
        const struct placing a = {(char *)u->to, q->inbox + u->offset, u->bytes};
        cuda_launch(c, LAUNCH_OF(k_place), launch_blocks(launch_blocks(u->bytes, sizeof(word)), BLOCK), BLOCK, &a, "k_place");
        return true;
    }
    cuda_check(c, cudaMemcpyAsync(u->to, q->area[q->at] + u->offset, u->bytes, cudaMemcpyHostToDevice, c->stream), "upload");
    return true;
}

/* Where so many bytes are in the area in use, after what was there before has left it. */
static size_t stage(struct cuda *c, size_t bytes)
{
    struct cuda_queue *q = c->queue;
    if (q->filled + bytes > q->bytes) {
        q->narrow = q->narrow || q->within;
        cuda_flush(c);
    }
    if (q->busy[q->at]) cuda_check(c, cudaEventSynchronize(q->left[q->at]), "upload");
    q->busy[q->at] = false;
    const size_t at = q->filled;
    q->filled += (bytes + 63) / 64 * 64;
    return at;
}

void cuda_put_upload(struct cuda *c, void *to, const void *host, size_t bytes)
{
    const size_t most = c->queue->bytes / 4;
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < most ? bytes - at : most;
        const struct uploading u = {(char *)to + at, stage(c, n), n};
        memcpy(c->queue->area[c->queue->at] + u.offset, (const char *)host + at, n);
        (void)cuda_put(c, issue_upload, &u, sizeof u, NULL, 0);
    }
}

/* --- waiting ------------------------------------------------------------------------------------------------------------ */

/* All that a pass brings is to have room in one area, so that the host does not wait for the device in the middle of it. */
static void widen(struct cuda *c)
{
    struct cuda_queue *q = c->queue;
    char *wider[AREAS] = {NULL};
    bool had = 2 * q->bytes <= AREA_MOST;
    q->narrow = false;
    if (!had) return;
    for (int i = 0; i < AREAS && had; i++) had = cudaMallocHost((void **)&wider[i], 2 * q->bytes) == cudaSuccess;
    for (int i = 0; i < AREAS; i++) {
        char *gone = had ? q->area[i] : wider[i];
        if (had) q->area[i] = wider[i];
        if (gone != NULL) (void)cudaFreeHost(gone);
    }
    if (!had) {
        (void)cudaGetLastError();
        return;
    }
    q->bytes *= 2;
    for (size_t i = 0; i < CUDA_LISTS; i++) forget_one(&q->lists[i]); /* the inbox moves */
    cuda_memory_give(q->inbox);
    q->inbox = NULL;
}

void cuda_wait(struct cuda *c, const char *what)
{
    struct cuda_queue *q = c->queue;
    cuda_flush(c);
    cuda_check(c, cudaStreamSynchronize(c->stream), what);
    memset(q->busy, 0, sizeof q->busy);
    cuda_kept_waited(c);
    if (q->narrow) widen(c);
}

void cuda_queue_begin(struct cuda *c)
{
    cuda_flush(c);
    c->queue->within = true;
}

void cuda_queue_end(struct cuda *c)
{
    cuda_flush(c);
    c->queue->within = false;
}

/* --- commands ----------------------------------------------------------------------------------------------------------- */

struct launching { /* and the kernel's arguments */
    const void *of;
    const char *what;
    size_t grid, block;
};

void cuda_launch(struct cuda *c, const void *of, size_t grid, size_t block, const void *args, const char *what)
{
    const dim3 g = {(unsigned)grid, 1, 1}, b = {(unsigned)block, 1, 1};
    void *all[] = {(void *)(uintptr_t)args};
    cuda_check(c, cudaLaunchKernel(of, g, b, all, 0, c->stream), what);
}

static bool issue_launch(struct cuda *c, const void *what)
{
    const struct launching *l = (const struct launching *)what;
    cuda_launch(c, l->of, l->grid, l->block, l + 1, l->what);
    return true;
}

void cuda_put_kernel(struct cuda *c, const void *of, size_t grid, size_t block, const void *args, size_t bytes, const char *what)
{
    const struct launching l = {of, what, grid, block};
    (void)cuda_put(c, issue_launch, &l, sizeof l, args, bytes);
}

static bool issue_zero(struct cuda *c, const void *what)
{
    const struct placing *p = (const struct placing *)what;
    cuda_check(c, cudaMemsetAsync(p->to, 0, p->bytes, c->stream), "zero");
    return true;
}

void cuda_put_zero(struct cuda *c, void *p, size_t bytes)
{
    const struct placing all = {(char *)p, NULL, bytes};
    (void)cuda_put(c, issue_zero, &all, sizeof all, NULL, 0);
}

static bool issue_copy(struct cuda *c, const void *what)
{
    const struct placing *p = (const struct placing *)what;
    cuda_check(c, cudaMemcpyAsync(p->to, p->from, p->bytes, cudaMemcpyDeviceToDevice, c->stream), "copy");
    return true;
}

void cuda_put_copy(struct cuda *c, void *to, const void *from, size_t bytes)
{
    const struct placing all = {(char *)to, (const char *)from, bytes};
    (void)cuda_put(c, issue_copy, &all, sizeof all, NULL, 0);
}
