/* kept.cu - rows of bfloat16 that stay on the device: frozen states, of which every list asks for those of its user and of items that
 * lists before it had (the host has them all: what leaves here is still there, model/state.h).
 *
 * A block of the device's memory is cut into places of one row each; a table on the host knows whose they are.  What is missing goes
 * up on a stream of its own, beside what the kernels do: packed in pinned memory, one copy, and a kernel there that puts rows into
 * their places; an event holds back what is put on the main stream from then on.  A place that changes hands may be read by
 * what was put and nobody has waited for: only then is all of that issued first, and the copy waits for it.  Moves 2C bytes over the bus a
 * missing row, and 6C in memory a row.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AREAS 2
#define AREA_BYTES ((size_t)2 << 20) /* of pinned memory: what goes up in one copy */
#define ALIGN ((size_t)256)
#define SHARE 32 /* of the device's block one struct kern keeps no more than 1/SHARE: threads have one each, and models need room */
#define NOBODY (-1)

struct cuda_kept {
    size_t C, places, taken, hand, mask;
    uint16_t *rows; /* device memory: (places, C) */
    char *inbox;    /* likewise, one area */
    uint64_t *key, *asked;
    bool *again;           /* asked for since the hand was there */
    int32_t *next, *first; /* chains of places by key: (places), (mask + 1) */
    uint64_t asks, done;   /* how often find was called; what up to there was found has been read */
    bool unread;           /* what was found last, by nothing that was put */
    cudaStream_t stream;
    cudaEvent_t there, read, left[AREAS];
    char *area[AREAS];
    bool busy[AREAS];
    int at;                           /* the area to fill */
    size_t filled, room, rows_offset; /* rows in it, at most; where they begin behind their places */
    struct kern_kept_stats stats;
};

/* --- opening and closing ------------------------------------------------------------------------------------------------ */

static void give_back(struct cuda_kept *q)
{
    if (q == NULL) return;
    if (q->stream != NULL) (void)cudaStreamSynchronize(q->stream);
    for (int i = 0; i < AREAS; i++) {
        if (q->left[i] != NULL) (void)cudaEventDestroy(q->left[i]);
        if (q->area[i] != NULL) (void)cudaFreeHost(q->area[i]);
    }
    if (q->there != NULL) (void)cudaEventDestroy(q->there);
    if (q->read != NULL) (void)cudaEventDestroy(q->read);
    if (q->stream != NULL) (void)cudaStreamDestroy(q->stream);
    cuda_memory_give(q->rows);
    cuda_memory_give(q->inbox);
    free(q->key);
    free(q->asked);
    free(q->again);
    free(q->next);
    free(q->first);
    free(q);
}

void cuda_kept_close(struct cuda *c)
{
    give_back(c->kept);
    c->kept = NULL;
}

static bool make_table(struct cuda_kept *q)
{
    while (q->mask + 1 < 2 * q->places) q->mask = 2 * q->mask + 1;
    q->key = (uint64_t *)calloc(q->places, sizeof *q->key);
    q->asked = (uint64_t *)calloc(q->places, sizeof *q->asked);
    q->again = (bool *)calloc(q->places, sizeof *q->again);
    q->next = (int32_t *)calloc(q->places, sizeof *q->next);
    q->first = (int32_t *)malloc((q->mask + 1) * sizeof *q->first);
    if (q->key == NULL || q->asked == NULL || q->again == NULL || q->next == NULL || q->first == NULL) return false;
    for (size_t i = 0; i <= q->mask; i++) q->first[i] = NOBODY;
    return true;
}

static bool make_stream(struct cuda_kept *q)
{
    bool good = cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking) == cudaSuccess &&
                cudaEventCreateWithFlags(&q->there, cudaEventDisableTiming) == cudaSuccess &&
                cudaEventCreateWithFlags(&q->read, cudaEventDisableTiming) == cudaSuccess;
    for (int i = 0; i < AREAS && good; i++)
        good = cudaMallocHost((void **)&q->area[i], AREA_BYTES) == cudaSuccess &&
               cudaEventCreateWithFlags(&q->left[i], cudaEventDisableTiming) == cudaSuccess;
    return good;
}

