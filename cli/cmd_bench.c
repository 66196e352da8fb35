/* cmd_bench.c - `freshet bench`: measures the machine, then each case in rounds, and says what share of the limit it reaches.
 *
 * A rate is the work of a whole round over its time; a latency is every single run.  Both are given with their spread.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/cmd.h"
#include "cli/model.h"
#include "cli/options.h"
#include "kernels/kern.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUSY_BELOW 0.9 /* of a core: then others had the rest, and the figures say less than the machine can do */

enum { ROUNDS = 7, ROUNDS_QUICK = 3, SAMPLES_MAX = 20000 };
static const struct limit {
    const char *name, *unit;
    double scale;
} limits[CMD_BENCH_LIMITS] = {{"f32 peak", "GFLOP/s", 1e-9}, {"memory", "GB/s", 1e-9}, {"disk", "MB/s", 1e-6}};

struct figure { /* rates in units/s, latencies in ms */
    const struct cmd_bench_case *c;
    double least, median, most, p99; /* p99: latencies only */
    double cost[CMD_BENCH_LIMITS], share;
    enum cmd_bench_limit limit; /* that binds */
    double cpu_frac;            /* this process's CPU time over the time that passed */
    size_t n;                   /* rounds or runs */
};
struct bench {
    struct cmd_bench world;
    struct cmd_bench_machine machine;
    struct figure *figures;
    size_t n;
    double *samples;
    const char *only, *json;
    bool quick;
};

static double now_s(void)
{
    return (double)clock_system()->mono_us(clock_system()) * 1e-6;
}

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_size(const void *p, const void *q)
{
    const double a = *(const double *)p, b = *(const double *)q;
    return a < b ? -1 : a > b ? 1 : 0;
}

/* Nearest rank. */
static double quantile(const double *sorted, size_t n, double q)
{
    const size_t i = (size_t)(q * (double)n);
    return sorted[i < n ? i : n - 1];
}

static enum status run_once(struct bench *x, const struct cmd_bench_case *c, uint64_t *units, double *seconds,
                            struct err *e)
{
    if (c->before != NULL) TRY(c->before(&x->world, e));
    const double start = now_s();
    TRY(c->run(&x->world, units, e));
    *seconds = now_s() - start;
    return STATUS_OK;
}

/* samples: a rate per round, or milliseconds per run. */
static enum status measure(struct bench *x, const struct cmd_bench_case *c, size_t *n, struct err *e)
{
    const int rounds = x->quick ? ROUNDS_QUICK : ROUNDS;
    const double least_s = x->quick ? 0.15 : 0.6;
    uint64_t units;
    double seconds;
    *n = 0;
    TRY(run_once(x, c, &units, &seconds, e)); /* warm */
    for (int r = 0; r < rounds; r++) {
        uint64_t done = 0;
        double spent = 0.0;
        while (spent < least_s && *n < SAMPLES_MAX) {
            TRY(run_once(x, c, &units, &seconds, e));
            done += units;
            spent += seconds;
            if (c->unit == NULL) x->samples[(*n)++] = seconds * 1e3;
        }
        if (c->unit != NULL) x->samples[(*n)++] = (double)done / spent;
    }
    return STATUS_OK;
}

/* The limit that asks for most time, and that time over the one it took. */
static void find_share(struct figure *f, const struct cmd_bench_machine *m)
{
    const double rate = f->c->unit != NULL ? f->median : 1e3 / f->median;
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) {
        const double share = rate * f->cost[i] / m->limit[i];
        if (share > f->share) f->share = share, f->limit = (enum cmd_bench_limit)i;
    }
}

