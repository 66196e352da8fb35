/* eval_report.c - what the evaluator added up, as the report's figures. */
#include "trainer/eval_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void report_buckets(struct report_bucket *out, const struct report_bucket *in, const double *below, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i];
        if (isinf(below[i]))
            (void)snprintf(out[i].name, sizeof out[i].name, ">=%g", below[i - 1]);
        else
            (void)snprintf(out[i].name, sizeof out[i].name, "<%g", below[i]);
    }
}

/* A baseline that nothing can be said of is no measured 0.5. */
static void frozen_undefined(struct report_figures *f)
{
    *f = (struct report_figures){.auc = NAN, .gauc = NAN, .logloss = NAN, .ne = NAN, .calibration = NAN};
}

static void frozen_detail_undefined(struct report_detail *out)
{
    static const struct report_interval none = {NAN, NAN, NAN};
    out->gauc_over[REPORT_FROZEN] = out->logloss_under[REPORT_FROZEN] = none;
    for (int i = 0; i < REPORT_K_MAX; i++)
        out->ranked[REPORT_FROZEN].ndcg[i] = out->ranked[REPORT_FROZEN].recall[i] = NAN;
    for (uint32_t i = 0; i < out->n_curve; i++) out->curve[i].baselines[REPORT_FROZEN] = NAN;
}

void eval_report(const struct eval *ev, const char *const *part_names, struct report *out)
{
    (void)eval_behind_wait(ev->behind);
    eval_meter_figures(&ev->model, &out->progressive);
    for (int i = 0; i < REPORT_BASELINES; i++) eval_meter_figures(&ev->baselines[i], &out->baselines[i]);
    if (ev->setup.no_frozen) frozen_undefined(&out->baselines[REPORT_FROZEN]);
    for (int i = 0; i < REPORT_SLICES; i++) eval_meter_figures(&ev->slices[i], &out->slices[i]);
    out->cut_off = ev->cut_off;
    out->n_parts = (uint32_t)ev->setup.n_parts;
    for (size_t p = 0; p < ev->setup.n_parts; p++) {
        struct report_figures f;
        eval_meter_figures(&ev->without[p], &f);
        (void)snprintf(out->parts[p].name, sizeof out->parts[p].name, "%s", part_names[p]);
        out->parts[p].gauc_without = f.gauc;
        out->parts[p].auc_without = f.auc;
        out->parts[p].logloss_without = f.logloss;
    }
    out->n_tasks = (uint32_t)ev->setup.n_tasks;
    for (size_t t = 0; t < ev->setup.n_tasks; t++) {
        eval_meter_figures(&ev->tasks[t], &out->tasks[t].figures);
        (void)snprintf(out->tasks[t].name, sizeof out->tasks[t].name, "%s", part_names[ev->setup.n_parts + t]);
    }
    report_buckets(out->by_age, ev->by_age, slate_age_below, SLATE_AGES);
    report_buckets(out->by_popularity, ev->by_popularity, eval_popularity_below, 10);
}

static struct report_interval over(const struct eval *ev, double value, uint32_t series)
{
    return eval_boot_interval(value, eval_boot_gauc(&ev->boot, EVAL_SERIES_MODEL, (int)series));
}

static void report_intervals(const struct eval *ev, struct report_detail *out)
{
    struct report_figures model, f;
    eval_meter_figures(&ev->model, &model);
    out->replicates = EVAL_BOOT;
    out->gauc = eval_boot_interval(model.gauc, eval_boot_gauc(&ev->boot, EVAL_SERIES_MODEL, -1));
    out->logloss = eval_boot_interval(model.logloss, eval_boot_loss(&ev->boot, EVAL_SERIES_MODEL, -1));
    for (uint32_t i = 0; i < REPORT_BASELINES; i++) {
        eval_meter_figures(&ev->baselines[i], &f);
        out->gauc_over[i] = over(ev, model.gauc - f.gauc, EVAL_SERIES_BASELINE + i);
        out->logloss_under[i] = eval_boot_interval(
            f.logloss - model.logloss, eval_boot_loss(&ev->boot, EVAL_SERIES_BASELINE + i, EVAL_SERIES_MODEL));
    }
    for (uint32_t p = 0; p < ev->setup.n_parts; p++) {
        eval_meter_figures(&ev->without[p], &f);
        out->part_gauc[p] = over(ev, model.gauc - f.gauc, EVAL_SERIES_WITHOUT + p);
    }
}

void eval_report_detail(const struct eval *ev, const struct eval_names *names, struct report_detail *out)
{
    (void)eval_behind_wait(ev->behind);
    memset(out, 0, sizeof *out);
    out->n_k = ev->setup.n_k;
    memcpy(out->k, ev->setup.k, sizeof out->k);
    eval_ranked_figures(&ev->model_ranked, &ev->cut, &out->model_ranked);
    for (int i = 0; i < REPORT_BASELINES; i++) eval_ranked_figures(&ev->ranked[i], &ev->cut, &out->ranked[i]);
    report_intervals(ev, out);
    out->n_reliability = eval_meter_reliability(&ev->model, out->reliability, &out->calibration_error);
    eval_time_report(&ev->time, out);
    if (ev->setup.no_frozen) frozen_detail_undefined(out);
    eval_lists_report(&ev->lists, out);
    eval_unsampled_report(&ev->unsampled, &ev->cut, out);
    eval_served_report(&ev->served, &out->served);
    if (names != NULL) eval_segments_report(&ev->segments, names, out);
}
