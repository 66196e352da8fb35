/* progress.c - see progress.h. */
#include "job/progress.h"
#include "base/clock.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TERMINAL_US = 500000, LINE_US = 10000000, TERMINAL_LINE_US = 60000000, BAR = 24 };

void progress_init(struct progress *p, bool quiet, int64_t now_us)
{
    *p = (struct progress){.quiet = quiet,
                           .terminal = isatty(STDERR_FILENO) == 1,
                           .next_us = now_us,
                           .next_line_us = now_us,
                           .next_examples = 1000};
}

static bool line_due(const struct progress *p, int64_t now_us, uint64_t examples)
{
    return examples >= p->next_examples || (p->lines > 0 && now_us >= p->next_line_us);
}

bool progress_due(const struct progress *p, int64_t now_us, uint64_t examples)
{
    if (p->quiet) return false;
    return line_due(p, now_us, examples) || (p->terminal && now_us >= p->next_us);
}

static const char *figure(double x, char out[16])
{
    if (isnan(x))
        (void)snprintf(out, 16, "     -");
    else
        (void)snprintf(out, 16, "%6.4f", x);
    return out;
}

static void show_heads(bool terminal)
{
    (void)fprintf(stderr, "%s%10s %10s | %6s %6s %6s | %6s %6s %6s | %6s | %7s %8s  %s\n", terminal ? "\r\033[K" : "",
                  "slates", "examples", "gauc", "loss", "calib", "gauc", "loss", "calib", "popul.", "version",
                  "events/s", "event time");
    (void)fprintf(stderr,
                  "%21s | %20s | %20s |        | (gauc: mean auc of slates, 0.5 is chance; loss: log-loss; calib:\n"
                  "%21s | %20s | %20s |        |  predicted over observed; popul.: gauc of popularity alone)\n",
                  "", "average so far", "since the last line", "", "", "");
}

static void show_line(struct progress *p, const struct progress_now *n, const char *when)
{
    char a[16], b[16], c[16], d[16], f[16], g[16], h[16];
    if (!p->headed) show_heads(p->terminal);
    p->headed = true;
    (void)fprintf(stderr, "%s%10llu %10llu | %s %s %s | %s %s %s | %s | %7llu %8.0f  %s\n",
                  p->terminal ? "\r\033[K" : "", (unsigned long long)n->slates, (unsigned long long)n->examples,
                  figure(n->all.gauc, a), figure(n->all.logloss, b), figure(n->all.calibration, c),
                  figure(n->since.gauc, d), figure(n->since.logloss, f), figure(n->since.calibration, g),
                  figure(n->popularity_gauc, h), (unsigned long long)n->version, n->events_per_s, when);
}

static void show_bar(const struct progress_now *n, const char *when)
{
    char bar[BAR + 1], a[16], b[16];
    const int full = n->done_frac < 0.0 ? 0 : (int)(n->done_frac * BAR);
    for (int i = 0; i < BAR; i++) bar[i] = i < full ? '#' : '.';
    bar[BAR] = '\0';
    (void)fprintf(stderr, "\r\033[K[%s] %3.0f%%  %llu events  %.0f/s  gauc %s  loss %s  version %llu  %.10s", bar,
                  n->done_frac < 0.0 ? 0.0 : 100.0 * n->done_frac, (unsigned long long)n->events, n->events_per_s,
                  figure(n->all.gauc, a), figure(n->since.logloss, b), (unsigned long long)n->version, when);
}

static double mean_since(double now, uint64_t n, double then, uint64_t m)
{
    if (m == 0) return now;
    return n > m ? (now * (double)n - then * (double)m) / (double)(n - m) : NAN;
}

/* Out of the averages over all so far: those of the examples since the last line. */
static void since_last(const struct report_figures *then, const struct report_figures *all,
                       struct report_figures *since)
{
    *since = (struct report_figures){
        .auc = NAN,
        .ne = NAN,
        .calibration = mean_since(all->calibration, all->positives, then->calibration, then->positives),
        .gauc = mean_since(all->gauc, all->slates, then->gauc, then->slates),
        .logloss = mean_since(all->logloss, all->examples, then->logloss, then->examples),
        .examples = all->examples - then->examples,
        .slates = all->slates - then->slates};
}

void progress_show(struct progress *p, int64_t now_us, struct progress_now *n)
{
    char when[CLOCK_TEXT] = "-";
    if (p->quiet) return;
    if (n->watermark_ms != INT64_MIN) clock_format(n->watermark_ms, when);
    since_last(&p->last, &n->all, &n->since);
    if (n->last || line_due(p, now_us, n->examples)) {
        show_line(p, n, when);
        p->last = n->all;
        p->lines++;
        p->next_line_us = now_us + (p->terminal ? TERMINAL_LINE_US : LINE_US);
        while (p->next_examples <= n->examples) p->next_examples *= 2;
    }
    if (p->terminal && !n->last) show_bar(n, when);
    p->next_us = now_us + TERMINAL_US;
}

/* " (0.7910 to 0.7978)"; nothing where it is not known. */
static const char *interval(const struct report_interval *i, char out[40])
{
    out[0] = '\0';
    if (isfinite(i->lower)) (void)snprintf(out, 40, " (%.4f to %.4f)", i->lower, i->upper);
    return out;
}

static void summary_parts(const struct report *r)
{
    char a[16];
    if (r->n_parts < 2) return;
    (void)fprintf(stderr, "  gauc without");
    for (uint32_t i = 0; i < r->n_parts; i++)
        (void)fprintf(stderr, "%s %s %s", i > 0 ? "," : "", r->parts[i].name, figure(r->parts[i].gauc_without, a));
    (void)fprintf(stderr, "\n");
}

static void summary_left_out(const struct report *r)
{
    if (r->n_rejects == 0 && r->duplicates == 0) return;
    (void)fprintf(stderr, "  left out:");
    if (r->duplicates > 0) (void)fprintf(stderr, " %llu duplicates", (unsigned long long)r->duplicates);
    for (uint32_t i = 0; i < r->n_rejects; i++)
        (void)fprintf(stderr, "%s %llu %s", i > 0 || r->duplicates > 0 ? "," : "", (unsigned long long)r->rejects[i].n,
                      r->rejects[i].code);
    (void)fprintf(stderr, "\n");
}

void progress_summary(const struct progress *p, const struct report *r)
{
    char a[16], b[16], c[16], d[16], range[40];
    if (p->quiet) return;
    (void)fprintf(stderr, "%llu events, %llu slates, %llu examples in %.1f s; %llu slates still open\n",
                  (unsigned long long)r->events, (unsigned long long)r->slates, (unsigned long long)r->examples,
                  r->seconds, (unsigned long long)r->open);
    (void)fprintf(stderr, "  progressive gauc %s%s, auc %s, log-loss %s, calibration %s\n",
                  figure(r->progressive.gauc, a), interval(&r->detail->gauc, range), figure(r->progressive.auc, b),
                  figure(r->progressive.logloss, c), figure(r->progressive.calibration, d));
    (void)fprintf(stderr, "  gauc of baselines: popularity %s, bought before %s, frozen encoder %s, cheap parts %s\n",
                  figure(r->baselines[REPORT_POPULARITY].gauc, a), figure(r->baselines[REPORT_REPEAT].gauc, b),
                  figure(r->baselines[REPORT_FROZEN].gauc, c), figure(r->baselines[REPORT_CHEAP].gauc, d));
    summary_parts(r);
    summary_left_out(r);
    (void)fprintf(stderr, "  version %llu, sha256 %s\n", (unsigned long long)r->version, r->sha256);
}
