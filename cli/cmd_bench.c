/* cmd_bench.c - `freshet bench`: measures the machine, then each case in rounds, and says what share of the limit it reaches.
 *
 * A rate is the work of a whole round over its time; a latency is every single run.  Both are given with their spread.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "cli/process.h"
#include "job/job_file.h"
#include "kernels/kern.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUSY_BELOW 0.9 /* of a core: then others had the rest, and the figures say less than the machine can do */

enum { ROUNDS = 7, ROUNDS_QUICK = 3 };

struct bench {
    struct cmd_bench world;
    struct cmd_bench_report report;
    double *samples;
    const char *only, *json, *html, *svg, *against;
    bool quick, list, ask;
};

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

void cmd_bench_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, by_size);
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
    TRY(cmd_process_told(e));
    if (c->before != NULL) TRY(c->before(&x->world, e));
    const double start = cmd_bench_now_s();
    TRY(c->run(&x->world, units, e));
    *seconds = cmd_bench_now_s() - start;
    return STATUS_OK;
}

/* samples: a rate per round, or milliseconds per run. */
static enum status measure(struct bench *x, const struct cmd_bench_case *c, size_t *n, struct err *e)
{
    const int rounds = x->quick ? ROUNDS_QUICK : ROUNDS;
    const double least_s = x->quick ? 0.08 : 0.6;
    uint64_t units;
    double seconds;
    *n = 0;
    TRY(run_once(x, c, &units, &seconds, e)); /* warm */
    for (int r = 0; r < rounds; r++) {
        uint64_t done = 0;
        double spent = 0.0;
        while (spent < least_s && *n < CMD_BENCH_SAMPLES_MAX) {
            TRY(cmd_process_told(e));
            TRY(run_once(x, c, &units, &seconds, e));
            done += units;
            spent += seconds;
            if (c->kind == CMD_BENCH_LATENCY) x->samples[(*n)++] = seconds * 1e3;
        }
        if (c->kind == CMD_BENCH_RATE) x->samples[(*n)++] = (double)done / spent;
    }
    return STATUS_OK;
}

/* The limit that asks for most time, and that time over the one it took. */
static void find_share(struct cmd_bench_figure *f, const struct cmd_bench_machine *m)
{
    const struct cmd_bench_case *c = f->c;
    f->share = -1.0;
    if (c->cost == NULL) return;
    const bool latency = cmd_bench_is_latency(c);
    const double rate = latency ? 1e3 / f->median : f->median;
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) {
        f->shares[i] = rate * f->cost[i] / m->limit[c->span][i];
        if (f->shares[i] > f->share) f->share = f->shares[i], f->limit = (enum cmd_bench_limit)i;
    }
    f->share_least = f->share * (latency ? f->median / f->most : f->least / f->median);
}

static void summarise(struct bench *x, struct cmd_bench_figure *f)
{
    cmd_bench_sort(x->samples, f->n);
    f->least = x->samples[0];
    f->median = quantile(x->samples, f->n, 0.5);
    f->p99 = quantile(x->samples, f->n, 0.99);
    f->p999 = quantile(x->samples, f->n, 0.999);
    f->most = x->samples[f->n - 1];
    if (f->c->cost != NULL) f->c->cost(&x->world, f->c, f->cost);
    find_share(f, &x->report.machine);
}

static enum status measure_case(struct bench *x, const struct cmd_bench_case *c, size_t *n, struct err *e)
{
    const bool all = c->span == CMD_BENCH_ALL && c->cost != NULL;
    if (all) TRY(cmd_bench_measure_again(&x->report.machine, e));
    if (c->sample == NULL)
        TRY(measure(x, c, n, e));
    else
        TRY(c->sample(&x->world, c, x->samples, CMD_BENCH_SAMPLES_MAX, n, e));
    return all ? cmd_bench_measure_again(&x->report.machine, e) : STATUS_OK;
}

static enum status run_case(struct bench *x, const struct cmd_bench_topic *t, const struct cmd_bench_case *c,
                            struct err *e)
{
    struct cmd_bench_figure *f = &x->report.figures[x->report.n];
    struct err why = {0};
    *f = (struct cmd_bench_figure){.topic = t, .c = c};
    TRY(cmd_process_told(e));
    enum status st = t->shop ? cmd_bench_shop(&x->world, &why) : STATUS_OK;
    if (st == STATUS_OK) st = c->setup(&x->world, c, &why);
    const bool left_out = st == STATUS_UNSUPPORTED;
    const double wall = cmd_bench_now_s(), cpu = cpu_s();
    if (st == STATUS_OK) st = measure_case(x, c, &f->n, &why);
    f->cpu_frac = (cpu_s() - cpu) / (cmd_bench_now_s() - wall);
    if (st == STATUS_OK) summarise(x, f);
    if (left_out) (void)snprintf(f->skipped, sizeof f->skipped, "%s", why.text);
    if (t->end != NULL) t->end(&x->world);
    cmd_bench_case_end(&x->world);
    if (st == STATUS_OK || left_out) {
        x->report.n++;
        return STATUS_OK;
    }
    if (e != NULL) *e = why;
    return e == NULL ? st : err_prefix(e, "%s", c->name);
}

