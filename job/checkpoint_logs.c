/* checkpoint_logs.c - which log files a state folder has learnt, so that a replay goes on where it stopped.
 *
 * `replay A B` that was killed goes on inside A B; `replay A`, then `replay B`, reads B as what comes after A; a log given
 * again is not learnt twice, and one that grew (given by itself) is learnt from where it had ended.
 */
#include "base/hash.h"
#include "job/checkpoint_private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENDS_BYTES = 4096 };

/* The hash of the file's first bytes, n of them; 0 of them for a pipe, which can be read only once. */
struct head {
    const char *path;
    uint64_t hash, size;
    size_t n;
};

static enum status hash_at(int fd, const char *path, uint64_t from, size_t want, uint64_t *hash, size_t *n,
                           struct err *e)
{
    unsigned char bytes[ENDS_BYTES] = {0};
    ssize_t got = 1;
    *n = 0;
    while (*n < want && got > 0) {
        got = pread(fd, bytes + *n, want - *n, (off_t)(from + *n));
        if (got > 0) *n += (size_t)got;
    }
    *hash = hash_bytes(bytes, *n);
    return got < 0 ? ERR_SET(e, STATUS_IO, "log file %s: %s", path, strerror(errno)) : STATUS_OK;
}

/* The hash of `want` bytes at `from`; *size 0 when it is no file that can be read twice. */
static enum status hash_part(const char *path, uint64_t from, size_t want, uint64_t *hash, size_t *n, uint64_t *size,
                             struct err *e)
{
    struct stat s;
    enum status st = STATUS_OK;
    *n = 0;
    *size = 0;
    if (strcmp(path, "-") == 0) return STATUS_OK;
    if (stat(path, &s) != 0) return ERR_SET(e, STATUS_IO, "log file %s: %s", path, strerror(errno));
    if (S_ISDIR(s.st_mode)) return ERR_SET(e, STATUS_IO, "log file %s: %s", path, strerror(EISDIR));
    if (!S_ISREG(s.st_mode)) return STATUS_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ERR_SET(e, STATUS_IO, "log file %s: %s", path, strerror(errno));
    *size = (uint64_t)s.st_size;
    st = hash_at(fd, path, from, want, hash, n, e);
    (void)close(fd);
    return st;
}

static enum status read_head(const char *path, struct head *h, struct err *e)
{
    *h = (struct head){.path = path};
    return hash_part(path, 0, ENDS_BYTES, &h->hash, &h->n, &h->size, e);
}

static enum status read_tail(const char *path, uint64_t end, uint64_t *hash, struct err *e)
{
    const size_t want = end < ENDS_BYTES ? (size_t)end : ENDS_BYTES;
    size_t n;
    uint64_t size;
    return hash_part(path, end - want, want, hash, &n, &size, e);
}

/* Is the file (or has it grown from) this known log? */
static enum status is_log(const struct checkpoint_log *known, const struct head *h, bool *is, struct err *e)
{
    uint64_t hash = h->hash, size;
    size_t n = h->n;
    *is = known->n > 0 && known->n <= h->n && known->size <= h->size;
    if (!*is) return STATUS_OK;
    if (known->n < h->n) TRY(hash_part(h->path, 0, known->n, &hash, &n, &size, e));
    *is = n == known->n && hash == known->hash;
    if (!*is || known->size == 0) return STATUS_OK;
    TRY(read_tail(h->path, known->size, &hash, e));
    *is = hash == known->tail;
    return STATUS_OK;
}

/* *at: the known log that the file is; n_known when none. */
static enum status find(const struct checkpoint_log *known, uint32_t n_known, const struct head *h, uint32_t *at,
                        struct err *e)
{
    bool is = false;
    for (*at = 0; *at < n_known; ++*at) {
        TRY(is_log(&known[*at], h, &is, e));
        if (is) break;
    }
    return STATUS_OK;
}

