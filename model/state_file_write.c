/* state_file_write.c - writing: records as they come, then the index, then the header; whole or not at all. */
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/state_file_format.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_BYTES = 1 << 20, LEAST_PLACES = 1024 };

struct state_file_writer {
    int dir, fd;
    char name[STATE_FILE_NAME_MAX], temporary[STATE_FILE_NAME_MAX + 8];
    struct state_file_head head;     /* n: so far */
    uint64_t at;                     /* of the next record */
    struct buf out;                  /* not written yet */
    struct state_file_place *places; /* (cap), open addressing; at 0: free */
    size_t cap;                      /* a power of two */
};

/* --- which sentences are there ------------------------------------------------------------------------------------ */

static size_t slot_of(const struct state_file_place *places, size_t cap, uint64_t hash)
{
    size_t i = (size_t)(hash_mix(hash, 1) & (cap - 1));
    while (places[i].at != 0 && places[i].hash != hash) i = (i + 1) & (cap - 1);
    return i;
}

bool state_file_added(const struct state_file_writer *w, uint64_t hash)
{
    return w->places[slot_of(w->places, w->cap, hash)].at != 0;
}

static enum status room_for_one(struct state_file_writer *w, struct err *e)
{
    if (2 * (w->head.n + 1) <= w->cap) return STATUS_OK;
    const size_t cap = w->cap > 0 ? 2 * w->cap : LEAST_PLACES;
    struct state_file_place *wider = mem_calloc(cap, sizeof *wider);
    if (wider == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for an index of %zu sentences", w->name, cap / 2);
    for (size_t i = 0; i < w->cap; i++)
        if (w->places[i].at != 0) wider[slot_of(wider, cap, w->places[i].hash)] = w->places[i];
    mem_free(w->places);
    w->places = wider;
    w->cap = cap;
    return STATUS_OK;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

/* The temporary file, ours alone; the one that another process has just put in place is not it any more. */
static enum status open_temporary(struct state_file_writer *w, struct err *e)
{
    struct stat ours, named;
    w->fd = openat(w->dir, w->temporary, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (w->fd < 0) return file_failed(e, w->temporary, "be created", errno);
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0 || fstat(w->fd, &ours) != 0 ||
        fstatat(w->dir, w->temporary, &named, 0) != 0 || ours.st_ino != named.st_ino) {
        (void)close(w->fd);
        w->fd = -1; /* not ours to remove */
        return ERR_SET(e, STATUS_CONFLICT, "%s: another process is making this file; wait until it is done", w->name);
    }
    return ftruncate(w->fd, 0) == 0 ? STATUS_OK : file_failed(e, w->temporary, "be emptied", errno);
}

static enum status flush(struct state_file_writer *w, struct err *e)
{
    TRY(buf_status(&w->out, e));
    TRY(file_write_all(w->fd, w->out.p, w->out.n, w->temporary, e));
    buf_clear(&w->out);
    return STATUS_OK;
}

enum status state_file_create(struct state_file_writer **out, const char *dir, const struct state_file_kind *k,
                              uint64_t probe, struct err *e)
{
    enum status st;
    *out = NULL;
    struct state_file_writer *w = mem_calloc(1, sizeof *w);
    if (w == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory to write states", dir);
    w->dir = w->fd = -1;
    w->head = (struct state_file_head){.magic = {'F', 'R', 'S', 'T'},
                                       .format = STATE_FILE_FORMAT,
                                       .key = k->key,
                                       .base = k->base,
                                       .width = k->width,
                                       .mid = k->mid,
                                       .tokens = k->tokens,
                                       .precision = k->precision,
                                       .probe = probe};
    w->at = sizeof w->head;
    state_file_name(w->name, k);
    (void)snprintf(w->temporary, sizeof w->temporary, "%s.tmp", w->name);
    TRY_OUT(st, room_for_one(w, e));
    TRY_OUT(st, file_open_dir(&w->dir, AT_FDCWD, dir, true, e));
    TRY_OUT(st, open_temporary(w, e));
    buf_put(&w->out, &w->head, sizeof w->head); /* its place; what stands there is written last */
    TRY_OUT(st, buf_status(&w->out, e));
    *out = w;
    w = NULL;
out:
    state_file_writer_free(w);
    return st;
}

enum status state_file_add(struct state_file_writer *w, uint64_t hash, const struct record_state *s, struct err *e)
{
    const size_t C = w->head.width, start = w->out.n + sizeof(struct state_file_record);
    const uint32_t n = w->head.tokens ? s->n_tokens : 0;
    if (s->width != C || (w->head.tokens && n == 0))
        return ERR_SET(e, STATUS_INVALID, "%s: states of width %u with %u tokens; its own have width %zu%s", w->name,
                       s->width, s->n_tokens, C, w->head.tokens ? " and token states" : "");
    if (state_file_added(w, hash)) return STATUS_OK;
    TRY(room_for_one(w, e));
    const struct state_file_record r = {.hash = hash, .n_tokens = n};
    buf_put(&w->out, &r, sizeof r);
    buf_put(&w->out, s->pooled, C * sizeof(uint16_t));
    buf_put(&w->out, s->final, C * sizeof(uint16_t));
    if (n > 0) buf_put(&w->out, s->tokens, n * C * sizeof(uint16_t));
    TRY(buf_status(&w->out, e));
    buf_u64(&w->out, state_file_record_check(w->head.key, &r, w->out.p + start, w->out.n - start));
    TRY(buf_status(&w->out, e));
    w->places[slot_of(w->places, w->cap, hash)] = (struct state_file_place){hash, w->at};
    w->head.n++;
    w->at += sizeof r + state_file_numbers_bytes(w->head.width, n) + sizeof(uint64_t);
    return w->out.n >= OUT_BYTES ? flush(w, e) : STATUS_OK;
}

/* --- its end ------------------------------------------------------------------------------------------------------ */

static int by_hash(const void *a, const void *b)
{
    const struct state_file_place *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* The places close together and sorted: of no use as a table any more. */
static void sort_places(struct state_file_writer *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->cap; i++)
        if (w->places[i].at != 0) w->places[n++] = w->places[i];
    qsort(w->places, n, sizeof *w->places, by_hash);
}

static enum status write_ends(struct state_file_writer *w, struct err *e)
{
    struct state_file_head *h = &w->head;
    const size_t bytes = (size_t)h->n * sizeof *w->places;
    TRY(flush(w, e));
    sort_places(w);
    h->index_at = w->at;
    h->index_check = hash_bytes(w->places, bytes);
    h->check = state_file_head_check(h);
    TRY(file_write_all(w->fd, w->places, bytes, w->temporary, e));
    if (lseek(w->fd, 0, SEEK_SET) != 0) return file_failed(e, w->temporary, "be written", errno);
    TRY(file_write_all(w->fd, h, sizeof *h, w->temporary, e));
    return fsync(w->fd) == 0 ? STATUS_OK : file_failed(e, w->temporary, "be synced", errno);
}

enum status state_file_commit(struct state_file_writer *w, uint64_t *bytes, struct err *e)
{
    TRY(write_ends(w, e));
    if (renameat(w->dir, w->temporary, w->dir, w->name) != 0)
        return file_failed(e, w->name, "be renamed into place", errno);
    (void)close(w->fd);
    w->fd = -1;
    *bytes = w->at + w->head.n * sizeof *w->places;
    return file_sync_dir(w->dir, "the folder of states", e);
}

void state_file_writer_free(struct state_file_writer *w)
{
    if (w == NULL) return;
    if (w->fd >= 0) {
        (void)unlinkat(w->dir, w->temporary, 0);
        (void)close(w->fd);
    }
    if (w->dir >= 0) (void)close(w->dir);
    buf_fini(&w->out);
    mem_free(w->places);
    mem_free(w);
}
