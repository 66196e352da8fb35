/* cmd_simulate.c - `freshet simulate`: a synthetic shop's log as native JSON lines on stdout, its known truth beside it.
 *
 * One table of numeric options makes the parser, the range checks and the help.  Equal options give equal bytes; --speed
 * only paces them.  A reader that goes away (EPIPE) or SIGINT ends the log early and in order.
 */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "job/job_file.h"
#include "simulate/fault.h"
#include "simulate/parade.h"
#include "simulate/stream.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char about[] =
    "Writes the log of a shop that does not exist, as native JSON lines in time order: items announced, lists shown,\n"
    "clicks that come late, purchases. What decides a click is known, so the best AUC that a learner can reach is\n"
    "computed too: by a filter that knows how the shop was made and sees the same history, not the hidden tastes.\n"
    "A summary with it goes to stderr. When the reader stops reading, the log ends: exit status 0.\n";

static const char *const keys[] = {"join.window_ms", "describe.language", NULL};

#define MEMORY_MAX 2e9              /* bytes that the options may come to */
#define TIME_LAST 253402300799999.0 /* 9999-12-31T23:59:59.999Z */

struct simulate {
    struct shop_options shop;
    struct parade_options parade;
    bool is_parade;
    const char *truth;
    double speed; /* 0: as fast as it goes */
    bool best;
    int64_t first_event_ms, first_mono_us; /* of the paced log */
    uint64_t lines;
    int gone; /* errno of stdout, EPIPE included */
};

enum kind { KIND_U32, KIND_U64, KIND_I64, KIND_NUM };
static const struct row {
    const char *name;
    enum kind kind;
    size_t at;
    double least, most;
    const char *text;
} rows[] = {
#define ROW(name, kind, field, least, most, text)                                                                      \
    {                                                                                                                  \
        name, kind, offsetof(struct simulate, field), least, most, text                                                \
    }
    ROW("users", KIND_U32, shop.users, 1, 1e7, "shoppers; some come more often than others"),
    ROW("items", KIND_U32, shop.items, 1, 1e7, "articles in the catalogue"),
    ROW("events", KIND_U64, shop.events, 1, 1e12, "lines to write, catalogue included"),
    ROW("seed", KIND_U64, shop.seed, 0, 4294967295.0, "equal seeds and options give equal bytes"),
    ROW("season-ms", KIND_I64, shop.season_ms, 0, 1e12,
        "tastes are others in every second season of so long, and come back; 0: no seasons (needs --no-best)"),
    ROW("drift", KIND_NUM, shop.drift, 0, 1, "share of a taste's variance renewed per day"),
    ROW("slate", KIND_U32, shop.slate, 1, SHOP_SLATE_MAX, "items of one shown list"),
    ROW("rate", KIND_NUM, shop.lists_per_s, 1e-6, 1e6, "lists per second of event time"),
    ROW("delay-ms", KIND_NUM, shop.delay_ms, 0, 1e10,
        "mean delay of a click (exponential), and of a purchase after it"),
    ROW("stop", KIND_NUM, shop.stop, 0, 1,
        "share of clicks after which nothing further down is looked at; join.cascade"),
    ROW("window-ms", KIND_I64, shop.window_ms, 1, 1e11, "a click later than this counts for nobody; join.window_ms"),
    ROW("new-items", KIND_NUM, shop.new_items, 0, 0.99,
        "share of the catalogue that arrives later, evenly over the log"),
    ROW("split", KIND_NUM, parade.split, 0, 1, "parade: share of the log after which other words say the same"),
    ROW("flip", KIND_NUM, parade.flip, 0, 1,
        "parade: share of the log after which every preference has the other sign"),
    ROW("sources", KIND_U32, shop.sources, 0, 1000, "events name one of so many sources s0, s1 …, by shopper; 0: none"),
    ROW("fault-at", KIND_I64, shop.fault_at_ms, 0, 1e12, "ms from the start to the fault"),
    ROW("fault-ms", KIND_I64, shop.fault_ms, 1, 1e12, "how long the fault lasts"),
    ROW("speed", KIND_NUM, speed, 0, 1e6,
        "paces the log against the wall clock, 1 = real time, each line flushed; 0: no pacing"),
#undef ROW
};
enum { N_ROWS = sizeof rows / sizeof *rows, N_OPTIONS = N_ROWS + 6 };

static double row_value(const struct simulate *s, const struct row *r)
{
    const void *p = (const char *)s + r->at;
    switch (r->kind) {
    case KIND_U32: return *(const uint32_t *)p;
    case KIND_U64: return (double)*(const uint64_t *)p;
    case KIND_I64: return (double)*(const int64_t *)p;
    default: return *(const double *)p;
    }
}

