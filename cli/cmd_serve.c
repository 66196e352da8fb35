/* cmd_serve.c - `freshet serve`: a scorer that follows the versions in Redis and answers over HTTP, until a signal. */
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "cli/serve_intake.h"
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>

#ifndef FRESHET_VERSION
#define FRESHET_VERSION "unknown"
#endif
#define DRAIN_MS 2000

static sem_t stopped; /* posted by the signal handler */

static void stop(void)
{
    (void)sem_post(&stopped);
}

struct serve {
    struct metric *metric;
    struct score *score;
    struct serve_intake *intake;
    struct http *http;
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

static void serve_close(struct serve *s)
{
    http_close(s->http, DRAIN_MS);
    serve_intake_close(s->intake);
    score_close(s->score);
    metric_free(s->metric);
}

static enum status serve(const struct conf *c, struct err *e)
{
    struct serve s = {0};
    if (sem_init(&stopped, 0, 0) != 0) return ERR_SET(e, STATUS_IO, "serve: no semaphore can be made");
    cmd_stop_on_signals(stop);
    const enum status st = serve_open(&s, c, e);
    if (st == STATUS_OK) {
        while (sem_wait(&stopped) != 0 && errno == EINTR) {
        }
        log_info("stopping", "requests=%llu", (unsigned long long)metric_requests(s.metric));
    }
    serve_close(&s);
    return st;
}

static const char *const keys[] = {"model.", "describe.", "redis.", "serving.", "kernels.", NULL};

int cmd_serve(int argc, char **argv)
{
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"listen", "ADDRESS:PORT", CMD_KEY, NULL, "serving.listen",
         "where to listen (serving.listen); port 0 picks a free one"},
    };
    const struct cmd_usage usage = {
        .command = "serve",
        .arguments = "",
        .about = "A scorer: follows the versions that the learner publishes to Redis, verifies each and swaps it in, "
                 "and answers\n"
                 "POST /v1/rerank (see also /, /v1/models, /metrics, /v2/health/ready).  model.* and history.* keys "
                 "must be the\n"
                 "learner's.  The address is logged as `listening address=... port=...`.  SIGTERM and Ctrl-C finish "
                 "the requests\n"
                 "under way and exit 0.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = serve(line.conf, &e) == STATUS_OK ? 0 : cmd_failed("serve", &e);
    cmd_line_fini(&line);
    return rc;
}
