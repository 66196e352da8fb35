/* bench_svg.c - the figures of `freshet bench` as one picture: bars for shares of the limit, quantiles of latencies.
 *
 * A bar ends at the share of the median; the mark inside it is the worst.  Latencies lie on a logarithmic axis: a dot for the
 * median, a thick line to p99, a thin one to p99.9.
 */
#include "cli/bench.h"
#include <math.h>
#include <stdio.h>

enum { WIDTH = 900, LEFT = 170, PLOT = 500, ROW = 18, HEAD = 46 };
static const char *const colours[CMD_BENCH_LIMITS] = {"#3b78c4", "#2a9d8f", "#8e5bb5", "#d08a2e", "#8a8f98"};

static bool has_share(const struct cmd_bench_figure *f)
{
    return f->skipped[0] == 0 && f->share >= 0.0;
}

static bool has_latency(const struct cmd_bench_figure *f)
{
    return f->skipped[0] == 0 && cmd_bench_is_latency(f->c);
}

static int count(const struct cmd_bench_report *r, bool (*has)(const struct cmd_bench_figure *f))
{
    int n = 0;
    for (size_t i = 0; i < r->n; i++) n += has(&r->figures[i]);
    return n;
}

static void put_label(struct buf *b, double y, const char *name)
{
    buf_printf(b, "<text class=\"e\" x=\"%d\" y=\"%.0f\">%s</text>\n", LEFT - 8, y + 12.0, name);
}

static void put_grid(struct buf *b, double x, double top, double height, const char *text)
{
    buf_printf(b,
               "<line class=\"g\" x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.0f\"/><text class=\"m\" x=\"%.1f\" "
               "y=\"%.0f\">%s</text>\n",
               x, top, x, top + height, x, top - 4.0, text);
}

static void put_title(struct buf *b, double y, const char *text)
{
    buf_printf(b, "<text class=\"h\" x=\"0\" y=\"%.0f\">%s</text>\n", y, text);
}

/* ---- shares ---- */

static void put_legend(struct buf *b, double y)
{
    for (int i = 0; i < CMD_BENCH_LIMITS; i++)
        buf_printf(
            b,
            "<rect x=\"%d\" y=\"%.0f\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%.0f\">%s</text>\n",
            LEFT + 210 + 96 * i, y - 9.0, colours[i], LEFT + 224 + 96 * i, y, cmd_bench_limit_names[i].name);
}

static void put_bar(struct buf *b, double y, const struct cmd_bench_figure *f)
{
    const double share = f->share < 1.0 ? f->share : 1.0;
    put_label(b, y, f->c->name);
    buf_printf(b, "<rect x=\"%d\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", LEFT, y + 2.0, PLOT * share,
               ROW - 5, colours[f->limit]);
    buf_printf(b, "<line class=\"w\" x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.0f\"/>\n", LEFT + PLOT * f->share_least,
               y + 2.0, LEFT + PLOT * f->share_least, y + ROW - 3.0);
    buf_printf(b, "<text x=\"%.1f\" y=\"%.0f\">%.1f %%</text>\n", LEFT + PLOT * share + 6.0, y + 12.0,
               100.0 * f->share);
}

static double put_shares(struct buf *b, const struct cmd_bench_report *r, double y)
{
    const double top = y + HEAD;
    put_title(b, y + 16.0, "Share of the machine's limit");
    put_legend(b, y + 16.0);
    for (int i = 0; i <= 4; i++) {
        const char *const texts[] = {"0", "25 %", "50 %", "75 %", "100 %"};
        put_grid(b, LEFT + PLOT * i / 4.0, top, ROW * count(r, has_share), texts[i]);
    }
    y = top;
    for (size_t i = 0; i < r->n; i++) {
        if (!has_share(&r->figures[i])) continue;
        put_bar(b, y, &r->figures[i]);
        y += ROW;
    }
    return y + ROW;
}

