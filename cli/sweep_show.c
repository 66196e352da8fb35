/* sweep_show.c - a sweep's outcome: table, picture, JSON. */
#include "cli/model.h"
#include "cli/sweep.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { WIDTH = 860, HEIGHT = 360, LEFT = 70, RIGHT = 20, TOP = 40, BOTTOM = 40 };

static void put_figures(struct buf *b, const struct cmd_sweep_figures *f)
{
    buf_figure(b, 8, 4, f->gauc);
    buf_figure(b, 8, 4, f->logloss);
    buf_figure(b, 7, 3, f->calibration);
}

static void put_line(struct buf *b, const struct cmd_sweep *s, size_t trial)
{
    const struct cmd_sweep_trial *t = &s->trials[trial];
    struct buf name = {0};
    cmd_sweep_name(&name, s, trial);
    buf_printf(b, "%-60.*s", (int)name.n, (const char *)name.p);
    buf_fini(&name);
    if (t->failed[0] != 0) {
        buf_printf(b, "  failed: %s\n", t->failed);
        return;
    }
    const struct cmd_sweep_figures *f = &t->round[t->rounds - 1];
    buf_printf(b, " %5.1f", f->days);
    put_figures(b, f);
    buf_printf(b, " %8.1f", f->seconds);
    if (t->late_failed[0] != 0)
        buf_printf(b, "   none: %s", t->late_failed);
    else if (t->late.seconds > 0)
        put_figures(b, &t->late);
    buf_u8(b, '\n');
}

void cmd_sweep_put_table(struct buf *b, const struct cmd_sweep *s)
{
    size_t order[CMD_SWEEP_TRIALS];
    cmd_sweep_order(s, order);
    buf_printf(b, "%-60s %5s %8s %8s %7s %8s   late: GAUC, log-loss, calibration from day %.0f\n", "trial, best first",
               "days", "GAUC", "logloss", "calib", "seconds", s->choose_days);
    for (size_t i = 0; i < s->n_trials; i++) put_line(b, s, order[i]);
    struct buf name = {0};
    cmd_sweep_name(&name, s, order[0]);
    if (s->log_days > s->choose_days)
        buf_printf(b, "\nchosen on days before %.0f", s->choose_days);
    else
        buf_printf(b, "\nchosen on all %.1f days, none were left to report on,", s->log_days);
    buf_printf(b, " by %s: %.*s\n", s->by_logloss ? "log-loss" : "GAUC", (int)name.n, (const char *)name.p);
    buf_fini(&name);
}

/* ---- the picture: each trial's figure over days, a line that ends where it was given up ---- */

static double figure_of(const struct cmd_sweep *s, const struct cmd_sweep_figures *f)
{
    return s->by_logloss ? f->logloss : f->gauc;
}

struct frame {
    double least, most, days;
};

static struct frame frame_of(const struct cmd_sweep *s)
{
    struct frame f = {INFINITY, -INFINITY, s->days[s->n_rounds - 1]};
    for (size_t i = 0; i < s->n_trials; i++)
        for (size_t r = 0; r < s->trials[i].rounds && s->trials[i].failed[0] == 0; r++) {
            const double x = figure_of(s, &s->trials[i].round[r]);
            f.least = fmin(f.least, x);
            f.most = fmax(f.most, x);
        }
    if (!(f.most > f.least)) f.least -= 0.5, f.most = f.least + 1;
    return f;
}

static double x_of(const struct frame *f, double days)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * days / f->days;
}

static double y_of(const struct frame *f, double value)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (f->most - value) / (f->most - f->least);
}

static void put_trial(struct buf *b, const struct cmd_sweep *s, const struct frame *f, size_t trial, const char *class)
{
    const struct cmd_sweep_trial *t = &s->trials[trial];
    if (t->failed[0] != 0) return;
    buf_printf(b, "<polyline class=\"%s\" points=\"", class);
    for (size_t r = 0; r < t->rounds; r++)
        buf_printf(b, "%.1f,%.1f ", x_of(f, t->round[r].days), y_of(f, figure_of(s, &t->round[r])));
    buf_printf(b, "\"><title>");
    cmd_sweep_name(b, s, trial);
    buf_printf(b, "</title></polyline>\n");
    for (size_t r = 0; r < t->rounds; r++)
        buf_printf(b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", class, x_of(f, t->round[r].days),
                   y_of(f, figure_of(s, &t->round[r])));
}

