/* report_html.c - see report_html.h. */
#include "schemas/report_html.h"
#include "base/clock.h"
#include "schemas/report_plot.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light "
    "dark;--bg:#fff;--fg:#1d2024;--c0:#1f6fd0;--c1:#d0741f;--c2:#2a9d73;--c3:#8e5bb5;--c4:#8a8f98;"
    "--c5:#c0392b}"
    "@media(prefers-color-scheme:dark){:root{--bg:#15171b;--fg:#dcdfe4;--c0:#6cabff;--c1:#f0a35e;--c2:#5fd0a4;"
    "--c3:#c39bf0;--c4:#9aa0aa;--c5:#ff8a7a}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:var(--fg);"
    "background:var(--bg)}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .4rem}p{margin:.3rem 0}.dim{opacity:.7}"
    "table{border-collapse:collapse;font-size:.86rem;width:100%}th,td{padding:.22rem .5rem;text-align:right;"
    "border-bottom:1px solid #8884;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}tr.b td{font-weight:600}.scroll{overflow-x:auto}"
    "svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:currentColor}"
    ".e{text-anchor:end}.m{text-anchor:middle}.g{stroke:currentColor;opacity:.15}"
    ".d{stroke:currentColor;opacity:.5;stroke-dasharray:5 4}path{fill:none;stroke-width:1.6}"
    ".c0{stroke:var(--c0);stroke-width:2.2}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}"
    ".c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.f0{fill:var(--c0)}";

void report_html_text(struct buf *b, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': buf_printf(b, "&amp;"); break;
        case '<': buf_printf(b, "&lt;"); break;
        case '>': buf_printf(b, "&gt;"); break;
        case '"': buf_printf(b, "&quot;"); break;
        default: buf_put(b, text, 1);
        }
    }
}

static void put_cell(struct buf *b, double v)
{
    if (isfinite(v))
        buf_printf(b, "<td>%.4f</td>", v);
    else
        buf_printf(b, "<td>–</td>");
}

static void put_count(struct buf *b, uint64_t n)
{
    buf_printf(b, "<td>%llu</td>", (unsigned long long)n);
}

static void put_interval(struct buf *b, const struct report_interval *i)
{
    if (isfinite(i->lower))
        buf_printf(b, "<td>%+.4f <span class=\"dim\">(%+.4f to %+.4f)</span></td>", i->mean, i->lower, i->upper);
    else
        put_cell(b, i->mean);
}

static void open_table(struct buf *b, const char *heads)
{
    buf_printf(b, "<div class=\"scroll\"><table><tr>");
    for (const char *p = heads; *p != '\0';) {
        const size_t n = strcspn(p, "|");
        buf_printf(b, "<th>%.*s</th>", (int)n, p);
        p += n + (p[n] != '\0');
    }
    buf_printf(b, "</tr>\n");
}

static void close_table(struct buf *b)
{
    buf_printf(b, "</table></div>\n");
}

static void put_name(struct buf *b, const char *name)
{
    buf_printf(b, "<td>");
    report_html_text(b, name);
    buf_printf(b, "</td>");
}

static void put_figures(struct buf *b, const struct report_figures *f)
{
    put_cell(b, f->gauc);
    put_cell(b, f->auc);
    put_cell(b, f->logloss);
    put_cell(b, f->ne);
    put_cell(b, f->calibration);
    put_count(b, f->examples);
    put_count(b, f->slates);
}

static void put_figures_row(struct buf *b, const char *name, const struct report_figures *f)
{
    buf_printf(b, "<tr>");
    put_name(b, name);
    put_figures(b, f);
    buf_printf(b, "</tr>\n");
}

static const char figure_heads[] = "|GAUC|AUC|log-loss|NE|calibration|examples|slates";

/* ---- model and baselines ---- */

