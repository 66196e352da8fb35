/* bench_json.c - the figures of `freshet bench` as a JSON file. */
#include "base/clock.h"
#include "cli/bench.h"
#include "cli/model.h"
#include "job/job_file.h"
#include <string.h>

static json_t *limits_json(const struct cmd_bench_machine *m, enum cmd_bench_span span)
{
    json_t *j = json_object();
    for (int i = 0; i < CMD_BENCH_LIMITS; i++)
        (void)json_object_set_new(j, cmd_bench_limit_names[i].json, json_real(m->limit[span][i]));
    return j;
}

static json_t *machine_json(const struct cmd_bench_machine *m)
{
    return json_pack("{s:i, s:{s:s, s:s, s:s}, s:o, s:o}", "cores", m->cores, "by", "f32", m->by[CMD_BENCH_F32], "bf16",
                     m->by[CMD_BENCH_BF16], "int8", m->by[CMD_BENCH_INT8], "one_core", limits_json(m, CMD_BENCH_ONE),
                     "all_cores", limits_json(m, CMD_BENCH_ALL));
}

static void put_values(json_t *j, const struct cmd_bench_figure *f)
{
    const struct {
        const char *name;
        double value;
    } values[] = {{"min", f->least}, {"median", f->median}, {"p99", f->p99},
                  {"p999", f->p999}, {"max", f->most},      {"cpu_frac", f->cpu_frac}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        (void)json_object_set_new(j, values[i].name, cmd_model_number(values[i].value));
    (void)json_object_set_new(j, "samples", json_integer((json_int_t)f->n));
    if (f->share < 0.0) return;
    (void)json_object_set_new(j, "limit", json_string(cmd_bench_limit_names[f->limit].name));
    (void)json_object_set_new(j, "share", json_real(f->share));
    (void)json_object_set_new(j, "share_worst", json_real(f->share_least));
    json_t *cost = json_object(), *shares = json_object(); /* of every limit that it has to do with */
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) {
        if (f->cost[i] <= 0.0) continue;
        (void)json_object_set_new(cost, cmd_bench_limit_names[i].name, json_real(f->cost[i]));
        (void)json_object_set_new(shares, cmd_bench_limit_names[i].name, json_real(f->shares[i]));
    }
    (void)json_object_set_new(j, "cost", cost);
    (void)json_object_set_new(j, "shares", shares);
}

static json_t *figure_json(const struct cmd_bench_figure *f)
{
    char unit[32];
    cmd_bench_unit(unit, f->c);
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", f->c->name, "topic", f->topic->name, "what",
                          f->c->what, "unit", unit, "better", cmd_bench_more(f->c) ? "higher" : "lower", "cores",
                          f->c->span == CMD_BENCH_ALL ? "all" : "one");
    if (f->skipped[0] != 0)
        (void)json_object_set_new(j, "skipped", json_string(f->skipped));
    else
        put_values(j, f);
    return j;
}

static int put_piece(const char *p, size_t n, void *b)
{
    buf_put(b, p, n);
    return 0;
}

enum status cmd_bench_write_json(const struct cmd_bench_report *r, const char *path, struct err *e)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n; i++) (void)json_array_append_new(list, figure_json(&r->figures[i]));
    json_t *j =
        json_pack("{s:i, s:o, s:s, s:b, s:o, s:o}", "format", 1, "machine", machine_json(&r->machine), "kernels",
                  r->kernels, "quick", (int)r->quick, "time", cmd_model_time(r->time_ms), "cases", list);
    if (j == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %s", path);
    struct buf b = {0};
    if (json_dump_callback(j, put_piece, &b, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0) b.oom = true;
    json_decref(j);
    buf_printf(&b, "\n");
    const enum status st = job_file_write(path, &b, e);
    buf_fini(&b);
    return st;
}