static struct cuda_kept *make(size_t bytes, size_t C)
{
    struct cuda_kept *q = (struct cuda_kept *)calloc(1, sizeof *q);
    const size_t row = C * sizeof *q->rows;
    if (q == NULL) return NULL;
    q->C = C;
    q->places = bytes / row < INT32_MAX ? bytes / row : INT32_MAX;
    q->room = (AREA_BYTES - ALIGN) / (row + sizeof(int32_t));
    q->rows_offset = (q->room * sizeof(int32_t) + ALIGN - 1) / ALIGN * ALIGN;
    q->rows = (uint16_t *)cuda_memory_take(q->places * row);
    q->inbox = (char *)cuda_memory_take(AREA_BYTES);
    if (q->places >= 2 && q->room > 0 && q->rows != NULL && q->inbox != NULL && make_table(q) && make_stream(q)) return q;
    (void)cudaGetLastError();
    give_back(q);
    return NULL;
}

/* What keeps rows of C numbers; NULL: nothing does. */
static struct cuda_kept *need(struct cuda *c, size_t C)
{
    if (c->kept == NULL && c->kept_mb > 0 && C > 0) {
        cuda_memory_here();
        const size_t bytes = c->kept_mb << 20, most = cuda_memory_bytes() / SHARE;
        c->kept = make(bytes < most ? bytes : most, C);
        if (c->kept == NULL)
            (void)fprintf(stderr, "freshet: cuda: no memory for kernels.device_cache_mb=%zu: frozen states go up each time\n", c->kept_mb);
        if (c->kept == NULL) c->kept_mb = 0;
    }
    return c->kept != NULL && c->kept->C == C ? c->kept : NULL;
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

static int32_t *chain_of(const struct cuda_kept *q, uint64_t key)
{
    return &q->first[(key ^ key >> 32) & q->mask];
}

static int32_t look_up(const struct cuda_kept *q, uint64_t key)
{
    int32_t at = *chain_of(q, key);
    while (at != NOBODY && q->key[at] != key) at = q->next[at];
    return at;
}

static void take_out(struct cuda_kept *q, int32_t place)
{
    int32_t *at = chain_of(q, q->key[place]);
    while (*at != place) at = &q->next[*at];
    *at = q->next[place];
    q->stats.left++;
}

/* A place of nobody, or of one that was not asked for since the hand came by; at most half of them are in use at once. */
static int32_t free_place(struct cuda_kept *q)
{
    if (q->taken < q->places) return (int32_t)q->taken++;
    for (;;) {
        const size_t at = q->hand;
        q->hand = (at + 1) % q->places;
        if (q->asked[at] != q->asks && !q->again[at]) {
            take_out(q, (int32_t)at);
            return (int32_t)at;
        }
        q->again[at] = false;
    }
}

static int32_t add(struct cuda_kept *q, uint64_t key)
{
    const int32_t place = free_place(q);
    int32_t *chain = chain_of(q, key);
    q->key[place] = key;
    q->next[place] = *chain;
    q->again[place] = false;
    *chain = place;
    q->stats.misses++;
    return place;
}

/* --- going up ----------------------------------------------------------------------------------------------------------- */

struct keeping {
    uint16_t *kept;
    const uint16_t *rows;
    const int32_t *place;
    size_t n, C;
};

KERNEL(k_keep, struct keeping)
{
    const size_t n = THREAD / a.C, i = THREAD % a.C;
    if (n < a.n) a.kept[(size_t)a.place[n] * a.C + i] = a.rows[THREAD];
}

/* What is in the area, on the stream of copies. */
static void send(struct cuda *c)
{
    struct cuda_kept *q = c->kept;
    const size_t n = q->filled;
    if (n == 0) return;
    const struct keeping a = {q->rows, (const uint16_t *)(const void *)(q->inbox + q->rows_offset), (const int32_t *)(const void *)q->inbox, n, q->C};
    const dim3 grid = {(unsigned)launch_blocks(n * q->C, BLOCK), 1, 1}, block = {BLOCK, 1, 1};
    void *args[] = {(void *)(uintptr_t)&a};
    const size_t bytes = q->rows_offset + n * q->C * sizeof *q->rows;
    cuda_check(c, cudaMemcpyAsync(q->inbox, q->area[q->at], bytes, cudaMemcpyHostToDevice, q->stream), "upload of rows");
    cuda_check(c, cudaLaunchKernel(LAUNCH_OF(k_keep), grid, block, args, 0, q->stream), "k_keep");
    cuda_check(c, cudaEventRecord(q->left[q->at], q->stream), "upload of rows");
    q->busy[q->at] = true;
    q->at = (q->at + 1) % AREAS;
    q->filled = 0;
}

static void bring(struct cuda *c, int32_t place, const uint16_t *row)
{
    struct cuda_kept *q = c->kept;
    if (q->busy[q->at] && cudaEventQuery(q->left[q->at]) != cudaSuccess)
        cuda_check(c, cudaEventSynchronize(q->left[q->at]), "upload of rows");
    q->busy[q->at] = false;
    char *area = q->area[q->at];
    memcpy(area + q->filled * sizeof place, &place, sizeof place);
    memcpy(area + q->rows_offset + q->filled * q->C * sizeof *row, row, q->C * sizeof *row);
    if (++q->filled == q->room) send(c);
}

/* All that was put reads what it is to read before anything is written from now on. */
static void after_readers(struct cuda *c)
{
    struct cuda_kept *q = c->kept;
    cuda_flush(c);
    cuda_check(c, cudaEventRecord(q->read, c->stream), "rows that are read");
    cuda_check(c, cudaStreamWaitEvent(q->stream, q->read, 0), "rows that are read");
    q->done = q->asks - 1;
}

static void bring_missing(struct cuda *c, int32_t *place, const uint64_t *key, const uint16_t *const *row, size_t n)
{
    struct cuda_kept *q = c->kept;
    const uint64_t before = q->stats.misses;
    for (size_t i = 0; i < n; i++) {
        if (place[i] == NOBODY) place[i] = look_up(q, key[i]); /* the same row twice */
        if (place[i] != NOBODY) continue;
        place[i] = add(q, key[i]);
        if (q->asked[place[i]] > q->done) after_readers(c);
        q->asked[place[i]] = q->asks;
        bring(c, place[i], row[i]);
    }
    send(c);
    if (q->stats.misses == before) return;
    cuda_check(c, cudaEventRecord(q->there, q->stream), "rows that came");
    cuda_check(c, cudaStreamWaitEvent(c->stream, q->there, 0), "rows that came");
}

/* --- the operations ----------------------------------------------------------------------------------------------------- */

static bool find(struct kern *k, int32_t *place, const uint64_t *key, const uint16_t *const *row, size_t n, size_t C)
{
    struct cuda *c = cuda_of(k);
    struct cuda_kept *q = need(c, C);
    if (q == NULL || n > q->places / 2) return false;
    cuda_memory_here();
    q->asks++;
    q->unread = true;
    for (size_t i = 0; i < n; i++) {
        place[i] = look_up(q, key[i]);
        if (place[i] == NOBODY) continue;
        q->asked[place[i]] = q->asks;
        q->again[place[i]] = true;
        q->stats.hits++;
    }
    bring_missing(c, place, key, row, n);
    return true;
}

struct widening {
    float *out;
    const uint16_t *kept;
    const int32_t *place;
    size_t n, C;
};

KERNEL(k_widen_kept, struct widening)
{
    const size_t n = THREAD / a.C, i = THREAD % a.C;
    if (n < a.n) a.out[THREAD] = bf16_value(a.kept[(size_t)a.place[n] * a.C + i]);
}

static void widen(struct kern *k, float *out, const int32_t *place, size_t n, size_t C)
{
    struct cuda *c = cuda_of(k);
    const struct widening a = {out, c->kept->rows, place, n, C};
    if (n > 0) LAUNCH(c, k_widen_kept, launch_blocks(n * C, BLOCK), BLOCK, &a);
    c->kept->unread = false;
}

void cuda_kept_waited(struct cuda *c)
{
    if (c->kept != NULL && !c->kept->unread) c->kept->done = c->kept->asks;
}

static struct kern_kept_stats stats(const struct kern *k)
{
    const struct cuda *c = cuda_of(k);
    const struct kern_kept_stats none = {0, 0, 0};
    return c->kept != NULL ? c->kept->stats : none;
}

const struct kern_kept cuda_kept = {find, widen, stats};