/* ---- latencies ---- */

struct axis {
    double least, most; /* powers of ten, in ms */
};

static struct axis find_axis(const struct cmd_bench_report *r)
{
    double least = INFINITY, most = 0.0;
    for (size_t i = 0; i < r->n; i++) {
        const struct cmd_bench_figure *f = &r->figures[i];
        if (!has_latency(f)) continue;
        if (f->median < least) least = f->median;
        if (f->p999 > most) most = f->p999;
    }
    least = least > 1e-6 ? least : 1e-6; /* the clock's step is above it */
    return (struct axis){pow(10.0, floor(log10(least))), pow(10.0, ceil(log10(most > least ? most : 10.0 * least)))};
}

static double place(const struct axis *a, double ms)
{
    const double at = log10((ms > a->least ? ms : a->least) / a->least) / log10(a->most / a->least);
    return LEFT + PLOT * at;
}

static void put_quantiles(struct buf *b, double y, const struct cmd_bench_figure *f, const struct axis *a)
{
    const double middle = y + ROW / 2.0, p50 = place(a, f->median), p99 = place(a, f->p99), p999 = place(a, f->p999);
    put_label(b, y, f->c->name);
    buf_printf(b, "<line class=\"n\" x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.0f\"/>\n", p99, middle, p999, middle);
    buf_printf(b, "<line class=\"t\" x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.0f\"/>\n", p50, middle, p99, middle);
    buf_printf(b, "<circle cx=\"%.1f\" cy=\"%.0f\" r=\"4\" fill=\"%s\"/>\n", p50, middle, colours[0]);
    buf_printf(b, "<text x=\"%d\" y=\"%.0f\">%.4g / %.4g / %.4g ms</text>\n", LEFT + PLOT + 12, y + 12.0, f->median,
               f->p99, f->p999);
}

static double put_latencies(struct buf *b, const struct cmd_bench_report *r, double y)
{
    const double top = y + HEAD, height = ROW * count(r, has_latency);
    const struct axis a = find_axis(r);
    put_title(b, y + 16.0, "Latencies: p50, p99, p99.9");
    for (double ms = a.least; ms < a.most * 1.5; ms *= 10.0) {
        char text[32];
        (void)snprintf(text, sizeof text, "%g ms", ms);
        put_grid(b, place(&a, ms), top, height, text);
    }
    y = top;
    for (size_t i = 0; i < r->n; i++) {
        if (!has_latency(&r->figures[i])) continue;
        put_quantiles(b, y, &r->figures[i], &a);
        y += ROW;
    }
    return y + ROW;
}

void cmd_bench_put_svg(struct buf *b, const struct cmd_bench_report *r)
{
    const int shares = count(r, has_share), latencies = count(r, has_latency);
    const int height =
        (shares > 0 ? HEAD + ROW * (shares + 1) : 0) + (latencies > 0 ? HEAD + ROW * (latencies + 1) : 0);
    double y = 0.0;
    buf_printf(
        b,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n"
        "<title>freshet bench: shares of the machine's limit, and latencies</title>\n<style>\n"
        "svg{font:12px system-ui,sans-serif;color:#222}svg text{fill:currentColor}\n"
        "@media(prefers-color-scheme:dark){svg{color:#ddd}}\n"
        ".h{font-size:14px;font-weight:600}.e{text-anchor:end}.m{text-anchor:middle;opacity:.6}\n"
        ".g{stroke:currentColor;opacity:.18}.w{stroke:#fff;stroke-width:2}\n"
        ".t{stroke:#3b78c4;stroke-width:4}.n{stroke:#3b78c4;stroke-width:1.5}\n</style>\n",
        WIDTH, height > 0 ? height : ROW, WIDTH, height > 0 ? height : ROW);
    if (shares > 0) y = put_shares(b, r, y);
    if (latencies > 0) (void)put_latencies(b, r, y);
    buf_printf(b, "</svg>\n");
}