static void warn_busy(const struct bench *x)
{
    double least = 1.0;
    for (size_t i = 0; i < x->report.n; i++) {
        const struct cmd_bench_figure *f = &x->report.figures[i];
        const double want = f->c->span == CMD_BENCH_ALL ? x->world.cores : 1;
        if (!f->topic->outside && f->skipped[0] == 0 && f->share >= 0.0 && f->limit != CMD_BENCH_DISK &&
            f->cpu_frac / want < least)
            least = f->cpu_frac / want;
    }
    if (least < BUSY_BELOW)
        (void)fprintf(
            stderr,
            "freshet bench: the machine was busy: a case had only %.0f %% of its cores, the figures are too low\n",
            100.0 * least);
}

static bool wanted(const struct bench *x, const struct cmd_bench_case *c)
{
    return x->only == NULL || strncmp(c->name, x->only, strlen(x->only)) == 0;
}

static bool is_stdout(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

/* The table gives way to a file that goes to stdout. */
static enum status show(const struct bench *x, struct buf *line, struct err *e)
{
    if (is_stdout(x->json) || is_stdout(x->svg) || is_stdout(x->html)) {
        TRY(buf_status(line, e));
        (void)fwrite(line->p, 1, line->n, stderr);
    } else if (cmd_print("bench", line) != 0) {
        return ERR_SET(e, STATUS_IO, "the table can't be written");
    }
    buf_clear(line);
    return STATUS_OK;
}

/* Each line is shown when it is known. */
static enum status run_topic(struct bench *x, const struct cmd_bench_topic *t, struct buf *line, struct err *e)
{
    bool headed = false;
    for (size_t i = 0; i < t->n; i++) {
        if (!wanted(x, &t->cases[i])) continue;
        if (!headed) cmd_bench_put_topic(line, t);
        headed = true;
        TRY(run_case(x, t, &t->cases[i], e));
        cmd_bench_put_figure(line, &x->report.figures[x->report.n - 1]);
        TRY(show(x, line, e));
    }
    return STATUS_OK;
}

static size_t count_wanted(const struct bench *x)
{
    size_t n = 0;
    for (size_t t = 0; t < cmd_bench_n_topics; t++)
        for (size_t i = 0; i < cmd_bench_topics[t]->n; i++) n += wanted(x, &cmd_bench_topics[t]->cases[i]);
    return n;
}

/* Before minutes are spent on what then has no place. */
static enum status check_files(const struct bench *x, struct err *e)
{
    TRY(job_file_check(x->json, e));
    TRY(job_file_check(x->svg, e));
    TRY(job_file_check(x->html, e));
    return x->against != NULL ? cmd_bench_check_against(x->against, e) : STATUS_OK;
}

static enum status bench(struct bench *x, struct conf *c, struct buf *line, struct err *e)
{
    const size_t n = count_wanted(x);
    TRY(check_files(x, e));
    x->report.figures = mem_calloc(n, sizeof *x->report.figures);
    x->samples = mem_calloc(CMD_BENCH_SAMPLES_MAX + ROUNDS, sizeof *x->samples);
    if (x->report.figures == NULL || x->samples == NULL)
        return ERR_SET(e, STATUS_OOM, "no memory for %d samples", CMD_BENCH_SAMPLES_MAX);
    TRY(cmd_bench_open(&x->world, c, x->quick, e));
    x->report.kernels = kern_describe(x->world.kern);
    x->report.quick = x->quick;
    x->report.time_ms = clock_system()->wall_ms(clock_system());
    TRY(cmd_bench_measure(&x->report.machine, x->world.dir, x->quick ? 0.1 : 0.5, e));
    if (!x->world.kern->ops->host_visible)
        TRY(cmd_bench_device(&x->report.machine, x->world.kern, e));
    cmd_bench_put_machine(line, &x->report);
    for (size_t t = 0; t < cmd_bench_n_topics; t++) TRY(run_topic(x, cmd_bench_topics[t], line, e));
    warn_busy(x);
    if (x->against != NULL) {
        TRY(cmd_bench_put_against(line, &x->report, x->against, e));
        TRY(show(x, line, e));
    }
    if (x->json != NULL) TRY(cmd_bench_write_json(&x->report, x->json, e));
    if (x->svg != NULL) TRY(cmd_bench_write_svg(&x->report, x->svg, e));
    return x->html != NULL ? cmd_bench_write_html(&x->report, x->html, e) : STATUS_OK;
}

static enum status ask(struct bench *x, struct conf *c, struct err *e)
{
    TRY(cmd_bench_open(&x->world, c, x->quick, e));
    return cmd_bench_answer(&x->world, x->only, e);
}

static enum status list(const struct bench *x, struct buf *line, struct err *e)
{
    for (size_t t = 0; t < cmd_bench_n_topics; t++)
        for (size_t i = 0; i < cmd_bench_topics[t]->n; i++) {
            const struct cmd_bench_case *c = &cmd_bench_topics[t]->cases[i];
            if (wanted(x, c)) buf_printf(line, "%-18s %s\n", c->name, c->what);
        }
    return show(x, line, e);
}

/* Two files in one place: the first would be gone. */
static enum status check_apart(const struct bench *x, struct err *e)
{
    const char *const paths[] = {x->json, x->svg, x->html};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < i; j++)
            if (paths[i] != NULL && paths[j] != NULL && strcmp(paths[i], paths[j]) == 0)
                return ERR_SET(e, STATUS_INVALID, "two of --json, --svg and --report are to be written to %s", paths[i]);
    return STATUS_OK;
}

