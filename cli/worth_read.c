/* worth_read.c - figures of `freshet worth` out of reports and slates. */
#include "base/mem.h"
#include "cli/model.h"
#include "cli/worth.h"
#include "schemas/conf_variant.h"
#include "trainer/cluster.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static enum status load(json_t **out, const char *path, struct err *e)
{
    json_error_t why;
    *out = json_load_file(path, 0, &why);
    return *out != NULL ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "%s: %s", path, why.text);
}

static void read_figures(struct cmd_worth_row *r, const json_t *figures)
{
    r->gauc = cmd_model_figure(figures, "gauc");
    r->logloss = cmd_model_figure(figures, "logloss");
    r->calibration = cmd_model_figure(figures, "calibration");
}

static void read_cost(struct cmd_worth_row *r, const json_t *j)
{
    r->score_core_s = cmd_model_figure(j, "score_core_seconds");
    r->learn_core_s = cmd_model_figure(j, "learn_core_seconds");
}

/* The report has the variant's less the live model's: here it is the other way round. */
static void read_less(double out[3], const json_t *interval)
{
    out[0] = -cmd_model_figure(interval, "mean");
    out[1] = -cmd_model_figure(interval, "upper");
    out[2] = -cmd_model_figure(interval, "lower");
}

/* The --what-if that this variant is; NULL: one of the followers, or the live one. */
static const struct cmd_worth_if *what_of(const struct cmd_worth_ifs *ifs, const char *variant)
{
    for (size_t i = 0; i < ifs->n; i++)
        if (strcmp(ifs->items[i].variant, variant) == 0) return &ifs->items[i];
    return NULL;
}

static void read_variant(struct cmd_worth_row *r, const char *name, const struct cmd_worth_if *what, const json_t *v)
{
    const json_t *paired = json_object_get(v, "paired");
    r->what = what;
    r->refreshed = what == NULL && (strcmp(name, "daily") == 0 || strcmp(name, "hourly") == 0);
    (void)snprintf(r->name, sizeof r->name, "%s",
                   what != NULL                           ? what->name
                   : strcmp(name, CONF_LINE_DEFAULT) == 0 ? "live"
                                                          : name);
    read_figures(r, json_object_get(v, "progressive"));
    read_cost(r, v);
    read_less(r->less_gauc, json_object_get(paired, "gauc"));
    read_less(r->less_logloss, json_object_get(paired, "logloss"));
}

/* Without a judged list every figure is undefined, and so is every comparison. */
static enum status check_judged(const json_t *report, uint64_t from, struct err *e)
{
    const double days = cmd_model_days(report);
    const json_t *all = json_object_get(report, "progressive");
    if (json_integer_value(json_object_get(all, "examples")) > 0) return STATUS_OK;
    if (!(days > 0.0))
        return ERR_SET(e, STATUS_INVALID, "no list was judged: the log has no events, or all of one moment");
    if (days <= (double)from)
        return ERR_SET(e, STATUS_INVALID,
                       "no list was judged: figures begin after %llu days (--from), the log has %.1f days; "
                       "give an earlier day",
                       (unsigned long long)from, days);
    return ERR_SET(e, STATUS_INVALID,
                   "no list was judged after day %llu of the log's %.1f: it has none there whose window "
                   "(join.window_ms) had ended",
                   (unsigned long long)from, days);
}

enum status cmd_worth_read(struct cmd_worth *w, const char *report_path, uint64_t from, const struct cmd_worth_ifs *ifs,
                           struct err *e)
{
    json_t *j = NULL;
    const char *name;
    json_t *v;
    TRY(load(&j, report_path, e));
    json_object_foreach(json_object_get(j, "variants"), name, v)
    {
        if (w->n == CMD_WORTH_ROWS) break;
        read_variant(&w->rows[w->n++], name, what_of(ifs, name), v);
    }
    w->cut_off = (uint64_t)json_integer_value(json_object_get(j, "cut_off"));
    const enum status st =
        w->n > 0 ? check_judged(j, from, e) : ERR_SET(e, STATUS_CORRUPT, "%s has no variants", report_path);
    json_decref(j);
    return st;
}