/* The same logs in the same order as those of the last replay? */
static enum status same_logs(const struct checkpoint *cp, const char *const *paths, size_t n, bool *same, struct err *e)
{
    struct head h;
    *same = n == cp->n_now && n > 0;
    for (size_t i = 0; *same && i < n; i++) {
        TRY(read_head(paths[i], &h, e));
        *same = h.n == 0;
        if (cp->now[i].n > 0) TRY(is_log(&cp->now[i], &h, same, e));
        if (cp->now_ended && h.n == 0) *same = false; /* a pipe again: new data */
    }
    return STATUS_OK;
}

static enum status retire_logs(struct checkpoint *cp, uint64_t next, struct err *e)
{
    if (cp->n_now == 1) cp->now[0].records = next - cp->base;
    for (uint32_t i = 0; i < cp->n_now; i++) {
        if (cp->now[i].n == 0) continue;
        if (cp->n_done == CHECKPOINT_LOGS_MAX)
            return ERR_SET(e, STATUS_FULL, "state folder %s remembers %d logs at most", cp->dir, CHECKPOINT_LOGS_MAX);
        cp->done[cp->n_done++] = cp->now[i];
    }
    cp->n_now = 0;
    cp->now_ended = false;
    return STATUS_OK;
}

/* A log that was learnt by itself before: only what it has grown by since is new. */
static enum status resume_log(struct checkpoint *cp, const char *path, uint64_t next, bool *again, struct err *e)
{
    struct head h;
    uint32_t i;
    TRY(read_head(path, &h, e));
    TRY(find(cp->done, cp->n_done, &h, &i, e));
    *again = i < cp->n_done && cp->done[i].records > 0 && cp->done[i].records <= next;
    if (!*again) return STATUS_OK;
    cp->base = next - cp->done[i].records;
    cp->now_paths[cp->n_now] = path;
    cp->now[cp->n_now++] = cp->done[i];
    memmove(&cp->done[i], &cp->done[i + 1], (cp->n_done - i - 1) * sizeof cp->done[0]);
    cp->n_done--;
    return STATUS_OK;
}

static enum status begin_logs(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, struct err *e)
{
    struct head h;
    uint32_t at;
    for (size_t i = 0; i < n; i++) {
        TRY(read_head(paths[i], &h, e));
        TRY(find(cp->done, cp->n_done, &h, &at, e));
        use[i] = at == cp->n_done;
        if (!use[i]) continue;
        if (cp->n_now == CHECKPOINT_LOGS_MAX)
            return ERR_SET(e, STATUS_FULL, "%zu log files, at most %d", n, CHECKPOINT_LOGS_MAX);
        cp->now_paths[cp->n_now] = paths[i];
        cp->now[cp->n_now++] = (struct checkpoint_log){.hash = h.hash, .n = (uint32_t)h.n};
    }
    return STATUS_OK;
}

/* The logs of a replay that was cut off go on where they stopped. */
static void go_on(struct checkpoint *cp, const char *const *paths, size_t n, bool *use)
{
    for (size_t i = 0; i < n; i++) {
        use[i] = true;
        cp->now_paths[i] = paths[i];
    }
    cp->now_ended = false;
}

static enum status not_amid(const struct checkpoint *cp, struct err *e)
{
    if (cp->n_now == 0 || cp->now_ended) return STATUS_OK;
    return ERR_SET(
        e, STATUS_CONFLICT,
        "state folder %s is in the middle of another replay (%u log file(s)); finish that first with the same "
        "files in the same order, or use a new state.dir",
        cp->dir, cp->n_now);
}

enum status checkpoint_logs(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t next,
                            uint64_t *base, uint64_t *skip, struct err *e)
{
    bool same;
    TRY(same_logs(cp, paths, n, &same, e));
    *base = same ? cp->base : next;
    *skip = next - *base;
    if (same) {
        go_on(cp, paths, n, use);
        return STATUS_OK;
    }
    TRY(not_amid(cp, e));
    TRY(retire_logs(cp, next, e));
    cp->base = next;
    bool again = false;
    if (n == 1) TRY(resume_log(cp, paths[0], next, &again, e));
    if (again) {
        use[0] = true;
        *base = cp->base;
        *skip = next - *base;
        return STATUS_OK;
    }
    return begin_logs(cp, paths, n, use, e);
}