static enum status check_usage(const struct bench *x, const struct conf *c, struct err *e)
{
    if (strcmp(c->model_item_view, "pooled") != 0 || strcmp(c->model_user_view, "pooled") != 0)
        return ERR_SET(e, STATUS_INVALID,
                       "work is counted for model.item_view and model.user_view = pooled alone; leave them so");
    if (count_wanted(x) == 0)
        return ERR_SET(e, STATUS_INVALID, "--only %s: no case's name begins so (--list shows them)", x->only);
    TRY(check_apart(x, e));
    return x->ask ? cmd_bench_check_ask(x->only, e) : STATUS_OK;
}

static int run(struct bench *x, struct conf *c)
{
    struct err e = {0};
    struct buf line = {0};
    if (check_usage(x, c, &e) != STATUS_OK) return cmd_failed("bench", &e) + 1; /* wrong usage */
    const enum status st = x->list ? list(x, &line, &e) : x->ask ? ask(x, c, &e) : bench(x, c, &line, &e);
    buf_fini(&line);
    return st == STATUS_OK ? 0 : cmd_failed("bench", &e);
}

int cmd_bench(int argc, char **argv)
{
    static const char *const keys[] = {"model.", "kernels.", "train.batch_slates", NULL};
    struct bench x = {0};
    struct cmd_line line;
    const struct cmd_option options[] = {
        {"json", "FILE", CMD_TEXT, &x.json, NULL, "the figures as JSON too (-: stdout, the table to stderr)"},
        {"report", "FILE", CMD_TEXT, &x.html, NULL, "an HTML page with picture and table"},
        {"svg", "FILE", CMD_TEXT, &x.svg, NULL, "the picture alone"},
        {"against", "FILE", CMD_TEXT, &x.against, NULL, "ratios to the JSON of an earlier run"},
        {"quick", NULL, CMD_FLAG, &x.quick, NULL, "fewer and shorter rounds"},
        {"only", "NAME", CMD_TEXT, &x.only, NULL, "cases whose name begins with NAME"},
        {"ask", NULL, CMD_FLAG, &x.ask, NULL, "the one case that --only names, for each line of stdin (seconds)"},
        {"list", NULL, CMD_FLAG, &x.list, NULL, "what cases there are, and no more"},
    };
    const struct cmd_usage usage = {
        .command = "bench",
        .arguments = "",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .keys = keys,
        .about = "Measures what this machine can do (multiply-adds in f32, bf16 and int8, memory, disk), then what "
                 "freshet makes of it:\n"
                 "each result is checked first (against the reference kernels where there is arithmetic), then timed "
                 "in rounds.\n"
                 "share = the work that was necessary over what the limit would allow in the same time: of the median, "
                 "and of the worst.\n"
                 "Close other programs.\n"};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    cmd_stop_on_signals(cmd_process_tell); /* the temporary folder and other processes are seen to */
    if (rc == CMD_GO_ON) rc = run(&x, line.conf);
    cmd_bench_close(&x.world);
    mem_free(x.report.figures);
    mem_free(x.samples);
    cmd_line_fini(&line);
    return rc;
}
