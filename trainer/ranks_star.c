/* ranks_star.c - what goes over the links: rank 0 in the middle takes everybody's part of an operation, in the order of ranks,
 * and gives all of them the result.
 *
 * A sum travels in chunks: while rank 0 still receives the later ones, the others have the earlier ones back.  They send and
 * receive at once, so that nobody waits for room in a socket that only the other side could make.
 */
#include "trainer/ranks_private.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TELL_MS = 500, TEXT_MAX = 399 };

int64_t ranks_patience_ms(const struct ranks *r)
{
    return r->rank == 0 ? r->timeout_ms
                        : r->timeout_ms + r->timeout_ms / 8 + TELL_MS; /* rank 0 is to say who it waits for */
}

/* --- failures ------------------------------------------------------------------------------------------------------ */

/* ranks_close may be about to cut them. */
static void drop(struct ranks *r, int rank)
{
    (void)pthread_mutex_lock(&r->lock);
    ranks_hang_up(&r->links[rank]);
    (void)pthread_mutex_unlock(&r->lock);
}

/* Who does not listen finds the link closed. */
static void tell(struct ranks *r, int rank, const char *text)
{
    const size_t n = strlen(text);
    const int fd = r->links[rank];
    if (fd < 0) return;
    if (ranks_send_frame(fd, RANKS_FAIL, r->ordinal, n, TELL_MS, NULL) == STATUS_OK &&
        ranks_send(fd, text, n, TELL_MS, NULL) == STATUS_OK)
        ranks_say_goodbye(fd, TELL_MS);
    drop(r, rank);
}

/* What a rank said before it closed the link. */
static bool last_words(struct ranks *r, int rank, char text[TEXT_MAX + 1])
{
    struct ranks_frame f;
    const int fd = r->links[rank];
    if (fd < 0 || ranks_receive(fd, &f, sizeof f, TELL_MS, NULL) != STATUS_OK || f.magic != RANKS_MAGIC) return false;
    if (f.kind != RANKS_FAIL || f.bytes > TEXT_MAX) return false;
    text[f.bytes] = 0;
    return ranks_receive(fd, text, (size_t)f.bytes, TELL_MS, NULL) == STATUS_OK;
}

enum status ranks_fail(struct ranks *r, enum status st, const char *fmt, ...)
{
    char text[TEXT_MAX + 1];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (int i = 0; i < r->n; i++) tell(r, i, text);
    (void)pthread_mutex_lock(&r->lock);
    r->failed = st;
    (void)ERR_SET(&r->error, st, "%s", text);
    (void)pthread_mutex_unlock(&r->lock);
    return st;
}

enum status ranks_lost(struct ranks *r, int rank, enum status st, const struct err *why)
{
    const unsigned long long at = r->ordinal;
    char text[TEXT_MAX + 1];
    const bool told = st == STATUS_END && last_words(r, rank, text);
    if (st != STATUS_AGAIN) drop(r, rank); /* who hangs is to find out why it was left */
    if (told) return ranks_fail(r, STATUS_IO, "%s", text);
    if (st == STATUS_END)
        return ranks_fail(
            r, STATUS_IO,
            "rank %d is gone: its connection closed at operation %llu; its last messages say why.  Start all "
            "ranks again: they go on from rank 0's last checkpoint",
            rank, at);
    if (st == STATUS_AGAIN)
        return ranks_fail(
            r, STATUS_IO,
            "rank %d sent nothing to rank %d for %lld ms at operation %llu: it hangs, was stopped, or needs longer "
            "than train.ranks_timeout_ms=%lld; look at it, and start all ranks again",
            rank, r->rank, (long long)ranks_patience_ms(r), at, (long long)r->timeout_ms);
    return ranks_fail(r, STATUS_IO, "the connection of rank %d to rank %d failed at operation %llu: %s", r->rank, rank,
                      at, why->text);
}

/* --- frames -------------------------------------------------------------------------------------------------------- */

enum status ranks_send_frame(int fd, enum ranks_kind kind, uint64_t ordinal, uint64_t bytes, int64_t timeout_ms,
                             struct err *e)
{
    const struct ranks_frame f = {RANKS_MAGIC, (uint32_t)kind, ordinal, bytes};
    return ranks_send(fd, &f, sizeof f, timeout_ms, e);
}

static enum status send_to(struct ranks *r, int rank, const void *p, size_t n)
{
    struct err why = {0};
    const enum status st = ranks_send(r->links[rank], p, n, ranks_patience_ms(r), &why);
    return st == STATUS_OK ? st : ranks_lost(r, rank, st, &why);
}

