/* bench_site.c - see bench_site.h. */
#include "cli/bench_site.h"
#include "base/mem.h"
#include "serving/redis.h"
#include "simulate/stream.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINES = 4000, LINES_QUICK = 600, READY_S = 60, LEARN_S = 300 };

static enum status keep_line(void *user, int64_t time_ms, struct str text)
{
    struct cmd_bench_site *s = user;
    (void)time_ms;
    buf_put(&s->log, text.p, text.n);
    const char *who = memmem(text.p, text.n, "\"user\":\"u", 9);
    const bool taken =
        memmem(text.p, text.n, "\"click\"", 7) != NULL || memmem(text.p, text.n, "\"purchase\"", 10) != NULL;
    if (who != NULL && taken) s->behaviours[strtoul(who + 9, NULL, 10) % CMD_BENCH_SITE_USERS]++;
    return s->log.oom ? STATUS_OOM : STATUS_OK;
}

static enum status write_log(const struct cmd_bench *b, struct cmd_bench_site *s, const char *path, struct err *e)
{
    struct shop_options o;
    struct stream_truth truth;
    shop_defaults(&o);
    o.users = CMD_BENCH_SITE_USERS;
    o.items = CMD_BENCH_SITE_ITEMS;
    o.new_items = 0.0;
    o.events = CMD_BENCH_SITE_ITEMS + (b->quick ? LINES_QUICK : LINES);
    o.delay_ms = 2000.0;
    o.window_ms = 10000;
    TRY(stream_run(&o, false, keep_line, s, &truth, e));
    const enum status st = cmd_file_write(path, &s->log, e);
    buf_fini(&s->log);
    return st;
}

/* What the benchmark runs with, and where this site's things lie. */
static enum status write_conf(const struct cmd_bench *b, struct cmd_bench_site *s, struct err *e)
{
    struct buf text = {0};
    conf_dump(b->conf, &text);
    const enum status st = cmd_file_write(s->conf, &text, e);
    buf_fini(&text);
    return st;
}

enum status cmd_bench_site_redis(const struct cmd_bench_site *s, struct redis **out, struct err *e)
{
    struct conf *c = NULL;
    *out = NULL;
    enum status st = conf_new(&c, e);
    if (st == STATUS_OK) st = conf_set(c, "redis.url", s->url, e);
    if (st == STATUS_OK) st = redis_open(out, c, clock_system(), e);
    conf_free(c);
    return st;
}

static enum status answers(const struct cmd_bench_site *s, struct err *e)
{
    struct redis *r = NULL;
    const struct redis_reply *reply;
    enum status st = cmd_bench_site_redis(s, &r, e);
    if (st == STATUS_OK) st = redis_call(r, e, &reply, REDIS_ARGS(STR("PING")));
    redis_close(r);
    return st;
}

