/* checkpoint_logs.c - which log files a state folder has learnt, so that a replay goes on where it stopped.
 *
 * `replay A B` that was killed goes on inside A B; `replay A`, then `replay B`, reads B as what comes after A; a log given
 * again is not learnt twice, and one that grew is learnt from where it had ended.  What was taken is counted in each file by
 * itself, as one that grows moves the places of all the records that it is merged with.
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
        TRY(is_log(&cp->now[i], &h, same, e));
    }
    return STATUS_OK;
}

/* Earlier versions counted a log when the next one came, and only one that was learnt by itself. */
static void count_old_logs(struct checkpoint *cp, uint64_t next)
{
    if (!cp->old_logs) return;
    for (uint32_t i = 0; i < cp->n_now; i++)
        cp->now[i].records = cp->n_now == 1 ? next - cp->base : CHECKPOINT_UNCOUNTED;
    for (uint32_t i = 0; i < cp->n_done; i++)
        if (cp->done[i].records == 0) cp->done[i].records = CHECKPOINT_UNCOUNTED;
    cp->old_logs = false;
}

static enum status retire_logs(struct checkpoint *cp, struct err *e)
{
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

static enum status check_counted(const struct checkpoint *cp, const struct checkpoint_log *log, const char *path,
                                 struct err *e)
{
    if (log->records != CHECKPOINT_UNCOUNTED) return STATUS_OK;
    return ERR_SET(e, STATUS_CONFLICT,
                   "log file %s was learnt together with others into %s by an earlier version, which did not count the "
                   "records of each: what is new in it can't be told; use a new state.dir",
                   path, cp->dir);
}

/* As the k-th log of this replay. */
static enum status put_log(struct checkpoint *cp, uint32_t k, const char *path, struct checkpoint_log log,
                           struct err *e)
{
    TRY(check_counted(cp, &log, path, e));
    if (cp->n_now == CHECKPOINT_LOGS_MAX)
        return ERR_SET(e, STATUS_FULL, "more than %d log files at a time", CHECKPOINT_LOGS_MAX);
    memmove(&cp->now[k + 1], &cp->now[k], (cp->n_now - k) * sizeof cp->now[0]);
    cp->now[k] = log;
    cp->now_paths[k] = path;
    cp->n_now++;
    return STATUS_OK;
}

/* A log that was learnt before: what it has grown by since is new, and read as the k-th log; *use false when that is
 * nothing. */
static enum status put_known(struct checkpoint *cp, uint32_t k, const struct head *h, uint32_t at, bool *use,
                             struct err *e)
{
    const struct checkpoint_log log = cp->done[at];
    *use = log.size > 0 && log.size < h->size;
    if (!*use) return STATUS_OK;
    TRY(put_log(cp, k, h->path, log, e));
    memmove(&cp->done[at], &cp->done[at + 1], (cp->n_done - at - 1) * sizeof cp->done[0]);
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
        use[i] = true;
        if (at < cp->n_done)
            TRY(put_known(cp, cp->n_now, &h, at, &use[i], e));
        else
            TRY(put_log(cp, cp->n_now, paths[i], (struct checkpoint_log){.hash = h.hash, .n = (uint32_t)h.n}, e));
    }
    return STATUS_OK;
}

static enum status amid_others(const struct checkpoint *cp, struct err *e)
{
    return ERR_SET(
        e, STATUS_CONFLICT,
        "state folder %s is in the middle of another replay (%u log file(s)); finish that first with the same "
        "files in the same order, or use a new state.dir",
        cp->dir, cp->n_now);
}

/* The logs of a replay that was cut off go on where they stopped; among them may be some that were learnt before it. */
static enum status go_on(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, struct err *e)
{
    struct head h;
    uint32_t k = 0, at;
    for (size_t i = 0; i < n; i++) {
        TRY(read_head(paths[i], &h, e));
        use[i] = k < cp->n_now && cp->now[k].n == 0 && h.n == 0; /* a pipe */
        if (k < cp->n_now && cp->now[k].n > 0) TRY(is_log(&cp->now[k], &h, &use[i], e));
        if (use[i]) {
            TRY(check_counted(cp, &cp->now[k], paths[i], e));
            cp->now_paths[k] = paths[i];
        } else {
            TRY(find(cp->done, cp->n_done, &h, &at, e));
            if (at == cp->n_done) return amid_others(cp, e);
            TRY(put_known(cp, k, &h, at, &use[i], e));
        }
        k += use[i];
    }
    return k == cp->n_now ? STATUS_OK : amid_others(cp, e);
}

static void set_skip(const struct checkpoint *cp, const bool *use, uint64_t *skip, size_t n)
{
    uint32_t k = 0;
    for (size_t i = 0; i < n; i++) skip[i] = use[i] ? cp->now[k++].records : 0;
}

enum status checkpoint_logs(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t *skip,
                            uint64_t next, struct err *e)
{
    count_old_logs(cp, next);
    if (cp->n_now > 0 && !cp->now_ended) {
        TRY(go_on(cp, paths, n, use, e));
    } else {
        TRY(retire_logs(cp, e));
        TRY(begin_logs(cp, paths, n, use, e));
    }
    set_skip(cp, use, skip, n);
    return STATUS_OK;
}

enum status checkpoint_logs_again(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t *skip,
                                  uint64_t next, struct err *e)
{
    bool same;
    struct head h;
    if (cp->n_now > 0 && !cp->now_ended) return checkpoint_logs(cp, paths, n, use, skip, next, e);
    count_old_logs(cp, next);
    TRY(same_logs(cp, paths, n, &same, e));
    if (same) cp->n_now = 0; /* not among the logs learnt: they may come once more */
    TRY(retire_logs(cp, e));
    for (size_t i = 0; i < n; i++) {
        use[i] = true;
        TRY(read_head(paths[i], &h, e));
        TRY(put_log(cp, cp->n_now, paths[i], (struct checkpoint_log){.hash = h.hash, .n = (uint32_t)h.n}, e));
    }
    set_skip(cp, use, skip, n);
    return STATUS_OK;
}

void checkpoint_log_took(struct checkpoint *cp, size_t i)
{
    cp->now[i].records++;
}

/* A file that can't be read any more stays known by its first bytes alone. */
void checkpoint_log_read(struct checkpoint *cp, size_t i, uint64_t size)
{
    struct err e;
    struct checkpoint_log *log = &cp->now[i];
    log->size = 0;
    if (log->n > 0 && read_tail(cp->now_paths[i], size, &log->tail, &e) == STATUS_OK) log->size = size;
}

void checkpoint_logs_done(struct checkpoint *cp)
{
    cp->now_ended = true;
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
    buf_u8(&b, !cp->old_logs);
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
    cp->old_logs = buf_left(&r) == 0 || buf_get_u8(&r) == 0;
    return r.bad ? ERR_SET(e, STATUS_CORRUPT, "state folder %s: record of log files", cp->dir) : STATUS_OK;
}
