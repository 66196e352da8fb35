/* bench_machine.c - what this machine can do, measured in the same run: arithmetic, memory, disk; one core and all.
 *
 * The peaks are the loops of bench_peak.c.  Memory is the triad a = b + s*c over arrays beyond the caches (McCalpin 1995),
 * counted as three streams.  The disk is a plain file, written and synced.
 */
#include "base/file.h"
#include "base/mem.h"
#include "cli/bench.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIAD_FLOATS ((size_t)1 << 24) /* 64 MiB an array, shared out among the cores */
#define TRIAD_PIECE ((size_t)1 << 19)
#define ONE_S 0.001 /* of a try on one core: a time slice taken by others spoils only one */
#define ALL_S 0.020 /* of a try on all: long beside the making of threads */
#define AGAIN_S 0.05
#define DISK_BYTES ((size_t)16 << 20)

const struct cmd_bench_limit_name cmd_bench_limit_names[CMD_BENCH_LIMITS] = {
    {"f32 peak", "f32_flop_per_s", "GFLOP/s", 1e-9}, {"bf16 peak", "bf16_flop_per_s", "GFLOP/s", 1e-9},
    {"int8 peak", "int8_op_per_s", "GOP/s", 1e-9},   {"memory", "memory_bytes_per_s", "GB/s", 1e-9},
    {"disk", "disk_bytes_per_s", "MB/s", 1e-6},
};

/* What all hands of a try share, and what each has done in its time. */
struct
try {
    struct cmd_bench_peak peak;
    float *arrays; /* 3 of TRIAD_FLOATS; NULL: arithmetic */
    double seconds;
    int n;
    double rate[CMD_BENCH_CORES_MAX];
};

static enum status compute(void *user, int i, struct err *e)
{
    struct try *t = user;
    const double start = cmd_bench_now_s();
    double done = 0.0, spent;
    (void)e;
    do {
        done += t->peak.loop();
        spent = cmd_bench_now_s() - start;
    } while (spent < t->seconds);
    t->rate[i] = done / spent;
    return STATUS_OK;
}

/* Its share of the arrays once, in pieces; on one core the best piece counts, on several all of them. */
static enum status stream(void *user, int i, struct err *e)
{
    struct try *t = user;
    float *restrict a = t->arrays;
    const float *restrict b = a + TRIAD_FLOATS, *restrict c = b + TRIAD_FLOATS;
    const size_t share = TRIAD_FLOATS / TRIAD_PIECE / (size_t)t->n * TRIAD_PIECE, first = (size_t)i * share;
    const double begun = cmd_bench_now_s();
    double best = 0.0;
    (void)e;
    for (size_t from = first; from < first + share; from += TRIAD_PIECE) {
        const double start = cmd_bench_now_s();
        for (size_t k = from; k < from + TRIAD_PIECE; k++) a[k] = b[k] + 0.5f * c[k];
        const double rate = 3.0 * sizeof *a * TRIAD_PIECE / (cmd_bench_now_s() - start);
        if (rate > best) best = rate;
    }
    t->rate[i] = t->n == 1 ? best : 3.0 * sizeof *a * (double)share / (cmd_bench_now_s() - begun);
    return STATUS_OK;
}

/* The best of many short tries: a limit is what the machine can do when nobody disturbs it. */
static enum status best_of(double *out, struct try *t, cmd_bench_work *work, double seconds, struct err *e)
{
    const double end = cmd_bench_now_s() + seconds;
    do {
        double sum = 0.0;
        if (t->n == 1)
            TRY(work(t, 0, e));
        else
            TRY(cmd_bench_crew(t->n, work, t, e));
        for (int i = 0; i < t->n; i++) sum += t->rate[i];
        if (sum > *out) *out = sum;
    } while (cmd_bench_now_s() < end);
    return STATUS_OK;
}

