/* cmd_top.c - `freshet top`: what Redis says of a model, on the terminal and refreshed, or once as text or JSON. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "schemas/event_json.h"
#include "schemas/key.h"
#include "serving/redis.h"
#include <errno.h>
#include <math.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LOG_ENTRIES "10"
#define OLD_MS 10000 /* a learner writes its figures once a second */

struct top {
    const struct conf *conf;
    struct redis *redis;
    /* replies, until the next look */
    const struct redis_reply *metrics, *info, *log, *newest; /* newest: of the series */
    struct buf out;
    size_t rows, columns; /* of the terminal; 0: there is none */
};
static sem_t stopped;

static void stop(void)
{
    (void)sem_post(&stopped);
}

/* Reads the four keys in one round trip. */
static enum status look(struct top *t, struct err *e)
{
    char metrics[KEY_MAX], info[KEY_MAX], log[KEY_MAX], series[KEY_MAX];
    (void)key_metrics(metrics, t->conf->model_name);
    (void)key_metrics_ts(series, t->conf->model_name);
    (void)key_info(info, t->conf->model_name);
    (void)key_log(log, t->conf->model_name);
    redis_clear(t->redis);
    TRY(redis_append(t->redis, e, REDIS_ARGS(STR("HGETALL"), str_from(metrics))));
    TRY(redis_append(t->redis, e, REDIS_ARGS(STR("HGETALL"), str_from(info))));
    TRY(redis_append(t->redis, e,
                     REDIS_ARGS(STR("XREVRANGE"), str_from(log), STR("+"), STR("-"), STR("COUNT"), STR(LOG_ENTRIES))));
    TRY(redis_append(t->redis, e,
                     REDIS_ARGS(STR("XREVRANGE"), str_from(series), STR("+"), STR("-"), STR("COUNT"), STR("1"))));
    TRY(redis_get(t->redis, e, &t->metrics));
    TRY(redis_get(t->redis, e, &t->info));
    TRY(redis_get(t->redis, e, &t->log));
    return redis_get(t->redis, e, &t->newest);
}

/* Since the figures were written, by the server's clock and ours; 0: there are none. */
static int64_t age_ms(const struct top *t)
{
    if (t->newest->n == 0 || t->newest->items[0].n != 2 || t->newest->items[0].items[0].kind != REDIS_TEXT) return 0;
    const int64_t age =
        clock_system()->wall_ms(clock_system()) - strtoll(t->newest->items[0].items[0].text.p, NULL, 10);
    return age > 0 ? age : 0;
}

static struct str field(const struct redis_reply *pairs, const char *name)
{
    for (size_t i = 0; i + 1 < pairs->n; i += 2)
        if (str_is(pairs->items[i].text, name)) return pairs->items[i + 1].text;
    return STR("");
}

static double number(struct str s)
{
    char text[64], *end;
    (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(s));
    const double x = strtod(text, &end);
    return end == text || *end != '\0' || !isfinite(x) ? 0 : x;
}