static enum status receive_from(struct ranks *r, int rank, void *p, size_t n)
{
    struct err why = {0};
    const enum status st = ranks_receive(r->links[rank], p, n, ranks_patience_ms(r), &why);
    return st == STATUS_OK ? st : ranks_lost(r, rank, st, &why);
}

/* The sentence that follows a frame is everybody's failure from now on. */
static enum status told(struct ranks *r, int rank, uint64_t bytes)
{
    char text[TEXT_MAX + 1] = "";
    if (bytes > TEXT_MAX) bytes = TEXT_MAX;
    TRY(receive_from(r, rank, text, (size_t)bytes));
    drop(r, rank);
    return ranks_fail(r, STATUS_IO, "%s", text);
}

static enum status check_frame(struct ranks *r, int rank, const struct ranks_frame *f)
{
    if (f->magic != RANKS_MAGIC)
        return ranks_fail(r, STATUS_CONFLICT,
                          "rank %d is of another version of this program: start all ranks from one build", rank);
    return f->kind == RANKS_FAIL ? told(r, rank, f->bytes) : STATUS_OK;
}

enum status ranks_receive_frame(struct ranks *r, int rank, struct ranks_frame *f)
{
    TRY(receive_from(r, rank, f, sizeof *f));
    return check_frame(r, rank, f);
}

static const char *name_of(uint32_t kind)
{
    return kind == RANKS_SUM ? "a sum" : kind == RANKS_GATHER ? "a record" : "something else";
}

/* *bytes: in, those that it must have (UINT64_MAX: any); out, those it has. */
static enum status expect(struct ranks *r, int rank, enum ranks_kind kind, uint64_t *bytes)
{
    struct ranks_frame f;
    TRY(ranks_receive_frame(r, rank, &f));
    const bool fits = *bytes == UINT64_MAX || f.bytes == *bytes;
    if (f.kind == (uint32_t)kind && f.ordinal == r->ordinal && fits) {
        *bytes = f.bytes;
        return STATUS_OK;
    }
    return ranks_fail(
        r, STATUS_CONFLICT,
        "rank %d is at operation %llu (%s of %llu bytes), rank %d at %llu (%s of %llu): they do not do the same; "
        "give all ranks the same configuration, logs and program, and start them again",
        rank, (unsigned long long)f.ordinal, name_of(f.kind), (unsigned long long)f.bytes, r->rank,
        (unsigned long long)r->ordinal, name_of((uint32_t)kind),
        (unsigned long long)(*bytes == UINT64_MAX ? 0 : *bytes));
}

/* --- sums ---------------------------------------------------------------------------------------------------------- */

static size_t chunk_at(size_t at, size_t n)
{
    return n - at < RANKS_CHUNK ? n - at : RANKS_CHUNK;
}