static void put_versus(struct buf *b, const char *name, const struct report_figures *f, const struct report_ranked *k,
                       uint32_t n_k, const struct report_interval *over)
{
    buf_printf(b, over == NULL ? "<tr class=\"b\">" : "<tr>");
    put_name(b, name);
    put_cell(b, f->gauc);
    if (over != NULL)
        put_interval(b, over);
    else
        buf_printf(b, "<td></td>");
    put_cell(b, f->auc);
    put_cell(b, f->logloss);
    put_cell(b, f->calibration);
    for (uint32_t i = 0; i < n_k; i++) put_cell(b, k->ndcg[i]);
    for (uint32_t i = 0; i < n_k; i++) put_cell(b, k->recall[i]);
    buf_printf(b, "</tr>\n");
}

/* Heads of a table: those given, then NDCG and recall at each k. */
static void put_cuts(char *heads, size_t size, const char *before, const struct report_detail *d)
{
    size_t n = (size_t)snprintf(heads, size, "%s", before);
    for (int what = 0; what < 2; what++)
        for (uint32_t i = 0; i < d->n_k && n < size; i++)
            n += (size_t)snprintf(heads + n, size - n, "|%s@%u", what == 0 ? "NDCG" : "recall", d->k[i]);
}

static void put_summary(struct buf *b, const struct report *r)
{
    const struct report_detail *d = r->detail;
    char heads[256];
    put_cuts(heads, sizeof heads, "|GAUC|model is better by (95 %)|AUC|log-loss|calibration", d);
    buf_printf(b,
               "<h2>Model and baselines</h2>\n<p class=\"dim\">Every prediction was made before its label was learnt "
               "from. GAUC: mean AUC of the slates with both labels");
    if (isfinite(d->gauc.mean)) buf_printf(b, "; GAUC of the model %.4f", d->gauc.mean);
    if (isfinite(d->gauc.lower)) buf_printf(b, " (%.4f to %.4f)", d->gauc.lower, d->gauc.upper);
    buf_printf(b, ". Intervals by bootstrap over users, paired on the same slates.</p>\n");
    open_table(b, heads);
    put_versus(b, "model", &r->progressive, &d->model_ranked, d->n_k, NULL);
    for (int i = 0; i < REPORT_BASELINES; i++)
        put_versus(b, report_baseline_names[i], &r->baselines[i], &d->ranked[i], d->n_k, &d->gauc_over[i]);
    close_table(b);
}

/* ---- curves ---- */

struct curve {
    double x[REPORT_CURVE_MAX], y[1 + REPORT_BASELINES][REPORT_CURVE_MAX];
    size_t n;
};

static void curve_of(struct curve *c, const struct report_detail *d)
{
    c->n = d->n_curve;
    for (size_t i = 0; i < c->n; i++)
        c->x[i] = ((double)d->curve[i].cohort.from_ms + (double)d->curve[i].cohort.to_ms) / 2.0;
}

static void put_gauc_curve(struct buf *b, struct curve *c, const struct report_detail *d)
{
    struct report_line lines[REPORT_BASELINES];
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) c->y[0][i] = d->curve[i].model.gauc;
    lines[n++] = (struct report_line){"model", c->y[0], 0};
    for (int k = 0; k < REPORT_BASELINES; k++) {
        if (k == REPORT_CONSTANT) continue; /* one half by its nature */
        for (size_t i = 0; i < c->n; i++) c->y[n][i] = d->curve[i].baselines[k];
        lines[n] = (struct report_line){report_baseline_names[k], c->y[n], (int)n};
        n++;
    }
    buf_printf(b, "<h2>GAUC over time</h2>\n");
    report_plot_lines(b, &(struct report_axes){"GAUC of the model and the baselines over time", c->x, c->n, NAN}, lines,
                      n);
}

static void put_one_curve(struct buf *b, struct curve *c, const char *head, const char *name, double level)
{
    const struct report_line line = {name, c->y[0], 0};
    buf_printf(b, "<h2>%s</h2>\n", head);
    report_plot_lines(b, &(struct report_axes){head, c->x, c->n, level}, &line, 1);
}

