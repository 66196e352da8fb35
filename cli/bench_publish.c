/* bench_publish.c - a version put in force in Redis after 50 events: how long the upload takes and how many bytes it is.
 *
 * Checked first: Redis names the version, and its hash is that of the parameters in memory.
 */
#include "base/log.h"
#include "base/mem.h"
#include "cli/bench_site.h"
#include "job/line_publish.h"
#include "schemas/key.h"
#include "serving/publish.h"
#include "serving/redis.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL "bench-publish"
enum { EVENTS = 50, FLUSH_MS = 10000, BYTES_RUNS = 20 };

struct own {
    struct conf *conf; /* the publisher's */
    struct publish *to;
    struct redis *redis;
    enum log_level level; /* of the others */
};

static enum status open_publisher(struct own *o, const struct cmd_bench_site *s, struct err *e)
{
    TRY(conf_new(&o->conf, e));
    TRY(conf_set(o->conf, "redis.url", s->url, e));
    TRY(conf_set(o->conf, "model.name", MODEL, e));
    TRY(publish_open(&o->to, o->conf, clock_system(), 0, e));
    return cmd_bench_site_redis(s, &o->redis, e);
}

/* The shop goes on, and what it changed becomes durable, as a version is before it is published. */
static enum status before(struct cmd_bench *b, struct err *e)
{
    struct own *o = b->own;
    TRY(cmd_bench_feed(b, EVENTS, e));
    line_publish_touch(learner_line(b->learner), o->to);
    return checkpoint_write(b->checkpoint, b->learner, e);
}

static enum status run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    struct own *o = b->own;
    struct publish_version v = {.reason = "interval", .rounded = strcmp(b->conf->publish_dense, "bf16") == 0};
    *units = 1;
    TRY(line_publish(learner_line(b->learner), o->to, learner_params(b->learner), &v, e));
    return publish_flush(o->to, FLUSH_MS, e);
}

static enum status check(struct cmd_bench *b, struct err *e)
{
    const struct own *o = b->own;
    const struct redis_reply *reply;
    struct publish_manifest m = {0};
    char key[KEY_MAX];
    const struct param_set *p = learner_params(b->learner);
    (void)key_manifest(key, MODEL, p->version);
    TRY(redis_call(o->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    enum status st = publish_manifest_decode(&m, reply->text, MODEL, e);
    if (st == STATUS_OK && strcmp(m.sha256, p->sha256) != 0)
        st = ERR_SET(e, STATUS_CORRUPT, "publish: version %llu in Redis is not what is in memory",
                     (unsigned long long)p->version);
    publish_manifest_fini(&m);
    return st;
}

static enum status setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    uint64_t units;
    struct cmd_bench_site *s;
    (void)c;
    TRY(cmd_bench_site(b, &s, e));
    b->own = mem_calloc(1, sizeof(struct own));
    if (b->own == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a publisher");
    ((struct own *)b->own)->level = log_get_level();
    log_set_level(LOG_WARN); /* not a line a version */
    TRY(open_publisher(b->own, s, e));
    TRY(before(b, e));
    TRY(run(b, &units, e)); /* all rows, at the first time */
    return check(b, e);
}

/* What Redis has been sent since it began. */
static enum status sent(struct cmd_bench *b, double *bytes, struct err *e)
{
    static const char name[] = "total_net_input_bytes:";
    const struct redis_reply *reply;
    TRY(redis_call(((struct own *)b->own)->redis, e, &reply, REDIS_ARGS(STR("INFO"), STR("stats"))));
    const char *at = memmem(reply->text.p, reply->text.n, name, strlen(name));
    if (at == NULL) return ERR_SET(e, STATUS_UNSUPPORTED, "this Redis does not count its input");
    *bytes = strtod(at + strlen(name), NULL);
    return STATUS_OK;
}

static enum status sample_bytes(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                                struct err *e)
{
    uint64_t units;
    double from, to;
    const size_t runs = b->quick ? 3 : BYTES_RUNS;
    (void)c;
    for (*n = 0; *n < runs && *n < max; ++*n) {
        TRY(before(b, e));
        TRY(sent(b, &from, e));
        TRY(run(b, &units, e));
        TRY(sent(b, &to, e));
        out[*n] = (to - from) / 1024.0;
    }
    return STATUS_OK;
}

/* The dense numbers are written in the piece's precision, hashed, compared by chunks and sent. */
static void cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double out[CMD_BENCH_LIMITS])
{
    const size_t *first = model_table(learner_model(b->learner))->group_first;
    const bool rounded = strcmp(b->conf->publish_dense, "bf16") == 0;
    const size_t bytes = first[PARAM_ADAGRAD] * (rounded ? 2 : 4) + (first[PARAM_SPARSE] - first[PARAM_ADAGRAD]) * 4;
    (void)c;
    out[CMD_BENCH_MEMORY] = 4.0 * (double)bytes;
}

static void end(struct cmd_bench *b)
{
    struct own *o = b->own;
    if (o == NULL) return;
    publish_close(o->to);
    log_set_level(o->level);
    redis_close(o->redis);
    conf_free(o->conf);
    mem_free(o);
    b->own = NULL;
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "publish", .what = "what 50 events changed, in force in Redis", .kind = CMD_BENCH_LATENCY,
     .setup = setup, .before = before, .run = run, .cost = cost},
    {.name = "publish.bytes", .what = "of it sent to Redis", .kind = CMD_BENCH_SAMPLES, .unit = "KiB",
     .setup = setup, .sample = sample_bytes},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_publish = {
    .name = "publish", .title = "a version to Redis, one core", CMD_BENCH_CASES(cases), .shop = true, .end = end};
