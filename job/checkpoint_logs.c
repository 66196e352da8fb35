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
#include <unistd.h>

enum { HEAD_BYTES = 4096 };

static enum status read_head(const char *path, unsigned char head[HEAD_BYTES], size_t *n, struct err *e)
{
    *n = 0;
    if (strcmp(path, "-") == 0) return STATUS_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ERR_SET(e, STATUS_IO, "log file %s: %s", path, strerror(errno));
    ssize_t got = 1;
    while (*n < HEAD_BYTES && got > 0) {
        got = read(fd, head + *n, HEAD_BYTES - *n);
        if (got > 0) *n += (size_t)got;
    }
    (void)close(fd);
    return got < 0 ? ERR_SET(e, STATUS_IO, "log file %s: %s", path, strerror(errno)) : STATUS_OK;
}

/* The known log of which this head is (or has grown from); n_known when none. */
static uint32_t find(const struct checkpoint_log *known, uint32_t n_known, const unsigned char *head, size_t n)
{
    for (uint32_t i = 0; i < n_known; i++)
        if (known[i].n > 0 && known[i].n <= n && hash_bytes(head, known[i].n) == known[i].hash) return i;
    return n_known;
}

/* The same logs in the same order as those of the last replay? */
static enum status same_logs(const struct checkpoint *cp, const char *const *paths, size_t n, bool *same, struct err *e)
{
    unsigned char head[HEAD_BYTES];
    size_t got;
    *same = n == cp->n_now && n > 0;
    for (size_t i = 0; *same && i < n; i++) {
        TRY(read_head(paths[i], head, &got, e));
        *same = cp->now[i].n == 0 ? got == 0 : find(&cp->now[i], 1, head, got) == 0;
    }
    if (*same && cp->now_ended && n == 1 && cp->now[0].n == 0) *same = false; /* standard input again: new data */
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
    unsigned char head[HEAD_BYTES];
    size_t got;
    TRY(read_head(path, head, &got, e));
    const uint32_t i = find(cp->done, cp->n_done, head, got);
    *again = i < cp->n_done && cp->done[i].records > 0 && cp->done[i].records <= next;
    if (!*again) return STATUS_OK;
    cp->base = next - cp->done[i].records;
    cp->now[cp->n_now++] = cp->done[i];
    memmove(&cp->done[i], &cp->done[i + 1], (cp->n_done - i - 1) * sizeof cp->done[0]);
    cp->n_done--;
    return STATUS_OK;
}

static enum status begin_logs(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, struct err *e)
{
    unsigned char head[HEAD_BYTES];
    size_t got;
    for (size_t i = 0; i < n; i++) {
        TRY(read_head(paths[i], head, &got, e));
        use[i] = find(cp->done, cp->n_done, head, got) == cp->n_done;
        if (!use[i]) continue;
        if (cp->n_now == CHECKPOINT_LOGS_MAX)
            return ERR_SET(e, STATUS_FULL, "%zu log files, at most %d", n, CHECKPOINT_LOGS_MAX);
        cp->now[cp->n_now++] = (struct checkpoint_log){.hash = hash_bytes(head, got), .n = (uint32_t)got};
    }
    return STATUS_OK;
}

enum status checkpoint_logs(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t next,
                            uint64_t *base, uint64_t *skip, struct err *e)
{
    bool same;
    TRY(same_logs(cp, paths, n, &same, e));
    *base = same ? cp->base : next;
    *skip = next - *base;
    if (same) {
        for (size_t i = 0; i < n; i++) use[i] = true;
        cp->now_ended = false;
        return STATUS_OK;
    }
    if (cp->n_now > 0 && !cp->now_ended)
        return ERR_SET(
            e, STATUS_CONFLICT,
            "state folder %s is in the middle of another replay (%u log file(s)); finish that first with the same "
            "files in the same order, or use a new state.dir",
            cp->dir, cp->n_now);
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
    }
}

static uint32_t logs_decode(struct buf_reader *r, struct checkpoint_log *logs)
{
    const size_t n = buf_get_count(r, 20);
    for (size_t i = 0; i < n && i < CHECKPOINT_LOGS_MAX; i++) {
        logs[i].hash = buf_get_u64(r);
        logs[i].n = buf_get_u32(r);
        logs[i].records = buf_get_u64(r);
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