static void put_curves(struct buf *b, const struct report_detail *d)
{
    struct curve c;
    bool lists = false;
    curve_of(&c, d);
    if (c.n < 2) return;
    put_gauc_curve(b, &c, d);
    for (size_t i = 0; i < c.n; i++) c.y[0][i] = d->curve[i].model.ne;
    put_one_curve(b, &c, "Normalised entropy over time", "log-loss over that of the rate alone", 1.0);
    for (size_t i = 0; i < c.n; i++) c.y[0][i] = d->curve[i].model.calibration;
    put_one_curve(b, &c, "Calibration over time", "predicted over observed", 1.0);
    for (size_t i = 0; i < c.n; i++) {
        const struct report_cohort *x = &d->curve[i].cohort;
        c.y[0][i] = x->shown > 0 ? (double)x->taken / (double)x->shown : NAN;
        lists = lists || x->shown > 0;
    }
    if (!lists) return;
    put_one_curve(b, &c, "Click-through of recorded lists, by when they were shown", "taken over shown", NAN);
    for (size_t i = 0; i < c.n; i++) {
        const struct report_cohort *x = &d->curve[i].cohort;
        c.y[0][i] = x->lists > 0 ? (double)x->converted_lists / (double)x->lists : NAN;
    }
    put_one_curve(b, &c, "Conversion of recorded lists, by when they were shown", "lists with a conversion", NAN);
}

/* ---- tables ---- */

static void put_parts(struct buf *b, const struct report *r)
{
    if (r->n_parts == 0) return;
    buf_printf(
        b,
        "<h2>Parts</h2>\n<p class=\"dim\">GAUC of the sum that was scored, less that without the part's logit.</p>\n");
    open_table(b, "|brings|GAUC without|AUC without|log-loss without");
    for (uint32_t p = 0; p < r->n_parts; p++) {
        buf_printf(b, "<tr>");
        put_name(b, r->parts[p].name);
        put_interval(b, &r->detail->part_gauc[p]);
        put_cell(b, r->parts[p].gauc_without);
        put_cell(b, r->parts[p].auc_without);
        put_cell(b, r->parts[p].logloss_without);
        buf_printf(b, "</tr>\n");
    }
    close_table(b);
}

static void put_slices(struct buf *b, const struct report *r)
{
    const struct report_detail *d = r->detail;
    buf_printf(b, "<h2>Slices</h2>\n<p class=\"dim\">AUC over the pairs inside the slice.</p>\n");
    open_table(b, figure_heads);
    put_figures_row(b, "all", &r->progressive);
    for (int i = 0; i < REPORT_SLICES; i++)
        if (r->slices[i].examples > 0) put_figures_row(b, report_slice_names[i], &r->slices[i]);
    for (int i = 0; i < REPORT_WINDOWS; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "running window of %g h and the %u before it",
                       (double)d->window_ms / 3600000.0, d->window_counts[i]);
        put_figures_row(b, name, &d->windows[i]);
    }
    put_figures_row(b, "decayed", &d->decayed);
    close_table(b);
}

static void put_segments(struct buf *b, const struct report_detail *d)
{
    for (uint32_t i = 0; i < d->n_segments;) {
        const char *column = d->segments[i].column;
        buf_printf(b, "<h2>By ");
        report_html_text(b, column);
        buf_printf(b, "</h2>\n");
        open_table(b, figure_heads);
        for (; i < d->n_segments && strcmp(d->segments[i].column, column) == 0; i++)
            put_figures_row(b, d->segments[i].value, &d->segments[i].figures);
        close_table(b);
    }
}

static void put_groups(struct buf *b, const char *head, const struct report_group *g, size_t n)
{
    open_table(b, head);
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "<tr>");
        put_name(b, g[i].name);
        put_count(b, g[i].candidates);
        put_cell(b, (double)g[i].positives / (double)g[i].candidates);
        put_cell(b, (double)g[i].top / (double)g[i].candidates);
        put_cell(b, g[i].positives > 0 ? g[i].predicted / (double)g[i].positives : NAN);
        buf_printf(b, "</tr>\n");
    }
    close_table(b);
}