static enum status run_case(struct bench *x, const struct cmd_bench_case *c, struct err *e)
{
    struct figure *f = &x->figures[x->n];
    enum status st = c->setup(&x->world, c, e);
    const double wall = now_s(), cpu = cpu_s();
    if (st == STATUS_OK) st = measure(x, c, &f->n, e);
    f->cpu_frac = (cpu_s() - cpu) / (now_s() - wall);
    if (st == STATUS_OK) {
        qsort(x->samples, f->n, sizeof *x->samples, by_size);
        f->c = c;
        f->least = x->samples[0];
        f->median = quantile(x->samples, f->n, 0.5);
        f->p99 = quantile(x->samples, f->n, 0.99);
        f->most = x->samples[f->n - 1];
        c->cost(&x->world, c, f->cost);
        find_share(f, &x->machine);
        x->n++;
    }
    cmd_bench_case_end(&x->world);
    return st == STATUS_OK || e == NULL ? st : err_prefix(e, "%s", c->name);
}

/* ---- what is shown ---- */

static void put_machine(struct buf *b, const struct bench *x)
{
    buf_printf(b, "one core, measured now:");
    for (int i = 0; i < CMD_BENCH_LIMITS; i++)
        buf_printf(b, "%s %s %.1f %s", i > 0 ? "," : "", limits[i].name, x->machine.limit[i] * limits[i].scale,
                   limits[i].unit);
    buf_printf(b, " (%s)\nkernels: %s\n\n", x->machine.isa, kern_describe(x->world.kern));
    buf_printf(b, "%-11s %12s %12s %12s %12s  %-12s %8s %-9s  %s\n", "case", "min", "median", "p99", "max", "unit",
               "share", "of", "what");
}

static void put_figure(struct buf *b, const struct figure *f)
{
    char unit[24], p99[16] = "";
    (void)snprintf(unit, sizeof unit, f->c->unit != NULL ? "%s/s" : "ms", f->c->unit);
    if (f->c->unit == NULL) (void)snprintf(p99, sizeof p99, "%.3f", f->p99);
    const int digits = f->c->unit != NULL ? 0 : 3;
    buf_printf(b, "%-11s %12.*f %12.*f %12s %12.*f  %-12s %7.2f%% %-9s  %s\n", f->c->name, digits, f->least, digits,
               f->median, p99, digits, f->most, unit, 100.0 * f->share, limits[f->limit].name, f->c->what);
}

static json_t *figure_json(const struct figure *f)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:f, s:f, s:f, s:s, s:f}", "name", f->c->name,
                          "what", f->c->what, "unit", f->c->unit != NULL ? f->c->unit : "ms", "better",
                          f->c->unit != NULL ? "higher" : "lower", "min", f->least, "median", f->median, "max", f->most,
                          "samples", (json_int_t)f->n, "flop", f->cost[CMD_BENCH_FLOP], "memory_bytes",
                          f->cost[CMD_BENCH_MEMORY], "disk_bytes", f->cost[CMD_BENCH_DISK], "limit",
                          limits[f->limit].name, "share", f->share);
    if (j != NULL) (void)json_object_set_new(j, "cpu_frac", json_real(f->cpu_frac));
    if (j != NULL && f->c->unit == NULL) (void)json_object_set_new(j, "p99", json_real(f->p99));
    return j;
}