static enum status start_redis(struct cmd_bench_site *s, struct err *e)
{
    const char *socket = s->url + strlen("unix:");
    const char *const argv[] = {"redis-server", "--port", "0",     "--unixsocket", socket,      "--save",     "",
                                "--appendonly", "no",     "--dir", s->dir,         "--logfile", s->redis.log, NULL};
    if (strlen(socket) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return ERR_SET(e, STATUS_UNSUPPORTED, "the socket's path has %zu bytes: set TMPDIR to a shorter folder",
                       strlen(socket));
    s->redis.name = "redis-server";
    TRY(cmd_process_start(&s->redis, argv, e));
    const double end = cmd_bench_now_s() + READY_S;
    for (;;) {
        const enum status st = answers(s, e);
        if (st == STATUS_OK || st == STATUS_UNSUPPORTED) return st;
        TRY(cmd_process_alive(&s->redis, e));
        if (cmd_bench_now_s() > end) return st;
        cmd_process_nap(0.01);
    }
}

static enum status learn_log(const struct cmd_bench *b, struct cmd_bench_site *s, struct err *e)
{
    char log[CMD_BENCH_SITE_PATH], state[CMD_BENCH_SITE_PATH + 16], url[CMD_BENCH_SITE_PATH + 16];
    (void)snprintf(log, sizeof log, "%s/log.jsonl", s->dir);
    (void)snprintf(state, sizeof state, "state.dir=%s/state", s->dir);
    (void)snprintf(url, sizeof url, "redis.url=%s", s->url);
    TRY(write_log(b, s, log, e));
    const char *const argv[] = {NULL, "replay", "--quiet", "--config", s->conf, "-o", state, "-o", url, log, NULL};
    s->learner.name = "freshet replay";
    TRY(cmd_process_start(&s->learner, argv, e));
    return cmd_process_wait(&s->learner, LEARN_S, e);
}

/* The port that it says it listens on. */
static enum status find_port(struct cmd_bench_scorer *x, double end, struct err *e)
{
    struct buf log = {0};
    enum status st = STATUS_OK;
    for (x->port = 0; x->port == 0 && st == STATUS_OK;) {
        buf_clear(&log);
        if (cmd_file_read(&log, x->process.log, NULL) == STATUS_OK) {
            const char *port = strstr((const char *)log.p, " port=");
            if (port != NULL) x->port = (int)strtol(port + 6, NULL, 10);
        }
        st = cmd_process_alive(&x->process, e);
        if (st == STATUS_OK && x->port == 0 && cmd_bench_now_s() > end)
            st = ERR_SET(e, STATUS_CORRUPT, "%s does not listen after %d s", x->process.name, READY_S);
        cmd_process_nap(0.005);
    }
    buf_fini(&log);
    return st;
}

/* It answers a request: that its health is ready would come a moment too soon. */
static enum status wait_ready(struct cmd_bench_scorer *x, double end, struct err *e)
{
    struct buf request = {0}, reply = {0}, one = {0};
    size_t body;
    enum status st;
    buf_printf(&one, "{\"user\":\"u0\",\"items\":[\"i0\"]}");
    cmd_bench_put_request(&request, "/v1/rerank", &one);
    do {
        int fd;
        st = cmd_process_alive(&x->process, e);
        if (st != STATUS_OK) break;
        st = cmd_bench_connect(&fd, x->port, e);
        if (st == STATUS_OK) {
            st = cmd_bench_ask(fd, &request, &reply, &body, e);
            (void)close(fd);
        }
        if (st != STATUS_OK) cmd_process_nap(0.02);
    } while (st != STATUS_OK && cmd_bench_now_s() < end);
    buf_fini(&request);
    buf_fini(&reply);
    buf_fini(&one);
    return st;
}

enum status cmd_bench_serve_start(struct cmd_bench_site *s, struct cmd_bench_scorer *out, const char *name,
                                  const char *const *options, struct err *e)
{
    char url[CMD_BENCH_SITE_PATH + 16];
    const char *argv[CMD_PROCESS_ARGS_MAX] = {
        NULL, "serve", "--config", s->conf, "-o", url, "-o", "serving.listen=127.0.0.1:0", "-o", "serving.token_file="};
    size_t n = 10;
    (void)snprintf(url, sizeof url, "redis.url=%s", s->url);
    for (; options != NULL && *options != NULL && n + 3 < CMD_PROCESS_ARGS_MAX; options++) {
        argv[n++] = "-o";
        argv[n++] = *options;
    }
    argv[n] = NULL;
    *out = (struct cmd_bench_scorer){.process.name = "freshet serve"};
    (void)snprintf(out->process.log, sizeof out->process.log, "%s/%s.log", s->dir, name);
    (void)unlink(out->process.log);
    return cmd_process_start(&out->process, argv, e);
}

enum status cmd_bench_serve_ready(struct cmd_bench_scorer *x, struct err *e)
{
    const double end = cmd_bench_now_s() + READY_S;
    TRY(find_port(x, end, e));
    return wait_ready(x, end, e);
}

enum status cmd_bench_serve(struct cmd_bench_site *s, struct cmd_bench_scorer *out, const char *name,
                            const char *const *options, struct err *e)
{
    TRY(cmd_bench_serve_start(s, out, name, options, e));
    return cmd_bench_serve_ready(out, e);
}

static enum status open_site(const struct cmd_bench *b, struct cmd_bench_site *s, struct err *e)
{
    char threads[64];
    const long long most = b->conf->serving_threads > b->cores ? b->conf->serving_threads : b->cores;
    const char *const options[] = {threads, NULL};
    (void)snprintf(threads, sizeof threads, "serving.threads=%lld", most);
    (void)snprintf(s->dir, sizeof s->dir, "%s/site", b->dir);
    (void)snprintf(s->conf, sizeof s->conf, "%s/freshet.ini", s->dir);
    (void)snprintf(s->url, sizeof s->url, "unix:%s/socket", s->dir);
    (void)snprintf(s->redis.log, sizeof s->redis.log, "%s/redis.log", s->dir);
    (void)snprintf(s->learner.log, sizeof s->learner.log, "%s/learner.log", s->dir);
    if (mkdir(s->dir, 0700) != 0) return ERR_SET(e, STATUS_IO, "%s can't be made", s->dir);
    TRY(write_conf(b, s, e));
    TRY(start_redis(s, e));
    (void)fprintf(stderr, "freshet bench: a site is set up: Redis, %d items learnt and published, a scorer\n",
                  CMD_BENCH_SITE_ITEMS);
    TRY(learn_log(b, s, e));
    return cmd_bench_serve(s, &s->scorer, "scorer", options, e);
}

enum status cmd_bench_site(struct cmd_bench *b, struct cmd_bench_site **out, struct err *e)
{
    struct cmd_bench_site *s = b->site;
    *out = NULL;
    if (s == NULL) {
        s = b->site = mem_calloc(1, sizeof *s);
        if (s == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a site");
        s->status = open_site(b, s, &s->failure);
    }
    if (s->status == STATUS_OK) *out = s;
    if (s->status != STATUS_OK && e != NULL) *e = s->failure;
    return s->status;
}

void cmd_bench_site_free(struct cmd_bench_site *s)
{
    if (s == NULL) return;
    cmd_process_stop(&s->other.process);
    cmd_process_stop(&s->scorer.process);
    cmd_process_stop(&s->learner);
    cmd_process_stop(&s->redis);
    buf_fini(&s->log);
    mem_free(s->live);
    mem_free(s);
}

double cmd_bench_site_events(const struct cmd_bench *b, uint32_t user)
{
    const double n = b->site->behaviours[user], most = (double)b->conf->model_events;
    return n < most ? n : most;
}