static double metric(const struct top *t, const char *name)
{
    return number(field(t->metrics, name));
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

/* Members of an object; `more`: there are some before. */
static void json_pairs(struct buf *b, const struct redis_reply *pairs, bool numbers, bool more)
{
    for (size_t i = 0; i + 1 < pairs->n; i += 2) {
        if (more || i > 0) buf_u8(b, ',');
        event_json_string(b, pairs->items[i].text);
        buf_u8(b, ':');
        if (numbers)
            event_json_number(b, number(pairs->items[i + 1].text));
        else
            event_json_string(b, pairs->items[i + 1].text);
    }
}

static void write_json(struct top *t)
{
    struct buf *b = &t->out;
    buf_printf(b, "{\"model\":");
    event_json_string(b, str_from(t->conf->model_name));
    buf_printf(b, ",\"metrics\":{");
    json_pairs(b, t->metrics, true, false);
    buf_printf(b, "},\"info\":{");
    json_pairs(b, t->info, false, false);
    buf_printf(b, "},\"log\":[");
    for (size_t i = 0; i < t->log->n; i++) {
        const struct redis_reply *entry = &t->log->items[i]; /* [id, [name, value, …]] */
        if (entry->n != 2) continue;
        buf_printf(b, i ? ",{\"id\":" : "{\"id\":");
        event_json_string(b, entry->items[0].text);
        json_pairs(b, &entry->items[1], false, true);
        buf_u8(b, '}');
    }
    buf_printf(b, "],\"age_ms\":%lld}\n", (long long)age_ms(t));
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static void span(char out[32], double ms)
{
    if (ms < 1000)
        (void)snprintf(out, 32, "%.0f ms", ms);
    else if (ms < 120000)
        (void)snprintf(out, 32, "%.1f s", ms / 1000);
    else
        (void)snprintf(out, 32, "%.0f min", ms / 60000);
}

/* "default: …; b: …", a line each. */
static void write_variants(struct top *t)
{
    const struct str all = field(t->info, "variants");
    for (const char *p = all.p, *end = all.p + all.n; p < end;) {
        const char *semi = memchr(p, ';', (size_t)(end - p));
        const int n = (int)((semi != NULL ? semi : end) - p);
        buf_printf(&t->out, "  variant   %.*s\n", n, p);
        p += n + 1;
        p += p < end && *p == ' ';
    }
}

static void write_figures(struct top *t)
{
    struct buf *b = &t->out;
    char age[32], lag[32], p50[32], p99[32];
    span(age, metric(t, "version_age_ms") + (double)age_ms(t)); /* it was that old when the figures were written */
    span(lag, metric(t, "lag_ms"));
    span(p50, metric(t, "freshness_p50_ms"));
    span(p99, metric(t, "freshness_p99_ms"));
    buf_printf(b, "  events    %14.0f   %10.1f /s    lag %.0f events, %s\n", metric(t, "events_total"),
               metric(t, "events_per_s"), metric(t, "lag_events"), lag);
    buf_printf(b, "  examples  %14.0f   %10.1f /s    open slates %.0f   cache %.1f %%\n", metric(t, "examples_total"),
               metric(t, "examples_per_s"), metric(t, "open_slates"), 100 * metric(t, "state_hit_frac"));
    buf_printf(b, "  rejected  %14.0f   duplicates %.0f   skipped %.0f   late %.0f   unmatched %.0f\n\n",
               metric(t, "rejected_total"), metric(t, "duplicates_total"), metric(t, "skipped_total"),
               metric(t, "late_total"), metric(t, "unmatched_total"));
    buf_printf(b, "             %10s %10s %10s %10s %10s %12s\n", "log-loss", "AUC", "GAUC", "NE", "calibr.",
               "examples");
    buf_printf(b, "  all        %10.4f %10.4f %10.4f %10.4f %10.3f %12.0f\n", metric(t, "logloss"), metric(t, "auc"),
               metric(t, "gauc"), metric(t, "ne"), metric(t, "calibration"), metric(t, "evaluated_examples"));
    buf_printf(b, "  recent     %10.4f %10.4f %10.4f %10s %10.3f %12.0f\n\n", metric(t, "recent_logloss"),
               metric(t, "recent_auc"), metric(t, "recent_gauc"), "", metric(t, "recent_calibration"),
               metric(t, "recent_examples"));
    buf_printf(b, "  version   %8.0f, checkpoint %s ago   in force: " STR_FMT "\n  sha256    " STR_FMT "\n",
               metric(t, "version"), age, STR_ARG(field(t->info, "version")), STR_ARG(field(t->info, "sha256")));
    write_variants(t);
    buf_printf(b, "  freshness p50 %s, p99 %s   lease %.*s, epoch %.0f   partitions %.0f\n", p50, p99,
               (int)field(t->info, "lease").n, field(t->info, "lease").p, metric(t, "lease_epoch"),
               metric(t, "partitions"));
}

/* Screen rows of what is written so far, long lines being wrapped. */
static size_t rows_taken(const struct top *t)
{
    size_t rows = 0, wide = 0;
    for (size_t i = 0; i < t->out.n; i++) {
        const bool end = t->out.p[i] == '\n';
        if (!end) wide++;
        if (end) rows += wide > t->columns ? (wide + t->columns - 1) / t->columns : 1;
        if (end) wide = 0;
    }
    return rows;
}

/* As much of it as the terminal has room for: what is above must not scroll away. */
static void write_log(struct top *t)
{
    struct buf *b = &t->out;
    buf_printf(b, "\n  log\n");
    const size_t room = t->rows == 0 ? t->log->n : t->rows - 1, taken = t->rows == 0 ? 0 : rows_taken(t);
    for (size_t i = 0; i < t->log->n && taken + i < room; i++) {
        const struct redis_reply *entry = &t->log->items[i];
        char when[CLOCK_TEXT];
        if (entry->n != 2) continue;
        clock_format((int64_t)strtoll(entry->items[0].text.p, NULL, 10), when);
        const size_t start = b->n;
        buf_printf(b, "    %s  " STR_FMT " " STR_FMT "  " STR_FMT, when, STR_ARG(field(&entry->items[1], "kind")),
                   STR_ARG(field(&entry->items[1], "version")), STR_ARG(field(&entry->items[1], "reason")));
        if (t->columns > 0 && b->n - start > t->columns) b->n = start + t->columns;
        buf_u8(b, '\n');
    }
    if (t->log->n == 0) buf_printf(b, "    nothing yet\n");
}

static void write_text(struct top *t)
{
    struct buf *b = &t->out;
    char now[CLOCK_TEXT];
    clock_format(clock_system()->wall_ms(clock_system()), now);
    const struct str state = field(t->info, "state"), host = field(t->info, "host");
    buf_printf(b, "freshet %s   %s   " STR_FMT " on " STR_FMT "\n\n", t->conf->model_name, now,
               STR_ARG(state.n ? state : STR("no learner seen")), STR_ARG(host.n ? host : STR("?")));
    const struct str trouble = field(t->info, "trouble");
    if (trouble.n > 0) buf_printf(b, "  TROUBLE   " STR_FMT "\n\n", STR_ARG(trouble));
    if (age_ms(t) > OLD_MS && !str_is(state, "stopped"))
        buf_printf(b,
                   "  TROUBLE   these figures are %.0f s old: the learner is gone, hangs or does not reach Redis\n\n",
                   (double)age_ms(t) / 1000);
    if (metric(t, "kafka_up") <= 0 && t->metrics->n > 0)
        buf_printf(b, "  TROUBLE   no Kafka broker answers since %.0f s\n\n", metric(t, "kafka_down_ms") / 1000);
    if (t->metrics->n == 0)
        buf_printf(b, "  no metrics yet: is a learner running with model.name=%s and this Redis?\n",
                   t->conf->model_name);
    else
        write_figures(t);
    write_log(t);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

/* False when a signal came. */
static bool wait_s(double seconds)
{
    const struct timespec until = clock_until((int64_t)(seconds * 1e6));
    for (;;) {
        if (sem_clockwait(&stopped, CLOCK_MONOTONIC, &until) == 0) return false;
        if (errno != EINTR) return true;
    }
}

static void measure(struct top *t)
{
    struct winsize w = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_row == 0 || w.ws_col == 0) return;
    t->rows = w.ws_row;
    t->columns = w.ws_col;
}

/* A look that is shown; one that failed, after an earlier one, is said and tried again: dashboards outlive a restart. */
static enum status look_and_write(struct top *t, bool json, bool looked, struct err *e)
{
    const enum status st = look(t, e);
    if (st == STATUS_OK && json)
        write_json(t);
    else if (st == STATUS_OK)
        write_text(t);
    else if (!looked || st == STATUS_OOM)
        return st;
    else if (json)
        log_limited(LOG_WARN, "top", "%s", e->text);
    else
        buf_printf(&t->out, "freshet %s\n\n  TROUBLE   %s\n", t->conf->model_name, e->text);
    return buf_status(&t->out, e);
}

/* Who looks once, a script, is not to take a wrong name for a learner that has done nothing yet. */
static enum status check_there(const struct top *t, struct err *e)
{
    if (t->metrics->n > 0 || t->info->n > 0 || t->log->n > 0) return STATUS_OK;
    return ERR_SET(e, STATUS_NOT_FOUND,
                   "%s has nothing of a model %s: is model.name right, and is a learner running with this Redis?",
                   redis_name(t->redis), t->conf->model_name);
}

static enum status show(struct top *t, bool once, bool json, uint64_t every_ms, struct err *e)
{
    const bool screen = !once && !json && isatty(STDOUT_FILENO) != 0;
    bool looked = false;
    if (sem_init(&stopped, 0, 0) != 0) return ERR_SET(e, STATUS_IO, "no semaphore can be made");
    if (!once) cmd_stop_on_signals(stop);
    do {
        buf_clear(&t->out);
        if (screen) measure(t);
        if (screen) buf_printf(&t->out, "\x1b[H\x1b[2J");
        TRY(look_and_write(t, json, looked, e));
        if (once) TRY(check_there(t, e));
        looked = true;
        if (cmd_print("top", &t->out) != 0) return ERR_SET(e, STATUS_IO, "nobody reads the output");
    } while (!once && wait_s((double)every_ms * 1e-3));
    return STATUS_OK;
}

static const char *const keys[] = {"model.name", "redis.", NULL};

int cmd_top(int argc, char **argv)
{
    struct cmd_line line;
    struct err e = {0};
    struct top t = {0};
    bool once = false, json = false;
    uint64_t every_ms = 1000;
    const struct cmd_option options[] = {
        {"once", NULL, CMD_FLAG, &once, NULL, "one look, then the end"},
        {"json", NULL, CMD_FLAG, &json, NULL,
         "JSON, one object a look: {\"model\",\"metrics\":{},\"info\":{},\"log\":[{}],\"age_ms\"}, age_ms: since they "
         "were written"},
        {"every", "MS", CMD_COUNT, &every_ms, NULL, "time between looks (default 1000)"},
    };
    const struct cmd_usage usage = {
        .command = "top",
        .arguments = "",
        .about = "Shows what Redis says of a model: rates, progressive figures, version in force, freshness, rejects, "
                 "the version\n"
                 "log.  Exit status 1 when Redis cannot be reached at the start, and with --once when it has nothing "
                 "of the model.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        t.conf = line.conf;
        enum status st = redis_open(&t.redis, line.conf, clock_system(), &e);
        if (st == STATUS_OK) st = show(&t, once, json, every_ms < 50 ? 50 : every_ms, &e);
        rc = st == STATUS_OK ? 0 : cmd_failed("top", &e);
        redis_close(t.redis);
        buf_fini(&t.out);
    }
    cmd_line_fini(&line);
    return rc;
}
