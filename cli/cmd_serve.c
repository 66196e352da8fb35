/* cmd_serve.c - `freshet serve`: a scorer that follows the versions in Redis and answers over HTTP, until a signal. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "cli/serve_intake.h"
#include "job/job_notify.h"
#include "schemas/conf_live.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

#ifndef FRESHET_VERSION
#define FRESHET_VERSION "unknown"
#endif
#define LOOK_US 200000 /* how often the main thread looks at signals and at the others */

static sem_t woken; /* posted by the signal handlers */
static atomic_bool stopping, reloading;

static void stop(void)
{
    atomic_store(&stopping, true);
    (void)sem_post(&woken);
}

static void reload(void)
{
    atomic_store(&reloading, true);
    (void)sem_post(&woken);
}

struct serve {
    struct metric *metric;
    struct score *score;
    struct serve_intake *intake;
    struct http *http;
    uint64_t looks; /* of the watch, when the manager's watchdog was last fed */
    bool ready;
};

static enum status serve_open(struct serve *s, const struct conf *c, struct err *e)
{
    TRY(metric_new(&s->metric, e));
    TRY(score_open(&s->score, c, clock_system(), s->metric, e));
    TRY(serve_intake_open(&s->intake, c, e));
    const struct http_options o = {.conf = c,
                                   .clock = clock_system(),
                                   .score = s->score,
                                   .metric = s->metric,
                                   .intake = serve_intake_door(s->intake),
                                   .version = FRESHET_VERSION};
    TRY(http_open(&s->http, &o, e));
    TRY(score_start(s->score, e));
    log_info("listening", "address=%s port=%d model=%s", http_address(s->http), http_port(s->http), c->model_name);
    return STATUS_OK;
}

static void serve_close(struct serve *s, const struct conf *c)
{
    http_close(s->http, c->serving_drain_ms);
    serve_intake_close(s->intake);
    score_close(s->score);
    metric_free(s->metric);
}

/* SIGHUP: the live serving.* keys take effect with the next request. */
static void take_reload(struct cmd_line *line, bool ready)
{
    struct conf *fresh = NULL;
    struct err e = {0};
    if (ready) job_notify_reloading();
    if (cmd_line_reread(line, &fresh, &e) == STATUS_OK)
        (void)conf_take_live(line->conf, fresh);
    else
        log_error("reload", "refused=\"%s\" changed=nothing", e.text);
    conf_free(fresh);
    if (ready) job_notify("READY=1"); /* else it is told when it is */
}

/* Ready with a version in force and the door open; the watchdog is fed while the watch for versions lives. */
static void tell_manager(struct serve *s)
{
    const uint64_t looks = score_looks(s->score);
    if (!s->ready && score_ready(s->score)) {
        s->ready = true;
        job_notify("READY=1");
    }
    if (looks != s->looks) job_notify_watchdog(clock_system()->mono_us(clock_system()));
    s->looks = looks;
    score_update_gauges(s->score);
    job_notify("STATUS=%s; version %.0f, %llu requests%s", s->ready ? "serving" : "waits for a version",
               metric_get(s->metric, METRIC_VERSION), (unsigned long long)metric_requests(s->metric),
               s->ready ? "" : "\nEXTEND_TIMEOUT_USEC=30000000");
}

static void nap(void)
{
    const struct timespec until = clock_until(LOOK_US);
    (void)sem_clockwait(&woken, CLOCK_MONOTONIC, &until);
}

static enum status serve(struct cmd_line *line, struct err *e)
{
    struct serve s = {0};
    const enum status st = serve_open(&s, line->conf, e);
    while (st == STATUS_OK && !atomic_load(&stopping)) {
        tell_manager(&s);
        if (atomic_exchange(&reloading, false)) take_reload(line, s.ready);
        nap();
    }
    job_notify("STOPPING=1\nSTATUS=stopping");
    if (st == STATUS_OK) log_info("stopping", "requests=%llu", (unsigned long long)metric_requests(s.metric));
    serve_close(&s, line->conf);
    return st;
}

static const char *const keys[] = {"model.", "describe.", "redis.", "serving.", "kernels.", NULL};

int cmd_serve(int argc, char **argv)
{
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"listen", "ADDRESS:PORT", CMD_KEY, NULL, "serving.listen", "where to listen; port 0 picks a free one"},
    };
    const struct cmd_usage usage = {
        .command = "serve",
        .arguments = "",
        .about = "A scorer: follows the versions that the learner publishes to Redis, verifies each and swaps it in, "
                 "and answers\n"
                 "POST /v1/rerank (see also /, /v1/models, /metrics, /v2/health/ready).  Keys of kind `state` in "
                 "CONFIG.md (model.*,\n"
                 "describe.*, history.*, kernels.precision and others) must be the learner's: give both the same "
                 "file.  The address\n"
                 "is logged as `listening address=... port=...`.  SIGTERM and Ctrl-C finish the requests under way "
                 "and exit 0;\n"
                 "SIGHUP reads the configuration again (keys marked live in CONFIG.md).\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
    };
    if (sem_init(&woken, 0, 0) != 0) {
        (void)ERR_SET(&e, STATUS_IO, "serve: no semaphore can be made");
        return cmd_failed("serve", &e);
    }
    cmd_stop_on_signals(stop); /* from the first moment on, as run does */
    cmd_reload_on_signal(reload);
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = serve(&line, &e) == STATUS_OK ? 0 : cmd_failed("serve", &e);
    cmd_line_fini(&line);
    return rc;
}