static enum status measure_peaks(struct cmd_bench_machine *m, enum cmd_bench_span span, double seconds, struct err *e)
{
    for (int i = 0; i < CMD_BENCH_PEAKS; i++) {
        struct try t = {.peak = cmd_bench_peak((enum cmd_bench_limit)i),
                        .seconds = span == CMD_BENCH_ONE ? ONE_S : ALL_S,
                        .n = span == CMD_BENCH_ONE ? 1 : m->cores};
        m->by[i] = t.peak.by;
        TRY(best_of(&m->limit[span][i], &t, compute, seconds, e));
    }
    return STATUS_OK;
}

static enum status measure_memory(struct cmd_bench_machine *m, double seconds, struct err *e)
{
    enum status st;
    const int most = (int)(TRIAD_FLOATS / TRIAD_PIECE);
    struct try one = {.n = 1}, all = {.n = m->cores < most ? m->cores : most};
    float *x = mem_aligned(3 * TRIAD_FLOATS, sizeof *x);
    if (x == NULL) return ERR_SET(e, STATUS_OOM, "no memory for arrays of %zu MiB", 3 * TRIAD_FLOATS * sizeof *x >> 20);
    for (size_t i = 0; i < 3 * TRIAD_FLOATS; i += 1024) x[i] = 1.0f; /* the pages are there */
    one.arrays = all.arrays = x;
    st = best_of(&m->limit[CMD_BENCH_ONE][CMD_BENCH_MEMORY], &one, stream, seconds, e);
    if (st == STATUS_OK) st = best_of(&m->limit[CMD_BENCH_ALL][CMD_BENCH_MEMORY], &all, stream, seconds, e);
    mem_free(x);
    return st;
}

static enum status write_once(const char *path, const void *p, double *rate, struct err *e)
{
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    const double start = cmd_bench_now_s();
    enum status st = file_write_all(fd, p, DISK_BYTES, path, e);
    if (st == STATUS_OK && fsync(fd) != 0) st = file_failed(e, path, "be synced", errno);
    *rate = (double)DISK_BYTES / (cmd_bench_now_s() - start);
    (void)close(fd);
    (void)unlink(path);
    return st;
}

static enum status measure_disk(struct cmd_bench_machine *m, const char *dir, double seconds, struct err *e)
{
    char path[CMD_BENCH_PATH + 16];
    enum status st = STATUS_OK;
    unsigned char *p = mem_calloc(DISK_BYTES, 1);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a file of %zu bytes", DISK_BYTES);
    for (size_t i = 0; i < DISK_BYTES; i++) p[i] = (unsigned char)(i * 2654435761u >> 13);
    (void)snprintf(path, sizeof path, "%s/bench", dir);
    const double end = cmd_bench_now_s() + seconds;
    for (int i = 0; st == STATUS_OK && (i < 2 || cmd_bench_now_s() < end); i++) {
        double rate = 0.0;
        st = write_once(path, p, &rate, e);
        if (rate > m->limit[CMD_BENCH_ONE][CMD_BENCH_DISK]) m->limit[CMD_BENCH_ONE][CMD_BENCH_DISK] = rate;
    }
    m->limit[CMD_BENCH_ALL][CMD_BENCH_DISK] = m->limit[CMD_BENCH_ONE][CMD_BENCH_DISK];
    mem_free(p);
    return st;
}

enum status cmd_bench_measure_again(struct cmd_bench_machine *m, struct err *e)
{
    return m->device ? STATUS_OK : measure_peaks(m, CMD_BENCH_ALL, AGAIN_S, e);
}

enum status cmd_bench_measure(struct cmd_bench_machine *m, const char *dir, double seconds, struct err *e)
{
    *m = (struct cmd_bench_machine){.cores = cmd_bench_cores()};
    TRY(measure_peaks(m, CMD_BENCH_ONE, seconds, e));
    TRY(measure_peaks(m, CMD_BENCH_ALL, seconds, e));
    TRY(measure_memory(m, seconds, e));
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) /* others may have been busy for the one and not for the other */
        if (m->limit[CMD_BENCH_ALL][i] < m->limit[CMD_BENCH_ONE][i])
            m->limit[CMD_BENCH_ALL][i] = m->limit[CMD_BENCH_ONE][i];
    return measure_disk(m, dir, seconds, e);
}
