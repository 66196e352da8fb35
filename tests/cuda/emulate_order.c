/* emulate_order.c - when things happen on the emulated device: as late as they may.
 *
 * What is put on a stream runs when somebody waits for it, and not before: a copy from pinned memory reads what stands there by
 * then.  So host code that changes what it has handed over, or reads what it has not waited for, gets wrong numbers here, as it
 * may on a device.  Copies from memory that is not pinned take what stands there now, copies to it wait, as CUDA has it.  A
 * recording is a list of the same work.  A stream is one thread's at a time.
 */
#include "emulate.h"
#include <cuda_runtime.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct emulated_counts emulated;

const struct emulated_counts *emulated_asked(void)
{
    return &emulated;
}

/* EMULATED_SAYS: what was asked for, for scripts. */
static __attribute__((destructor)) void emulated_says(void)
{
    if (getenv("EMULATED_SAYS") == NULL) return;
    (void)fprintf(stderr, "emulated: %zu waits, %zu launches, %zu plays, %zu recordings\n", emulated.waits,
                  emulated.launches, emulated.plays, emulated.recordings);
}

struct node {
    struct node *next;
    void (*run)(const void *what);
    max_align_t what[];
};
struct list {
    struct node *first, **end;
};
struct emulated_graph {
    struct list nodes;
    unsigned held; /* as graph, as what was made of it, as work under way */
};
struct stream {
    struct emulated_stream face;
    struct list nodes;
    size_t queued, done;
    struct emulated_graph *recording;
};

static void put(struct list *l, void (*run)(const void *what), const void *what, size_t bytes)
{
    struct node *n = calloc(1, sizeof *n + bytes);
    if (n == NULL) abort();
    n->run = run;
    memcpy(n->what, what, bytes);
    if (l->first == NULL) l->end = &l->first;
    *l->end = n;
    l->end = &n->next;
}

static void queue(cudaStream_t face, void (*run)(const void *what), const void *what, size_t bytes)
{
    struct stream *s = (struct stream *)face;
    put(s->recording != NULL ? &s->recording->nodes : &s->nodes, run, what, bytes);
    s->queued += s->recording == NULL;
}

static void run_until(struct stream *s, size_t at)
{
    while (s->done < at) {
        struct node *n = s->nodes.first;
        s->nodes.first = n->next;
        s->done++;
        n->run(n->what);
        free(n);
    }
}

static void finish(cudaStream_t face)
{
    run_until((struct stream *)face, ((struct stream *)face)->queued);
}

/* --- streams -------------------------------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    struct stream *s = calloc(1, sizeof *s);
    (void)flags;
    if (s == NULL) return cudaErrorMemoryAllocation;
    s->face = (struct emulated_stream){emulated_device_open, emulated_device_close, queue, finish, false};
    *out = &s->face;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    finish(s);
    free(s);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    if (((struct stream *)s)->recording != NULL) return cudaErrorStreamCaptureUnsupported;
    emulated.waits++;
    finish(s);
    return cudaSuccess;
}

/* --- events --------------------------------------------------------------------------------------------------------- */

struct emulated_event {
    struct stream *of; /* NULL: never recorded */
    size_t at;
};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    (void)flags;
    *e = calloc(1, sizeof **e);
    return *e != NULL ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    free(e);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    struct stream *of = (struct stream *)s;
    if (of->recording != NULL)
        return cudaErrorStreamCaptureUnsupported; /* CUDA takes it, in a meaning that nobody wants here */
    e->of = of;
    e->at = of->queued;
    return cudaSuccess;
}

static void reach(const void *what)
{
    const struct emulated_event *e = what;
    if (e->of != NULL) run_until(e->of, e->at);
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    emulated.waits++;
    reach(e);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    reach(e);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags)
{
    (void)flags;
    if (((struct stream *)s)->recording != NULL) return cudaErrorStreamCaptureUnsupported;
    queue(s, reach, e, sizeof *e);
    return cudaSuccess;
}