static void put_lists(struct buf *b, const struct report_detail *d)
{
    if (d->lists == 0) {
        buf_printf(
            b,
            "<h2>What stands at the top</h2>\n<p class=\"dim\">No list was recorded, and no order with its sampled "
            "negatives had more than %d candidates, all of which are at the top: there is no coverage, diversity or "
            "exposure of a choice to tell.</p>\n",
            REPORT_TOP);
        return;
    }
    buf_printf(
        b, "<h2>What stands at the top</h2>\n<p>Of %.0f different candidates %.0f were among the first %d of a list "
           "(a shorter one that was recorded counts whole)",
        d->list_items, d->list_top, REPORT_TOP);
    if (isfinite(d->categories_diversity))
        buf_printf(b, "; %.1f %% of the pairs there differ in category", 100.0 * d->categories_diversity);
    if (isfinite(d->vectors_diversity))
        buf_printf(b, "; their sentences are %.3f apart (1 − cosine)", d->vectors_diversity);
    buf_printf(b, ".</p>\n");
    put_groups(b, "age of the item|candidates|positive|at the top|calibration", d->ages, REPORT_AGES);
    put_groups(b, "popularity of the item|candidates|positive|at the top|calibration", d->deciles, d->n_deciles);
}

static void put_ranks(struct buf *b, const struct report_detail *d, const char *name, const struct report_ranked *r)
{
    buf_printf(b, "<tr>");
    put_name(b, name);
    for (uint32_t i = 0; i < d->n_k; i++) put_cell(b, r->ndcg[i]);
    for (uint32_t i = 0; i < d->n_k; i++) put_cell(b, r->recall[i]);
    put_count(b, r->slates);
    buf_printf(b, "</tr>\n");
}

static void put_unsampled(struct buf *b, const struct report_detail *d)
{
    char heads[256];
    if (d->unsampled.slates == 0) return;
    put_cuts(heads, sizeof heads, "", d);
    (void)strncat(heads, "|slates", sizeof heads - strlen(heads) - 1);
    buf_printf(
        b,
        "<h2>Among all active items</h2>\n<p class=\"dim\">A sample of the slates, each ranked with every active item "
        "(%.0f on average) as a candidate.</p>\n",
        d->unsampled_items);
    open_table(b, heads);
    put_ranks(b, d, "model", &d->unsampled);
    put_ranks(b, d, "popularity", &d->unsampled_popularity);
    close_table(b);
}

static void put_served_lists(struct buf *b, const char *which, const struct report_served *x)
{
    buf_printf(
        b,
        "<p class=\"dim\">%llu lists %s. The learner's logit less the served one: mean %.4g, deviation %.4g; half "
        "within %.3g, 99 %% within %.3g.</p>\n",
        (unsigned long long)x->lists, which, x->skew.mean, x->skew.deviation, x->skew.p50, x->skew.p99);
    open_table(b, figure_heads);
    put_figures_row(b, "served", &x->figures);
    put_figures_row(b, "learner, same items", &x->learner);
    close_table(b);
}

static void put_served(struct buf *b, const struct report_detail *d)
{
    const struct report_logged *x = &d->logged;
    if (d->served.lists + x->all.lists == 0) return;
    buf_printf(b, "<h2>What was served</h2>\n");
    if (d->served.lists > 0) put_served_lists(b, "that echo their scores", &d->served);
    if (x->all.lists == 0) return;
    put_served_lists(b, "whose answers are in the log", &x->all);
    open_table(b, figure_heads);
    for (uint32_t i = 0; i < x->n_lines; i++) put_figures_row(b, x->line_names[i], &x->lines[i].figures);
    close_table(b);
    buf_printf(
        b,
        "<p class=\"dim\">%llu lists were made again for the request's time: features equal of %.4g %% of their items; "
        "by the version that answered, 99 %% of %llu logits within %.3g, all within %.3g.</p>\n",
        (unsigned long long)x->checked, x->items > 0 ? 100.0 * (double)x->equal / (double)x->items : NAN,
        (unsigned long long)x->same.items, x->same.p99, x->same.most);
}