static void add(float *restrict x, const float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static enum status sum_in_the_middle(struct ranks *r, float *x, size_t n)
{
    for (int k = 1; k < r->n; k++) TRY(expect(r, k, RANKS_SUM, &(uint64_t){n * sizeof *x}));
    for (size_t at = 0, m; at < n; at += m) {
        m = chunk_at(at, n);
        for (int k = 1; k < r->n; k++) {
            TRY(receive_from(r, k, r->chunk, m * sizeof *x));
            add(x + at, r->chunk, m);
        }
        const struct ranks_frame f = {RANKS_MAGIC, RANKS_SUM, r->ordinal, m * sizeof *x};
        for (int k = 1; k < r->n; k++) {
            TRY(send_to(r, k, &f, sizeof f));
            TRY(send_to(r, k, x + at, m * sizeof *x));
        }
    }
    return STATUS_OK;
}

/* Where a rank stands between what it has sent of x and what it has back of it. */
struct exchange {
    unsigned char *x;
    size_t bytes, sent, received, left; /* left: of the chunk that is being received */
    struct ranks_frame f;
    size_t n_frame; /* bytes of it that are there */
};

static enum status take_frame(struct ranks *r, struct exchange *q, size_t moved)
{
    q->n_frame += moved;
    if (q->n_frame < sizeof q->f) return STATUS_OK;
    q->n_frame = 0;
    TRY(check_frame(r, 0, &q->f));
    if (q->f.kind != RANKS_SUM || q->f.ordinal != r->ordinal || q->f.bytes == 0 || q->f.bytes > q->bytes - q->received)
        return ranks_fail(r, STATUS_CONFLICT,
                          "rank 0 answered operation %llu with %s of operation %llu: start all ranks from one build",
                          (unsigned long long)r->ordinal, name_of(q->f.kind), (unsigned long long)q->f.ordinal);
    q->left = (size_t)q->f.bytes;
    return STATUS_OK;
}

static enum status take_some(struct ranks *r, struct exchange *q, struct err *why)
{
    size_t moved;
    if (q->left == 0) {
        TRY(ranks_receive_some(r->links[0], (char *)&q->f + q->n_frame, sizeof q->f - q->n_frame, &moved, why));
        return take_frame(r, q, moved);
    }
    TRY(ranks_receive_some(r->links[0], q->x + q->received, q->left, &moved, why));
    q->received += moved;
    q->left -= moved;
    return STATUS_OK;
}

static enum status exchange_some(struct ranks *r, struct exchange *q, struct err *why)
{
    bool readable, writable;
    size_t moved = 0;
    TRY(ranks_wait(r->links[0], q->sent < q->bytes, &readable, &writable, ranks_patience_ms(r), why));
    if (writable) TRY(ranks_send_some(r->links[0], q->x + q->sent, q->bytes - q->sent, &moved, why));
    q->sent += moved;
    return readable ? take_some(r, q, why) : STATUS_OK;
}

static enum status sum_at_the_rim(struct ranks *r, float *x, size_t n)
{
    struct exchange q = {.x = (unsigned char *)x, .bytes = n * sizeof *x};
    const struct ranks_frame f = {RANKS_MAGIC, RANKS_SUM, r->ordinal, q.bytes};
    TRY(send_to(r, 0, &f, sizeof f));
    while (q.received < q.bytes) {
        struct err why = {0};
        const enum status st = exchange_some(r, &q, &why);
        if (st == STATUS_OK) continue;
        return r->failed != STATUS_OK ? r->failed : ranks_lost(r, 0, st, &why);
    }
    return STATUS_OK;
}

enum status ranks_star_sum(struct ranks *r, float *x, size_t n)
{
    r->ordinal++;
    return r->rank == 0 ? sum_in_the_middle(r, x, n) : sum_at_the_rim(r, x, n);
}

/* --- records ------------------------------------------------------------------------------------------------------- */

static enum status no_room(struct ranks *r, uint64_t bytes)
{
    return ranks_fail(r, STATUS_OOM, "rank %d: no memory for a record of %llu bytes", r->rank,
                      (unsigned long long)bytes);
}

static enum status take_part(struct ranks *r, int rank)
{
    uint64_t bytes = UINT64_MAX;
    TRY(expect(r, rank, RANKS_GATHER, &bytes));
    r->part_at[rank] = r->gathered.n;
    r->part_n[rank] = (size_t)bytes;
    void *room = buf_room(&r->gathered, (size_t)bytes);
    return room != NULL ? receive_from(r, rank, room, (size_t)bytes) : no_room(r, bytes);
}

static enum status gather_in_the_middle(struct ranks *r, const void *p, size_t n)
{
    r->part_at[0] = 0;
    r->part_n[0] = n;
    buf_put(&r->gathered, p, n);
    if (r->gathered.oom) return no_room(r, n);
    for (int k = 1; k < r->n; k++) TRY(take_part(r, k));
    const struct ranks_frame f = {RANKS_MAGIC, RANKS_GATHER, r->ordinal, r->gathered.n};
    uint64_t sizes[RANKS_MAX];
    for (int k = 0; k < r->n; k++) sizes[k] = r->part_n[k];
    for (int k = 1; k < r->n; k++) {
        TRY(send_to(r, k, &f, sizeof f));
        TRY(send_to(r, k, sizes, (size_t)r->n * sizeof *sizes));
        TRY(send_to(r, k, r->gathered.p, r->gathered.n));
    }
    return STATUS_OK;
}

static enum status gather_at_the_rim(struct ranks *r, const void *p, size_t n)
{
    const struct ranks_frame f = {RANKS_MAGIC, RANKS_GATHER, r->ordinal, n};
    uint64_t bytes = UINT64_MAX, sizes[RANKS_MAX];
    TRY(send_to(r, 0, &f, sizeof f));
    TRY(send_to(r, 0, p, n));
    TRY(expect(r, 0, RANKS_GATHER, &bytes));
    TRY(receive_from(r, 0, sizes, (size_t)r->n * sizeof *sizes));
    size_t at = 0;
    for (int k = 0; k < r->n; at += r->part_n[k++]) {
        r->part_at[k] = at;
        r->part_n[k] = (size_t)sizes[k];
    }
    if (at != bytes) return ranks_fail(r, STATUS_CONFLICT, "rank 0 sent a record of another length than it said");
    void *room = buf_room(&r->gathered, (size_t)bytes);
    return room != NULL ? receive_from(r, 0, room, (size_t)bytes) : no_room(r, bytes);
}

enum status ranks_star_gather(struct ranks *r, const void *p, size_t n)
{
    r->ordinal++;
    buf_clear(&r->gathered);
    return r->rank == 0 ? gather_in_the_middle(r, p, n) : gather_at_the_rim(r, p, n);
}