static enum status set_row(struct simulate *s, const struct row *r, const char *text, struct err *e)
{
    char *end;
    void *p = (char *)s + r->at;
    const double x = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(x))
        return ERR_SET(e, STATUS_INVALID, "--%s: '%s' is not a number", r->name, text);
    if (r->kind != KIND_NUM && x != floor(x))
        return ERR_SET(e, STATUS_INVALID, "--%s: '%s' is not a whole number", r->name, text);
    if (x < r->least || x > r->most)
        return ERR_SET(e, STATUS_INVALID, "--%s: %s is outside %.15g to %.15g", r->name, text, r->least, r->most);
    switch (r->kind) {
    case KIND_U32: *(uint32_t *)p = (uint32_t)x; break;
    case KIND_U64: *(uint64_t *)p = (uint64_t)x; break;
    case KIND_I64: *(int64_t *)p = (int64_t)x; break;
    default: *(double *)p = x;
    }
    return STATUS_OK;
}

static enum status set_start(struct simulate *s, const char *text, struct err *e)
{
    char *end;
    if (str_is(str_from(text), "now")) {
        s->shop.start_ms = clock_system()->wall_ms(clock_system());
        return STATUS_OK;
    }
    if (clock_parse_rfc3339(str_from(text), &s->shop.start_ms)) return STATUS_OK;
    errno = 0;
    const long long ms = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != 0)
        return ERR_SET(e, STATUS_INVALID, "--start: '%s' is not RFC 3339, milliseconds since 1970 or now", text);
    if (ms < 100000000000 || (double)ms > TIME_LAST)
        return ERR_SET(e, STATUS_INVALID,
                       "--start: %s is not milliseconds since 1970 (from 100000000000, up to the year 9999)", text);
    s->shop.start_ms = ms;
    return STATUS_OK;
}

static enum status set_language(struct simulate *s, const char *text, struct err *e)
{
    s->shop.chinese = str_is(str_from(text), "zh");
    if (s->shop.chinese || str_is(str_from(text), "en")) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "--language: '%s' is not en or zh", text);
}

/* What the options come to: tastes and catalogue, what the filter believes, lists whose window is open, lines that wait. */
static double memory_bytes(const struct simulate *s)
{
    const struct shop_options *o = &s->shop;
    const double words = SHOP_WORDS, lists = (double)o->events;
    const double open = fmin(lists, (double)o->window_ms / 1000.0 * o->lists_per_s) * sizeof(struct shop_list);
    const double waiting = fmin(lists * o->slate, 2.0 * o->delay_ms / 1000.0 * o->lists_per_s * o->slate) * 0.3 * 300.0;
    const double beliefs =
        (double)o->users * (words * words + words) * sizeof(double) + (double)o->items * 2.0 * sizeof(double);
    return (double)o->users * (words * sizeof(float) + 8.0) + (double)o->items * sizeof(struct shop_item) + waiting +
           (s->best ? open + beliefs : 0.0);
}

/* Rules over several options. */
static enum status check(const struct simulate *s, struct err *e)
{
    const struct shop_options *o = &s->shop;
    const double span_ms = (double)o->events / o->lists_per_s * 1000.0 + 100.0 * o->delay_ms, bytes = memory_bytes(s);
    if ((double)o->start_ms + span_ms > TIME_LAST)
        return ERR_SET(e, STATUS_INVALID,
                       "--events %llu at --rate %g run past the year 9999; raise the rate or write fewer",
                       (unsigned long long)o->events, o->lists_per_s);
    if (s->best && o->season_ms > 0)
        return ERR_SET(e, STATUS_INVALID,
                       "--season-ms %lld: the best reachable figures know of no seasons; add --no-best",
                       (long long)o->season_ms);
    if (bytes > MEMORY_MAX)
        return ERR_SET(e, STATUS_INVALID, "these options need %.1f GB, the limit is %.0f GB; %s", bytes / 1e9,
                       MEMORY_MAX / 1e9,
                       s->best ? "use --no-best, fewer --users or a shorter --window-ms"
                               : "use fewer --users, --items or a shorter --delay-ms");
    return STATUS_OK;
}

/* The command line's words for each option of the table, and their help: "text (range; default)". */
struct words {
    const char *given[N_ROWS], *language, *start, *scenario, *fault;
    char help[N_ROWS][160];
    bool no_best;
};

