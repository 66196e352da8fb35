/* bench_html.c - the report of `freshet bench`: one HTML file that needs nothing beside it, with the picture and the table. */
#include "base/clock.h"
#include "cli/bench.h"
#include "job/job_file.h"
#include "schemas/report_html.h"

#ifndef FRESHET_VERSION
#define FRESHET_VERSION "unknown"
#endif

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 "
    "1rem;color:#222;background:#fff}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}.dim{opacity:.65}"
    "table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{padding:.25rem .5rem;text-align:right;"
    "border-bottom:1px solid #8884;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "th:first-child,td:first-child,td.l,th.l{text-align:left}td.w{text-align:left;white-space:normal}tr.t "
    "td{font-weight:600;padding-top:1rem;"
    "white-space:normal}"
    ".scroll{overflow-x:auto}svg{max-width:100%;height:auto}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181c}}";

static void put_machine(struct buf *b, const struct cmd_bench_report *r)
{
    buf_printf(b,
               "<h2>The machine's limits, measured in the same run</h2>\n<div class=\"scroll\"><table><tr><th></th>");
    for (int i = 0; i < CMD_BENCH_LIMITS; i++) {
        buf_printf(b, "<th>%s", cmd_bench_limit_names[i].name);
        if (i < CMD_BENCH_PEAKS) buf_printf(b, "<br><span class=\"dim\">%s</span>", r->machine.by[i]);
        buf_printf(b, "</th>");
    }
    for (int span = 0; span < CMD_BENCH_SPANS; span++) {
        buf_printf(b, "</tr>\n<tr><td>%d %s</td>", span == CMD_BENCH_ONE ? 1 : r->machine.cores,
                   span == CMD_BENCH_ONE || r->machine.cores == 1 ? "core" : "cores");
        for (int i = 0; i < CMD_BENCH_LIMITS; i++)
            buf_printf(b, "<td>%.4g %s</td>", r->machine.limit[span][i] * cmd_bench_limit_names[i].scale,
                       cmd_bench_limit_names[i].unit);
    }
    buf_printf(b, "</tr></table></div>\n<p class=\"dim\">Kernels: ");
    report_html_text(b, r->kernels);
    buf_printf(b, "</p>\n");
}

static void put_row(struct buf *b, const struct cmd_bench_figure *f)
{
    char unit[32];
    const double values[] = {f->least, f->median, f->p99, f->p999, f->most};
    buf_printf(b, "<tr><td>%s</td><td class=\"w\">", f->c->name);
    report_html_text(b, f->c->what);
    if (f->skipped[0] != 0) {
        buf_printf(b, "</td><td class=\"w\" colspan=\"9\">left out: ");
        report_html_text(b, f->skipped);
        buf_printf(b, "</td></tr>\n");
        return;
    }
    cmd_bench_unit(unit, f->c);
    buf_printf(b, "</td>");
    for (int i = 0; i < 5; i++) {
        if ((i == 2 || i == 3) && !cmd_bench_is_latency(f->c))
            buf_printf(b, "<td></td>");
        else
            buf_printf(b, values[i] >= 1000.0 ? "<td>%.0f</td>" : "<td>%.4g</td>", values[i]);
    }
    buf_printf(b, "<td class=\"l\">%s</td>", unit);
    if (f->share >= 0.0)
        buf_printf(b, "<td>%.1f %%</td><td>%.1f %%</td><td class=\"l\">%s</td>", 100.0 * f->share,
                   100.0 * f->share_least, cmd_bench_limit_names[f->limit].name);
    else
        buf_printf(b, "<td></td><td></td><td></td>");
    buf_printf(b, "</tr>\n");
}

static void put_table(struct buf *b, const struct cmd_bench_report *r)
{
    const struct cmd_bench_topic *last = NULL;
    buf_printf(
        b, "<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<tr><th>case</th><th class=\"l\">what</th><th>min</th>"
           "<th>median</th><th>p99</th><th>p99.9</th><th>max</th><th class=\"l\">unit</th><th>share</th><th>worst</th>"
           "<th class=\"l\">of</th></tr>\n");
    for (size_t i = 0; i < r->n; i++) {
        const struct cmd_bench_figure *f = &r->figures[i];
        if (f->topic != last) {
            buf_printf(b, "<tr class=\"t\"><td colspan=\"11\">%s: ", f->topic->name);
            report_html_text(b, f->topic->title);
            buf_printf(b, "</td></tr>\n");
        }
        last = f->topic;
        put_row(b, f);
    }
    buf_printf(b, "</table></div>\n");
}

enum status cmd_bench_write_html(const struct cmd_bench_report *r, const char *path, struct err *e)
{
    struct buf b = {0};
    char time[CLOCK_TEXT];
    clock_format(r->time_ms, time);
    buf_printf(&b,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>freshet bench</title>\n"
               "<meta name=\"viewport\" content=\"width=device-width\"><style>%s</style></head><body>\n",
               style);
    buf_printf(&b, "<h1>freshet bench</h1>\n<p class=\"dim\">freshet %s, %s%s</p>\n", FRESHET_VERSION, time,
               r->quick ? ", --quick: few and short rounds" : "");
    buf_printf(
        &b, "<p>Each result was checked first, then timed in rounds. A share is the work that was necessary over what "
            "the limit would allow in the same time.</p>\n");
    put_machine(&b, r);
    buf_printf(&b, "<h2>Shares and latencies</h2>\n");
    cmd_bench_put_svg(&b, r);
    put_table(&b, r);
    buf_printf(&b, "</body></html>\n");
    const enum status st = job_file_write(path, &b, e);
    buf_fini(&b);
    return st;
}

enum status cmd_bench_write_svg(const struct cmd_bench_report *r, const char *path, struct err *e)
{
    struct buf b = {0};
    cmd_bench_put_svg(&b, r);
    const enum status st = job_file_write(path, &b, e);
    buf_fini(&b);
    return st;
}