static void put_reliability(struct buf *b, const struct report_detail *d)
{
    if (d->n_reliability == 0) return;
    buf_printf(
        b,
        "<h2>Reliability</h2>\n<p class=\"dim\">Examples in order of prediction, in %u equal parts; the line is the "
        "95 %% interval of what was observed. Mean distance from the diagonal %.4f.</p>\n",
        d->n_reliability, d->calibration_error);
    report_plot_reliability(b, d);
}

static void put_rejects(struct buf *b, const struct report *r)
{
    if (r->n_rejects == 0) return;
    buf_printf(b, "<h2>Left out</h2>\n");
    open_table(b, "reason|events");
    for (uint32_t i = 0; i < r->n_rejects; i++) {
        buf_printf(b, "<tr>");
        put_name(b, r->rejects[i].code);
        put_count(b, r->rejects[i].n);
        buf_printf(b, "</tr>\n");
    }
    close_table(b);
}

/* What was settled and evaluated, but not learnt, and why; nothing to say: no table. */
static void put_not_learnt(struct buf *b, const struct report *r)
{
    const struct report_guard *g = &r->guard;
    const struct {
        const char *what;
        uint64_t times, examples;
    } rows[] = {{"alarms of the circuit breaker", g->alarms, 0},
                {"pauses", g->pauses, g->paused_examples},
                {"steps skipped for their loss (guard.loss_spike)", g->spikes, g->spike_examples},
                {"above a user's, an item's or a source's cap", 0, g->capped[0] + g->capped[1] + g->capped[2]},
                {"sources in quarantine", g->quarantines, g->quarantined_examples},
                {"rollbacks to the blessed version", r->gate.rollbacks, 0}};
    bool any = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].times + rows[i].examples == 0) continue;
        if (!any) {
            buf_printf(b, "<h2>Not learnt</h2>\n");
            open_table(b, "what|times|examples not learnt");
        }
        any = true;
        buf_printf(b, "<tr>");
        put_name(b, rows[i].what);
        put_count(b, rows[i].times);
        put_count(b, rows[i].examples);
        buf_printf(b, "</tr>\n");
    }
    if (any) close_table(b);
}

static void put_head(struct buf *b, const struct report *r, const char *title, int64_t wall_ms)
{
    char when[CLOCK_TEXT];
    clock_format(wall_ms, when);
    buf_printf(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>freshet: ");
    report_html_text(b, title);
    buf_printf(b,
               "</title>\n<meta name=\"viewport\" content=\"width=device-width\"><style>%s</style></head><body>\n<h1>",
               style);
    report_html_text(b, title);
    buf_printf(
        b,
        "</h1>\n<p class=\"dim\">%llu events, %llu slates, %llu examples in %.1f s; %llu slates still open. Version "
        "%llu <code>%.12s</code>, %s, written %s.</p>\n",
        (unsigned long long)r->events, (unsigned long long)r->slates, (unsigned long long)r->examples, r->seconds,
        (unsigned long long)r->open, (unsigned long long)r->version, r->sha256, r->backend, when);
}

void report_write_html(struct buf *b, const struct report *r, const char *title, int64_t wall_ms)
{
    put_head(b, r, title, wall_ms);
    put_summary(b, r);
    put_curves(b, r->detail);
    put_reliability(b, r->detail);
    put_parts(b, r);
    put_slices(b, r);
    put_unsampled(b, r->detail);
    put_served(b, r->detail);
    put_segments(b, r->detail);
    put_lists(b, r->detail);
    put_not_learnt(b, r);
    put_rejects(b, r);
    buf_printf(b, "</body></html>\n");
}
