/* progress.c - see progress.h. */
#include "job/progress.h"
#include "base/clock.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TERMINAL_US = 500000, LINE_US = 10000000, BAR = 24 };

void progress_init(struct progress *p, bool quiet, int64_t now_us)
{
    *p = (struct progress){
        .quiet = quiet, .terminal = isatty(STDERR_FILENO) == 1, .next_us = now_us, .next_examples = 1000};
}

bool progress_due(const struct progress *p, int64_t now_us, uint64_t examples)
{
    if (p->quiet) return false;
    return p->terminal ? now_us >= p->next_us : examples >= p->next_examples || (now_us >= p->next_us && p->lines > 0);
}

static const char *figure(double x, char out[16])
{
    if (isnan(x))
        (void)snprintf(out, 16, "     -");
    else
        (void)snprintf(out, 16, "%6.4f", x);
    return out;
}

static void show_line(struct progress *p, const struct progress_now *n, const char *when)
{
    char a[16], b[16], c[16], d[16];
    if (!p->headed) {
        (void)fprintf(stderr, "%10s %8s %10s | %6s %6s | %6s %6s | %7s %8s  %s\n", "events", "slates", "examples",
                      "gauc", "loss", "gauc", "loss", "version", "events/s", "event time");
        (void)fprintf(stderr, "%10s %8s %10s | %13s | %13s |\n", "", "", "", "average", "since last");
    }
    p->headed = true;
    (void)fprintf(stderr, "%10llu %8llu %10llu | %s %s | %s %s | %7llu %8.0f  %s\n", (unsigned long long)n->events,
                  (unsigned long long)n->slates, (unsigned long long)n->examples, figure(n->all.gauc, a),
                  figure(n->all.logloss, b), figure(n->since.gauc, c), figure(n->since.logloss, d),
                  (unsigned long long)n->version, n->events_per_s, when);
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

void progress_since(struct progress *p, const struct report_figures *all, struct report_figures *since)
{
    const struct report_figures *then = &p->last;
    *since = (struct report_figures){.auc = NAN,
                                     .ne = NAN,
                                     .calibration = NAN,
                                     .gauc = mean_since(all->gauc, all->slates, then->gauc, then->slates),
                                     .logloss = mean_since(all->logloss, all->examples, then->logloss, then->examples),
                                     .examples = all->examples - then->examples,
                                     .slates = all->slates - then->slates};
    p->last = *all;
}

void progress_show(struct progress *p, int64_t now_us, const struct progress_now *n)
{
    char when[CLOCK_TEXT] = "-";
    if (p->quiet) return;
    if (n->watermark_ms != INT64_MIN) clock_format(n->watermark_ms, when);
    if (p->terminal)
        show_bar(n, when);
    else
        show_line(p, n, when);
    p->lines++;
    p->next_us = now_us + (p->terminal ? TERMINAL_US : LINE_US);
    while (p->next_examples <= n->examples) p->next_examples *= 2;
}

void progress_end(struct progress *p)
{
    if (p->terminal && p->lines > 0 && !p->quiet) (void)fputc('\n', stderr);
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
    char a[16], b[16], c[16], d[16];
    if (p->quiet) return;
    (void)fprintf(stderr, "%llu events, %llu slates, %llu examples in %.1f s; %llu slates still open\n",
                  (unsigned long long)r->events, (unsigned long long)r->slates, (unsigned long long)r->examples, r->seconds,
                  (unsigned long long)r->open);
    (void)fprintf(stderr, "  progressive gauc %s, auc %s, log-loss %s, calibration %s\n", figure(r->progressive.gauc, a),
                  figure(r->progressive.auc, b), figure(r->progressive.logloss, c), figure(r->progressive.calibration, d));
    (void)fprintf(stderr, "  gauc of baselines: popularity %s, bought before %s, frozen encoder %s\n",
                  figure(r->popularity.gauc, a), figure(r->repeat.gauc, b), figure(r->frozen.gauc, c));
    summary_parts(r);
    summary_left_out(r);
    (void)fprintf(stderr, "  version %llu, sha256 %s\n", (unsigned long long)r->version, r->sha256);
}