/* --- recordings ----------------------------------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t face, enum cudaStreamCaptureMode mode)
{
    struct stream *s = (struct stream *)face;
    const char *fault = getenv("FRESHET_EMULATED_FAULT");
    (void)mode;
    if (s->recording != NULL || (fault != NULL && strcmp(fault, "capture") == 0))
        return cudaErrorStreamCaptureUnsupported;
    s->recording = calloc(1, sizeof *s->recording);
    if (s->recording == NULL) return cudaErrorMemoryAllocation;
    s->recording->held = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t face, cudaGraph_t *g)
{
    struct stream *s = (struct stream *)face;
    *g = s->recording;
    s->recording = NULL;
    return *g != NULL ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t g, unsigned long long flags)
{
    (void)flags;
    g->held++;
    *ready = g;
    emulated.recordings++;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    if (--g->held > 0) return cudaSuccess;
    for (struct node *n = g->nodes.first, *next; n != NULL; n = next) {
        next = n->next;
        free(n);
    }
    free(g);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready)
{
    return cudaGraphDestroy(ready);
}

struct play {
    struct emulated_graph *graph;
    cudaStream_t on;
};

static void play(const void *what)
{
    const struct play *p = what;
    p->on->playing = true;
    for (const struct node *n = p->graph->nodes.first; n != NULL; n = n->next) n->run(n->what);
    p->on->playing = false;
    (void)cudaGraphDestroy(p->graph);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t s)
{
    const struct play p = {ready, s};
    ready->held++;
    emulated.plays++;
    queue(s, play, &p, sizeof p);
    return cudaSuccess;
}

/* --- copies --------------------------------------------------------------------------------------------------------- */

static struct pinned {
    struct pinned *next;
    char *at;
    size_t bytes;
} * pinned_first;
static pthread_mutex_t pinned_lock = PTHREAD_MUTEX_INITIALIZER;

/* Filled with what is no number, as device memory. */
cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    struct pinned *new = calloc(1, sizeof *new);
    *p = malloc(bytes);
    if (new == NULL || *p == NULL) abort();
    memset(*p, 0xff, bytes);
    emulated.pinned_rooms++;
    (void)pthread_mutex_lock(&pinned_lock);
    *new = (struct pinned){pinned_first, *p, bytes};
    pinned_first = new;
    (void)pthread_mutex_unlock(&pinned_lock);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    (void)pthread_mutex_lock(&pinned_lock);
    struct pinned **at = &pinned_first;
    while (*at != NULL && (*at)->at != p) at = &(*at)->next;
    struct pinned *gone = *at;
    if (gone == NULL) abort(); /* it was no such memory */
    *at = gone->next;
    (void)pthread_mutex_unlock(&pinned_lock);
    memset(p, 0xff, gone->bytes); /* who reads it still gets wrong numbers */
    free(gone);
    free(p);
    return cudaSuccess;
}

static bool is_pinned(const void *p)
{
    bool found = false;
    (void)pthread_mutex_lock(&pinned_lock);
    for (const struct pinned *q = pinned_first; q != NULL && !found; q = q->next)
        found = (const char *)p >= q->at && (const char *)p < q->at + q->bytes;
    (void)pthread_mutex_unlock(&pinned_lock);
    return found;
}

struct copying {
    void *to;
    const void *from; /* NULL: what follows this struct */
    size_t bytes;
};

static void copy(const void *what)
{
    const struct copying *c = what;
    emulated_device_open();
    memmove(c->to, c->from != NULL ? c->from : (const void *)(c + 1), c->bytes);
    emulated_device_close();
}

static void copy_what_stands_there(cudaStream_t s, const struct copying *c)
{
    struct copying *with = calloc(1, sizeof *with + c->bytes);
    if (with == NULL) abort();
    *with = (struct copying){c->to, NULL, c->bytes};
    memcpy(with + 1, c->from, c->bytes);
    queue(s, copy, with, sizeof *with + c->bytes);
    free(with);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    const struct copying c = {to, from, bytes};
    const void *host = kind == cudaMemcpyHostToDevice ? from : to;
    const bool loose = kind != cudaMemcpyDeviceToDevice && !is_pinned(host);
    if (loose && ((struct stream *)s)->recording != NULL) return cudaErrorStreamCaptureUnsupported;
    emulated.up += kind == cudaMemcpyHostToDevice;
    emulated.down += kind == cudaMemcpyDeviceToHost;
    emulated.between += kind == cudaMemcpyDeviceToDevice;
    if (loose && kind == cudaMemcpyHostToDevice) {
        copy_what_stands_there(s, &c);
        return cudaSuccess;
    }
    queue(s, copy, &c, sizeof c);
    if (loose) return cudaStreamSynchronize(s);
    return cudaSuccess;
}

struct setting {
    void *p;
    int value;
    size_t bytes;
};

static void set(const void *what)
{
    const struct setting *q = what;
    emulated_device_open();
    memset(q->p, q->value, q->bytes);
    emulated_device_close();
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    const struct setting q = {p, value, bytes};
    emulated.between++;
    queue(s, set, &q, sizeof q);
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
