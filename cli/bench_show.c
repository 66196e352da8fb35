/* bench_show.c - the table of `freshet bench`: at most 100 columns, a heading for each topic, a line for each case. */
#include "cli/bench.h"
#include <stdio.h>
#include <string.h>

static void put_limits(struct buf *b, const struct cmd_bench_report *r, enum cmd_bench_span span)
{
    char text[32] = "one core";
    if (span == CMD_BENCH_ALL) (void)snprintf(text, sizeof text, "%d cores", r->machine.cores);
    buf_printf(b, "  %-12s", text);
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) {
        const struct cmd_bench_limit_name *n = &cmd_bench_limit_names[i];
        const double x = r->machine.limit[span][i] * n->scale;
        (void)snprintf(text, sizeof text, "%.*f %s", x < 100.0 ? 1 : 0, x, n->unit);
        buf_printf(b, " %16s", text);
    }
    buf_printf(b, "\n");
}

void cmd_bench_put_machine(struct buf *b, const struct cmd_bench_report *r)
{
    buf_printf(b, "machine: what is the most here, measured now\n  %-12s", "");
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) buf_printf(b, " %16s", cmd_bench_limit_names[i].name);
    buf_printf(b, "\n  %-12s", "by");
    for (int i = 0; i < CMD_BENCH_PEAKS; i++) buf_printf(b, " %16s", r->machine.by[i]);
    buf_printf(b, " %16s %16s\n", "triad", "write, fsync");
    put_limits(b, r, CMD_BENCH_ONE);
    put_limits(b, r, CMD_BENCH_ALL);
    buf_printf(b, "  kernels: %s\n", r->kernels);
}

void cmd_bench_unit(char out[32], const struct cmd_bench_case *c)
{
    (void)snprintf(out, 32, c->kind == CMD_BENCH_RATE ? "%s/s" : "%s", c->kind == CMD_BENCH_LATENCY ? "ms" : c->unit);
}

bool cmd_bench_more(const struct cmd_bench_case *c)
{
    const size_t n = c->unit != NULL ? strlen(c->unit) : 0;
    return c->kind == CMD_BENCH_RATE || (n > 2 && strcmp(c->unit + n - 2, "/s") == 0);
}

bool cmd_bench_is_latency(const struct cmd_bench_case *c)
{
    return c->kind == CMD_BENCH_LATENCY || (c->kind == CMD_BENCH_SAMPLES && strcmp(c->unit, "ms") == 0);
}

void cmd_bench_put_topic(struct buf *b, const struct cmd_bench_topic *t)
{
    const bool tail = cmd_bench_is_latency(&t->cases[0]);
    buf_printf(b, "\n%s: %s\n  %-18s %10s %10s %10s  %-11s %7s %7s  %s\n", t->name, t->title, "", tail ? "p50" : "min",
               tail ? "p99" : "median", tail ? "p99.9" : "max", "", "share", "worst", "of");
}

/* Four digits that count, and no more than are needed. */
static void put_number(struct buf *b, double x)
{
    const int digits = x >= 1000.0 ? 0 : x >= 100.0 ? 1 : x >= 10.0 ? 2 : 3;
    buf_printf(b, " %10.*f", digits, x);
}

void cmd_bench_put_figure(struct buf *b, const struct cmd_bench_figure *f)
{
    char unit[32];
    buf_printf(b, "  %-18s", f->c->name);
    if (f->skipped[0] != 0) {
        buf_printf(b, " skipped: %s\n", f->skipped);
        return;
    }
    const bool tail = cmd_bench_is_latency(f->c);
    put_number(b, tail ? f->median : f->least);
    put_number(b, tail ? f->p99 : f->median);
    put_number(b, tail ? f->p999 : f->most);
    cmd_bench_unit(unit, f->c);
    buf_printf(b, "  %s", unit);
    if (f->share >= 0.0)
        buf_printf(b, "%*s %6.1f%% %6.1f%%  %s", (int)(11 - strlen(unit)), "", 100.0 * f->share, 100.0 * f->share_least,
                   cmd_bench_limit_names[f->limit].name);
    buf_printf(b, "\n");
}