static void list_options(struct words *w, struct simulate *s, struct cmd_option out[N_OPTIONS])
{
    for (int i = 0; i < N_ROWS; i++) {
        (void)snprintf(w->help[i], sizeof w->help[i], "%s (%.15g to %.15g; %.15g)", rows[i].text, rows[i].least,
                       rows[i].most, row_value(s, &rows[i]));
        out[i] = (struct cmd_option){rows[i].name, "N", CMD_TEXT, &w->given[i], NULL, w->help[i]};
    }
    out[N_ROWS] = (struct cmd_option){"language",   "en|zh", CMD_TEXT,
                                      &w->language, NULL,    "of titles and categories; describe.language"};
    out[N_ROWS + 1] = (struct cmd_option){
        "start",   "T",  CMD_TEXT,
        &w->start, NULL, "time of the first line: RFC 3339, milliseconds since 1970, or now (2026-01-01T00:00:00Z)"};
    out[N_ROWS + 2] = (struct cmd_option){"truth",
                                          "FILE",
                                          CMD_TEXT,
                                          &s->truth,
                                          NULL,
                                          "JSON: best_auc, best_gauc, oracle_auc (with the tastes themselves), counts; "
                                          "parade: oracle_gauc and lists by phase"};
    out[N_ROWS + 3] = (struct cmd_option){"no-best",   NULL, CMD_FLAG,
                                          &w->no_best, NULL, "leaves out the best reachable AUC: faster, less memory"};
    out[N_ROWS + 4] = (struct cmd_option){"scenario",
                                          "shop|parade",
                                          CMD_TEXT,
                                          &w->scenario,
                                          NULL,
                                          "parade: items that live for 5 to 50 impressions, wishes that no sum over "
                                          "words can say (500 users, 200 items at a time)"};
    out[N_ROWS + 5] =
        (struct cmd_option){"fault",
                            "WHAT",
                            CMD_TEXT,
                            &w->fault,
                            NULL,
                            "flip: half of all labels turned over; flood: one shopper asks four times as much as all "
                            "others and clicks all; labels1: "
                            "all clicked; prices0: all prices 0; with --sources only what comes through s0 (none)"};
}

static bool is_given(const struct words *w, const char *name)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return w->given[i] != NULL;
    return false;
}

/* The parade has users, items, list, seed and rate as the shop has them, with defaults of its own. */
static enum status set_scenario(struct simulate *s, const struct words *w, struct err *e)
{
    struct parade_options *p = &s->parade;
    if (w->scenario == NULL || strcmp(w->scenario, "shop") == 0) return STATUS_OK;
    if (strcmp(w->scenario, "parade") != 0)
        return ERR_SET(e, STATUS_INVALID, "--scenario: '%s' is not shop or parade", w->scenario);
    s->is_parade = true;
    if (s->shop.fault != SHOP_FAULT_NONE || s->shop.sources > 0)
        return ERR_SET(e, STATUS_INVALID, "--fault and --sources: only the scenario shop has them");
    if (is_given(w, "users")) p->users = s->shop.users;
    if (is_given(w, "items")) p->items = s->shop.items;
    p->slate = s->shop.slate;
    p->events = s->shop.events;
    p->seed = s->shop.seed;
    p->lists_per_s = s->shop.lists_per_s;
    p->start_ms = s->shop.start_ms;
    if (p->items >= p->slate) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "--slate %u: a list can't be longer than the %u --items on sale at a time",
                   p->slate, p->items);
}

static enum status take_words(struct simulate *s, const struct words *w, const struct conf *c, struct err *e)
{
    s->shop.window_ms = c->join_window_ms;
    s->shop.chinese = strcmp(c->describe_language, "zh") == 0;
    for (int i = 0; i < N_ROWS; i++)
        if (w->given[i] != NULL) TRY(set_row(s, &rows[i], w->given[i], e));
    if (w->language != NULL) TRY(set_language(s, w->language, e));
    if (w->start != NULL) TRY(set_start(s, w->start, e));
    if (w->fault != NULL && !fault_parse(w->fault, &s->shop.fault))
        return ERR_SET(e, STATUS_INVALID, "--fault: '%s' is not none, flip, flood, labels1 or prices0", w->fault);
    TRY(set_scenario(s, w, e));
    s->best = !w->no_best;
    return check(s, e);
}

static volatile sig_atomic_t stopped;
static void stop(void)
{
    stopped = 1;
}