void cmd_sweep_put_svg(struct buf *b, const struct cmd_sweep *s)
{
    size_t order[CMD_SWEEP_TRIALS];
    const struct frame f = frame_of(s);
    cmd_sweep_order(s, order);
    buf_printf(
        b,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n"
        "<title>freshet sweep</title>\n<style>\nsvg{font:12px system-ui,sans-serif;color:#222}svg "
        "text{fill:currentColor}\n"
        "@media(prefers-color-scheme:dark){svg{color:#ddd}}\n"
        "polyline{fill:none;stroke-width:1.5}.o{stroke:#8a8f98;fill:#8a8f98}.b{stroke:#2a9d8f;fill:#2a9d8f;stroke-"
        "width:3}\n"
        ".c{stroke:#3b78c4;fill:#3b78c4;stroke-width:2.5}polyline.o,polyline.b,polyline.c{fill:none}.g{stroke:"
        "currentColor;opacity:.2}\n"
        "</style>\n<text x=\"%d\" y=\"20\">%s over days of the log: green the best, blue as configured, grey the "
        "others</text>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, s->by_logloss ? "Log-loss (lower is better)" : "GAUC");
    for (int i = 0; i <= 4; i++) {
        const double value = f.least + (f.most - f.least) * i / 4.0;
        buf_printf(
            b, "<line class=\"g\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"6\" y=\"%.1f\">%.4f</text>\n",
            LEFT, WIDTH - RIGHT, y_of(&f, value), y_of(&f, value), y_of(&f, value) + 4, value);
    }
    for (size_t r = 0; r < s->n_rounds; r++)
        buf_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.1f</text>\n", x_of(&f, s->days[r]),
                   HEIGHT - 14, s->days[r]);
    for (size_t i = s->n_trials; i-- > 0;)
        if (order[i] != order[0] && order[i] != 0) put_trial(b, s, &f, order[i], "o");
    put_trial(b, s, &f, 0, "c");
    if (order[0] != 0) put_trial(b, s, &f, order[0], "b");
    buf_printf(b, "</svg>\n");
}

/* ---- JSON ---- */

static json_t *figures_json(const struct cmd_sweep_figures *f)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "days", cmd_model_number(f->days), "gauc", cmd_model_number(f->gauc),
                     "logloss", cmd_model_number(f->logloss), "calibration", cmd_model_number(f->calibration),
                     "seconds", cmd_model_number(f->seconds));
}

static json_t *trial_json(const struct cmd_sweep *s, size_t trial)
{
    const struct cmd_sweep_trial *t = &s->trials[trial];
    json_t *j = json_object(), *settings = json_object(), *rounds = json_array();
    for (size_t k = 0; k < s->n_keys && trial > 0; k++)
        (void)json_object_set_new(settings, s->keys[k].name, json_string(s->keys[k].values[t->value[k]]));
    for (size_t r = 0; r < t->rounds && t->failed[0] == 0; r++)
        (void)json_array_append_new(rounds, figures_json(&t->round[r]));
    (void)json_object_set_new(j, "settings", settings);
    (void)json_object_set_new(j, "rounds", rounds);
    if (t->late_failed[0] != 0)
        (void)json_object_set_new(j, "late_failed", json_string(t->late_failed));
    else if (t->late.seconds > 0)
        (void)json_object_set_new(j, "late", figures_json(&t->late));
    if (t->failed[0] != 0) (void)json_object_set_new(j, "failed", json_string(t->failed));
    return j;
}

enum status cmd_sweep_write_json(const struct cmd_sweep *s, const char *path, struct err *e)
{
    size_t order[CMD_SWEEP_TRIALS];
    cmd_sweep_order(s, order);
    json_t *trials = json_array(), *j = json_object();
    for (size_t i = 0; i < s->n_trials; i++) (void)json_array_append_new(trials, trial_json(s, order[i]));
    (void)json_object_set_new(j, "format", json_integer(1));
    (void)json_object_set_new(j, "by", json_string(s->by_logloss ? "logloss" : "gauc"));
    (void)json_object_set_new(j, "choose_days", json_real(s->choose_days));
    (void)json_object_set_new(j, "log_days", json_real(s->log_days));
    (void)json_object_set_new(j, "warmup_days", json_real(s->warmup_days));
    (void)json_object_set_new(j, "trials", trials);
    return cmd_model_write_json(path, j, e);
}