/* ---- a second replay ---- */

struct pairing {
    const char *name;
    FILE *live, *other;
    char line[2][4096]; /* a user's name is 256 bytes at most */
    struct cluster loss, auc;
};

/* The next slate of both; END when both ended. */
static enum status next_pair(struct pairing *p, json_t *out[2], struct err *e)
{
    const bool a = fgets(p->line[0], sizeof p->line[0], p->live) != NULL,
               b = fgets(p->line[1], sizeof p->line[1], p->other) != NULL;
    if (!a && !b) return STATUS_END;
    out[0] = a ? json_loads(p->line[0], 0, NULL) : NULL;
    out[1] = b ? json_loads(p->line[1], 0, NULL) : NULL;
    const char *u = json_string_value(json_object_get(out[0], "user")),
               *v = json_string_value(json_object_get(out[1], "user"));
    const bool same =
        out[0] != NULL && out[1] != NULL && (u == v || (u != NULL && v != NULL && strcmp(u, v) == 0)) &&
        json_integer_value(json_object_get(out[0], "time")) == json_integer_value(json_object_get(out[1], "time"));
    if (same && json_equal(json_object_get(out[0], "labels"), json_object_get(out[1], "labels"))) return STATUS_OK;
    return ERR_SET(e, STATUS_CONFLICT, "%s: this changes %s, so there is nothing to compare list by list", p->name,
                   same ? "candidates or labels" : "which lists there are");
}

static void add_pair(struct pairing *p, json_t *const both[2])
{
    const char *user = json_string_value(json_object_get(both[0], "user"));
    const uint64_t cluster = cluster_user(str_from(user != NULL ? user : ""));
    const double n = cmd_model_figure(both[0], "examples"),
                 loss = cmd_model_figure(both[0], "logloss") - cmd_model_figure(both[1], "logloss"),
                 auc = cmd_model_figure(both[0], "auc") - cmd_model_figure(both[1], "auc");
    if (!json_is_true(json_object_get(both[0], "counted"))) return;
    if (isfinite(loss)) cluster_add(&p->loss, cluster, n, n * loss);
    if (isfinite(auc)) cluster_add(&p->auc, cluster, 1, auc);
}

static void interval(double out[3], const struct cluster *c)
{
    struct cluster_interval i;
    cluster_mean(c, &i);
    out[0] = i.mean;
    out[1] = i.lower;
    out[2] = i.upper;
}

static enum status pair_all(struct pairing *p, struct err *e)
{
    for (;;) {
        json_t *both[2] = {NULL, NULL};
        const enum status st = next_pair(p, both, e);
        if (st == STATUS_OK) add_pair(p, both);
        json_decref(both[0]);
        json_decref(both[1]);
        if (st != STATUS_OK) return st == STATUS_END ? STATUS_OK : st;
    }
}

enum status cmd_worth_pair(struct cmd_worth *w, const struct cmd_worth_if *what, const char *live_slates,
                           const char *other_report, const char *other_slates, struct err *e)
{
    enum status st;
    json_t *j = NULL;
    struct pairing *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "worth: %zu bytes", sizeof *p);
    p->name = what->name;
    p->live = fopen(live_slates, "r");
    p->other = fopen(other_slates, "r");
    if (p->live == NULL || p->other == NULL) {
        st = ERR_SET(e, STATUS_IO, "%s: %s", p->live == NULL ? live_slates : other_slates, strerror(errno));
        goto out;
    }
    TRY_OUT(st, load(&j, other_report, e));
    TRY_OUT(st, pair_all(p, e));
    struct cmd_worth_row *r = &w->rows[w->n++];
    *r = (struct cmd_worth_row){.what = what};
    (void)snprintf(r->name, sizeof r->name, "%s", what->name);
    read_figures(r, json_object_get(j, "progressive"));
    read_cost(r, j);
    interval(r->less_gauc, &p->auc);
    interval(r->less_logloss, &p->loss);
out:
    json_decref(j);
    if (p->live != NULL) (void)fclose(p->live);
    if (p->other != NULL) (void)fclose(p->other);
    mem_free(p);
    return st;
}
