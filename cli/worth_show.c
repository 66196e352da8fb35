/* worth_show.c - the outcome of `freshet worth`: a table with a verdict, and JSON. */
#include "cli/model.h"
#include "cli/worth.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { NAME_LEAST = 24, NAME_MOST = 64 };

/* Digits enough for a log of seconds and not too many for one of days. */
static int decimals(double seconds)
{
    return seconds <= 0.0 ? 1 : seconds < 1.0 ? 4 : seconds < 100.0 ? 2 : 1;
}

static void put_seconds(struct buf *b, double x)
{
    buf_figure(b, 8, decimals(x), x);
}

static void put_interval(struct buf *b, const double x[3])
{
    if (isfinite(x[0]) && isfinite(x[1]) && isfinite(x[2]))
        buf_printf(b, "   %+.4f (%+.4f … %+.4f)", x[0], x[1], x[2]);
    else
        buf_printf(b, "   %-27s", "-");
}

static void put_row(struct buf *b, const struct cmd_worth_row *r, int width, bool live)
{
    buf_printf(b, "%-*s", width, r->name);
    buf_figure(b, 7, 4, r->gauc);
    buf_figure(b, 8, 4, r->logloss);
    buf_figure(b, 6, 3, r->calibration);
    put_seconds(b, r->score_core_s);
    put_seconds(b, r->learn_core_s);
    if (live) {
        buf_printf(b, "   live");
    } else {
        put_interval(b, r->less_gauc);
        put_interval(b, r->less_logloss);
    }
    buf_u8(b, '\n');
}

/* The learning that live has over this one; a model that is refreshed needs the same.  gauc 0: no gain of it. */
static void put_cost(struct buf *b, const struct cmd_worth_row *live, const struct cmd_worth_row *r, double gauc)
{
    const double cost = live->learn_core_s - r->learn_core_s, points = 100.0 * gauc;
    if (r->refreshed)
        buf_printf(b, " for the same learning");
    else
        buf_printf(b, " for %.*f core-seconds", decimals(cost), cost);
    if (points > 0.0 && !r->refreshed) buf_printf(b, ", %.*f for each 0.01", decimals(cost / points), cost / points);
}

/* What a hundredth of GAUC costs, of live learning instead of this; where GAUC is not surely better, log-loss may be. */
static void put_verdict(struct buf *b, const struct cmd_worth_row *live, const struct cmd_worth_row *r)
{
    const bool order = r->less_gauc[1] > 0.0, loss = r->less_logloss[2] < 0.0;
    if (!isfinite(r->less_gauc[0])) return;
    buf_printf(b, "live instead of %s: ", r->name);
    if (order)
        buf_printf(b, "GAUC %+.4f", r->less_gauc[0]);
    else if (loss)
        buf_printf(b, "log-loss %+.4f", r->less_logloss[0]);
    if (order || loss) put_cost(b, live, r, order ? r->less_gauc[0] : 0.0);
    buf_printf(b, "%s\n",
               order  ? ""
               : loss ? "; no gain of GAUC that its interval is sure of"
                      : "no gain that its interval is sure of");
}

static void put_notes(struct buf *b, const struct cmd_worth *w)
{
    if (w->cut_off > 0)
        buf_printf(b, "\n%llu lists whose window (join.window_ms) had not ended are in no figure: a label could still have come.\n",
                   (unsigned long long)w->cut_off);
    buf_printf(b, "\ncore-seconds: score, of all lists; learn, of the steps behind what the model knows (of frozen, daily and "
                  "hourly: live's\nup to the moment that they took it over). Reading, sentences, counters and baselines, "
                  "which all need, are in neither.\n");
}

static int name_width(const struct cmd_worth *w)
{
    size_t most = NAME_LEAST;
    for (size_t i = 0; i < w->n; i++) most = strlen(w->rows[i].name) > most ? strlen(w->rows[i].name) : most;
    return most < NAME_MOST ? (int)most : NAME_MOST;
}

void cmd_worth_put_table(struct buf *b, const struct cmd_worth *w)
{
    const int width = name_width(w);
    buf_printf(b, "%-*s %7s %8s %6s %17s   what live learning gains on the same lists (95 %%, by users)\n", width, "",
               "GAUC", "log-loss", "calib", "core-seconds");
    buf_printf(b, "%-*s %7s %8s %6s %8s %8s   %-27s   %s\n", width, "", "", "", "", "score", "learn", "GAUC",
               "log-loss (below 0 is better)");
    for (size_t i = 0; i < w->n; i++) put_row(b, &w->rows[i], width, i == 0);
    buf_u8(b, '\n');
    for (size_t i = 1; i < w->n; i++)
        if (w->rows[i].what == NULL || w->rows[i].learn_core_s < w->rows[0].learn_core_s * 0.5)
            put_verdict(b, &w->rows[0], &w->rows[i]);
    put_notes(b, w);
}

static json_t *settings_json(const struct cmd_worth_if *what)
{
    json_t *j = json_object();
    for (size_t i = 0; i < what->n; i++) {
        const char *eq = strchr(what->settings[i], '=');
        (void)json_object_setn_new(j, what->settings[i], (size_t)(eq - what->settings[i]), json_string(eq + 1));
    }
    return j;
}

static json_t *interval_json(const double x[3])
{
    return json_pack("{s:o, s:o, s:o}", "mean", cmd_model_number(x[0]), "lower", cmd_model_number(x[1]), "upper",
                     cmd_model_number(x[2]));
}

enum status cmd_worth_write_json(const struct cmd_worth *w, const char *path, struct err *e)
{
    json_t *j = json_object(), *rows = json_array();
    for (size_t i = 0; i < w->n; i++) {
        const struct cmd_worth_row *r = &w->rows[i];
        json_t *row = json_pack(
            "{s:s, s:o, s:o, s:o, s:o, s:o}", "name", r->name, "gauc", cmd_model_number(r->gauc), "logloss",
            cmd_model_number(r->logloss), "calibration", cmd_model_number(r->calibration), "score_core_seconds",
            cmd_model_number(r->score_core_s), "learn_core_seconds", cmd_model_number(r->learn_core_s));
        if (r->what != NULL) (void)json_object_set_new(row, "settings", settings_json(r->what));
        if (i > 0) {
            (void)json_object_set_new(row, "live_gains_gauc", interval_json(r->less_gauc));
            (void)json_object_set_new(row, "live_gains_logloss", interval_json(r->less_logloss));
        }
        (void)json_array_append_new(rows, row);
    }
    (void)json_object_set_new(j, "format", json_integer(1));
    (void)json_object_set_new(j, "cut_off", json_integer((json_int_t)w->cut_off));
    (void)json_object_set_new(j, "models", rows);
    return cmd_model_write_json(path, j, e);
}