/* Sleeps until the line is due. */
static void pace(struct simulate *s, int64_t time_ms)
{
    struct clock *const clock = clock_system();
    if (s->lines == 0) {
        s->first_event_ms = time_ms;
        s->first_mono_us = clock->mono_us(clock);
    }
    const int64_t due = s->first_mono_us + (int64_t)((double)(time_ms - s->first_event_ms) * 1000.0 / s->speed);
    const struct timespec t = {.tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000};
    while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

/* END stops the simulation in order: the reader is gone (s->gone says why) or a signal came. */
static enum status put_line(void *user, int64_t time_ms, struct str text)
{
    struct simulate *s = user;
    if (s->speed > 0.0) pace(s, time_ms);
    if (stopped) return STATUS_END;
    if (fwrite(text.p, 1, text.n, stdout) != text.n || (s->speed > 0.0 && fflush(stdout) != 0)) {
        s->gone = errno;
        return STATUS_END;
    }
    s->lines++;
    return STATUS_OK;
}

static enum status write_truth(const struct simulate *s, const struct buf *b, struct err *e)
{
    enum status st = buf_status(b, e);
    FILE *f = st == STATUS_OK ? fopen(s->truth, "w") : NULL;
    if (st == STATUS_OK && f == NULL) st = ERR_SET(e, STATUS_IO, "cannot write %s: %s", s->truth, strerror(errno));
    if (f != NULL) {
        const bool written = fwrite(b->p, 1, b->n, f) == b->n;
        if (fclose(f) != 0 || !written) st = ERR_SET(e, STATUS_IO, "cannot write %s: %s", s->truth, strerror(errno));
    }
    return st;
}

/* A figure that is undefined (no click yet, or not asked for) is left out. */
static void put_figure(struct buf *b, const char *name, double x)
{
    if (isfinite(x)) buf_printf(b, " %s=%.4f", name, x);
}

static void put_summary(const struct simulate *s, const struct stream_truth *t)
{
    struct buf b = {0};
    buf_printf(&b, "lines=%llu lists=%llu shown=%llu clicks=%llu purchases=%llu", (unsigned long long)s->lines,
               (unsigned long long)t->lists, (unsigned long long)t->shown, (unsigned long long)t->clicks,
               (unsigned long long)t->purchases);
    put_figure(&b, "best_auc", t->best_auc);
    put_figure(&b, "best_gauc", t->best_gauc);
    put_figure(&b, "oracle_auc", t->oracle_auc);
    log_info("simulate", STR_FMT, (int)b.n, b.p != NULL ? (const char *)b.p : "");
    buf_fini(&b);
}

/* Writes the log; the truth of it as JSON, and a summary on stderr. */
static enum status shop(struct simulate *s, struct buf *truth, struct err *e)
{
    struct stream_truth t;
    const enum status st = stream_run(&s->shop, s->best, put_line, s, &t, e);
    if (st != STATUS_OK && st != STATUS_END) return st;
    put_summary(s, &t);
    stream_write_truth(truth, &s->shop, &t);
    return st;
}

static enum status parade(struct simulate *s, struct buf *truth, struct err *e)
{
    struct parade_truth t;
    const enum status st = parade_run(&s->parade, put_line, s, &t, e);
    if (st != STATUS_OK && st != STATUS_END) return st;
    log_info("simulate", "lines=%llu lists=%llu clicks=%llu items=%llu oracle_gauc=%.4f", (unsigned long long)s->lines,
             (unsigned long long)t.lists, (unsigned long long)t.clicks, (unsigned long long)t.items, t.gauc[0]);
    parade_write_truth(truth, &s->parade, &t);
    return st;
}

static enum status simulate(struct simulate *s, struct err *e)
{
    struct buf truth = {0};
    TRY(job_file_check(s->truth, e));
    cmd_stop_on_signals(stop);
    enum status st = s->is_parade ? parade(s, &truth, e) : shop(s, &truth, e);
    if (st == STATUS_END) st = STATUS_OK;
    if (s->gone == 0 && fflush(stdout) != 0) s->gone = errno;
    if (st == STATUS_OK && s->gone != 0 && s->gone != EPIPE)
        st = ERR_SET(e, STATUS_IO, "cannot write to stdout: %s", strerror(s->gone));
    if (st == STATUS_OK && s->truth != NULL) st = write_truth(s, &truth, e);
    buf_fini(&truth);
    return st;
}

int cmd_simulate(int argc, char **argv)
{
    struct simulate s = {0};
    struct words w = {0};
    struct cmd_option options[N_OPTIONS];
    struct cmd_line line;
    struct err e = {0};
    shop_defaults(&s.shop);
    parade_defaults(&s.parade);
    list_options(&w, &s, options);
    int rc = cmd_line_parse(&line,
                            &(struct cmd_usage){.command = "simulate",
                                                .arguments = "",
                                                .about = about,
                                                .options = options,
                                                .keys = keys,
                                                .n_options = N_OPTIONS},
                            argc, argv);
    if (rc == CMD_GO_ON) {
        rc = 0;
        if (take_words(&s, &w, line.conf, &e) != STATUS_OK)
            rc = cmd_failed("simulate", &e) + 1; /* wrong usage */
        else if (simulate(&s, &e) != STATUS_OK)
            rc = cmd_failed("simulate", &e);
    }
    cmd_line_fini(&line);
    return rc;
}