static enum status write_json(const struct bench *x, struct err *e)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->n; i++) (void)json_array_append_new(list, figure_json(&x->figures[i]));
    json_t *j = json_pack("{s:{s:s, s:f, s:f, s:f}, s:s, s:b, s:o, s:o}", "machine", "isa", x->machine.isa,
                          "f32_flop_per_s", x->machine.limit[CMD_BENCH_FLOP], "memory_bytes_per_s",
                          x->machine.limit[CMD_BENCH_MEMORY], "disk_bytes_per_s", x->machine.limit[CMD_BENCH_DISK],
                          "kernels", kern_describe(x->world.kern), "quick", (int)x->quick, "time",
                          cmd_model_time(clock_system()->wall_ms(clock_system())), "cases", list);
    if (j == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %s", x->json);
    const int rc = json_dump_file(j, x->json, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(j);
    return rc == 0 ? STATUS_OK : ERR_SET(e, STATUS_IO, "%s can't be written", x->json);
}

static void warn_busy(const struct bench *x)
{
    double least = 1.0;
    for (size_t i = 0; i < x->n; i++)
        if (x->figures[i].limit != CMD_BENCH_DISK && x->figures[i].cpu_frac < least) least = x->figures[i].cpu_frac;
    if (least < BUSY_BELOW)
        (void)fprintf(
            stderr, "freshet bench: the machine was busy: a case had only %.0f %% of a core, the figures are too low\n",
            100.0 * least);
}

/* Each line is shown when it is known. */
static enum status bench(struct bench *x, struct conf *c, struct err *e)
{
    struct buf line = {0};
    enum status st;
    x->figures = mem_calloc(cmd_bench_n_cases, sizeof *x->figures);
    x->samples = mem_calloc(SAMPLES_MAX + ROUNDS, sizeof *x->samples);
    if (x->figures == NULL || x->samples == NULL)
        return ERR_SET(e, STATUS_OOM, "no memory for %d samples", SAMPLES_MAX);
    (void)fprintf(stderr, "freshet bench: a synthetic shop is learnt, to work on\n");
    TRY(cmd_bench_open(&x->world, c, x->quick, e));
    TRY(cmd_bench_measure(&x->machine, x->world.dir, x->quick ? 0.2 : 1.0, e));
    put_machine(&line, x);
    for (size_t i = 0; i < cmd_bench_n_cases; i++) {
        if (x->only != NULL && strncmp(cmd_bench_cases[i].name, x->only, strlen(x->only)) != 0) continue;
        TRY_OUT(st, run_case(x, &cmd_bench_cases[i], e));
        put_figure(&line, &x->figures[x->n - 1]);
        if (cmd_print("bench", &line) != 0) {
            st = ERR_SET(e, STATUS_IO, "the table can't be written");
            goto out;
        }
        buf_clear(&line);
    }
    warn_busy(x);
    st = x->n > 0 ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "--only %s: no case's name begins so", x->only);
    if (st == STATUS_OK && x->json != NULL) st = write_json(x, e);
out:
    buf_fini(&line);
    return st;
}

int cmd_bench(int argc, char **argv)
{
    static const char *const keys[] = {"model.", "kernels.backend", "train.batch_slates", NULL};
    struct bench x = {0};
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"json", "FILE", CMD_TEXT, &x.json, NULL, "the figures as JSON too"},
        {"quick", NULL, CMD_FLAG, &x.quick, NULL, "fewer and shorter rounds"},
        {"only", "NAME", CMD_TEXT, &x.only, NULL, "cases whose name begins with NAME"},
    };
    const struct cmd_usage usage = {.command = "bench",
                                    .arguments = "",
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .keys = keys,
                                    .about = "Measures what one core of this machine can do (f32 multiply-adds, "
                                             "memory, disk), then what freshet makes of it:\n"
                                             "each result is checked first (against the reference kernels where there "
                                             "is arithmetic), then timed in rounds.\n"
                                             "share = the work that was necessary over what the limit would allow in "
                                             "the same time. Close other programs.\n"};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        rc = 0;
        if (strcmp(line.conf->model_item_view, "pooled") != 0 || strcmp(line.conf->model_user_view, "pooled") != 0) {
            (void)ERR_SET(&e, STATUS_INVALID,
                          "work is counted for model.item_view and model.user_view = pooled alone; leave them so");
            rc = cmd_failed("bench", &e) + 1; /* wrong usage */
        } else if (bench(&x, line.conf, &e) != STATUS_OK) {
            rc = cmd_failed("bench", &e);
        }
    }
    cmd_bench_close(&x.world);
    mem_free(x.figures);
    mem_free(x.samples);
    cmd_line_fini(&line);
    return rc;
}