enum status checkpoint_logs_again(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t next,
                                  uint64_t *base, uint64_t *skip, struct err *e)
{
    bool same;
    struct head h;
    const bool amid = cp->n_now > 0 && !cp->now_ended;
    TRY(same_logs(cp, paths, n, &same, e));
    if (same && amid) return checkpoint_logs(cp, paths, n, use, next, base, skip, e);
    TRY(not_amid(cp, e));
    if (same)
        cp->n_now = 0; /* not among the logs learnt: they may come once more */
    else
        TRY(retire_logs(cp, next, e));
    *base = cp->base = next;
    *skip = 0;
    cp->now_ended = false;
    for (size_t i = 0; i < n; i++) {
        TRY(read_head(paths[i], &h, e));
        if (cp->n_now == CHECKPOINT_LOGS_MAX)
            return ERR_SET(e, STATUS_FULL, "%zu log files, at most %d", n, CHECKPOINT_LOGS_MAX);
        use[i] = true;
        cp->now_paths[cp->n_now] = paths[i];
        cp->now[cp->n_now++] = (struct checkpoint_log){.hash = h.hash, .n = (uint32_t)h.n};
    }
    return STATUS_OK;
}

/* A file that can't be read any more stays known by its first bytes alone. */
void checkpoint_logs_done(struct checkpoint *cp)
{
    struct err e;
    struct head h;
    cp->now_ended = true;
    for (uint32_t i = 0; i < cp->n_now; i++) {
        struct checkpoint_log *log = &cp->now[i];
        log->size = 0;
        if (log->n == 0 || read_head(cp->now_paths[i], &h, &e) != STATUS_OK) continue;
        if (read_tail(h.path, h.size, &log->tail, &e) == STATUS_OK) log->size = h.size;
    }
}

static void logs_encode(struct buf *b, const struct checkpoint_log *logs, uint32_t n)
{
    buf_varint(b, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_u64(b, logs[i].hash);
        buf_u32(b, logs[i].n);
        buf_u64(b, logs[i].records);
        buf_u64(b, logs[i].size);
        buf_u64(b, logs[i].tail);
    }
}

static uint32_t logs_decode(struct buf_reader *r, struct checkpoint_log *logs)
{
    const size_t n = buf_get_count(r, 36);
    for (size_t i = 0; i < n && i < CHECKPOINT_LOGS_MAX; i++) {
        logs[i].hash = buf_get_u64(r);
        logs[i].n = buf_get_u32(r);
        logs[i].records = buf_get_u64(r);
        logs[i].size = buf_get_u64(r);
        logs[i].tail = buf_get_u64(r);
    }
    return (uint32_t)(n < CHECKPOINT_LOGS_MAX ? n : CHECKPOINT_LOGS_MAX);
}

enum status checkpoint_logs_save(struct checkpoint *cp, struct store_txn *t, struct err *e)
{
    struct buf b = {0};
    buf_u8(&b, cp->now_ended);
    buf_u64(&b, cp->base);
    logs_encode(&b, cp->done, cp->n_done);
    logs_encode(&b, cp->now, cp->n_now);
    enum status st = buf_status(&b, e);
    if (st == STATUS_OK) st = store_put(t, STORE_META, STR("logs"), (struct str){(const char *)b.p, b.n}, e);
    buf_fini(&b);
    return st;
}

enum status checkpoint_logs_load(struct checkpoint *cp, struct store_txn *t, struct err *e)
{
    struct str v;
    const enum status st = store_get(t, STORE_META, STR("logs"), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader r = buf_reader(v.p, v.n);
    cp->now_ended = buf_get_u8(&r) != 0;
    cp->base = buf_get_u64(&r);
    cp->n_done = logs_decode(&r, cp->done);
    cp->n_now = logs_decode(&r, cp->now);
    return r.bad ? ERR_SET(e, STATUS_CORRUPT, "state folder %s: record of log files", cp->dir) : STATUS_OK;
}
