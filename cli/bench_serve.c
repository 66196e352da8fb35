/* bench_serve.c - re-ranking as a shop asks for it: JSON over HTTP to a scorer in another process, records from Redis.
 *
 * Warm: what the candidates' sentences say is in the scorer's memory.  Cold: a scorer that has just begun, so records and
 * sentences' states come from Redis.
 * New: items that nobody has seen, known by their words alone, so the encoder reads every one.  Latencies are of one
 * request in flight; requests/s are of two connections a core.  Checked first: every candidate is there once and in order,
 * its score does not depend on who else is asked for, and a scorer with the reference kernels says the same.
 */
#include "base/mem.h"
#include "cli/bench_site.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BODIES = 64,
    HANDS_A_CORE = 2,
    HANDS_MAX = 64,
    CHECKED = 10,
    ALONE = 3,
    ROUNDS = 7,
    ROUNDS_QUICK = 3,
    STARTS = 3
};
static const double tolerance = 1e-4, rounded = 5e-3; /* of a probability against ref: f32, operands in bf16 */
static const double alone = 1e-6;                     /* of a probability by how many are asked for */

struct hand { /* a connection */
    int fd;
    struct buf reply;
    uint64_t served;
};
struct own {
    struct cmd_bench_site *site;
    struct buf requests[BODIES];
    size_t items;  /* of a request */
    bool new;      /* of items that nobody knows */
    double events; /* that the users asked for have, on average */
    struct hand hands[HANDS_MAX];
    int n;
    double until_s; /* of a round of load */
};

static void put_item(struct buf *b, size_t i, bool new)
{
    static const char *const words[] = {"red",  "oak",    "travel", "kettle", "linen", "blue",    "lamp",   "garden",
                                        "desk", "copper", "wall",   "basket", "soft",  "striped", "mirror", "small"};
    if (!new) {
        buf_printf(b, "\"i%zu\"", i % CMD_BENCH_SITE_ITEMS);
        return;
    }
    buf_printf(b, "{\"item\":\"n%zu\",\"title\":\"", i);
    for (size_t w = 0; w < 5; w++) buf_printf(b, "%s ", words[(i >> (3 * w)) % 16]);
    buf_printf(b, "%zu\"}", i);
}

/* The i-th request: its user, and candidates that follow those of the one before. */
static enum status make_request(const struct own *o, struct buf *out, size_t i, size_t n, struct err *e)
{
    struct buf body = {0};
    buf_printf(&body, "{\"user\":\"u%zu\",\"items\":[", i % CMD_BENCH_SITE_USERS);
    for (size_t k = 0; k < n; k++) {
        if (k > 0) buf_printf(&body, ",");
        put_item(&body, i * o->items + k, o->new);
    }
    buf_printf(&body, "]}");
    enum status st = buf_status(&body, e);
    buf_clear(out);
    if (st == STATUS_OK) cmd_bench_put_request(out, "/v1/rerank", &body);
    if (st == STATUS_OK) st = buf_status(out, e);
    buf_fini(&body);
    return st;
}

/* ---- checks ---- */

/* A request of n candidates to a port; *out is the answer's document. */
static enum status ask(const struct own *o, int port, size_t n, json_t **out, struct err *e)
{
    enum status st;
    int fd = -1;
    size_t body = 0;
    struct buf request = {0}, reply = {0};
    json_error_t why;
    *out = NULL;
    TRY_OUT(st, make_request(o, &request, 1, n, e));
    TRY_OUT(st, cmd_bench_connect(&fd, port, e));
    TRY_OUT(st, cmd_bench_ask(fd, &request, &reply, &body, e));
    *out = json_loadb((const char *)reply.p + body, reply.n - body, JSON_REJECT_DUPLICATES, &why);
    if (*out == NULL) st = ERR_SET(e, STATUS_CORRUPT, "an answer is no JSON: %s", why.text);
out:
    if (fd >= 0) (void)close(fd);
    buf_fini(&request);
    buf_fini(&reply);
    return st;
}

static double score_of(const json_t *answer, const char *item, size_t *times)
{
    size_t i;
    const json_t *row;
    double score = NAN;
    *times = 0;
    json_array_foreach(json_object_get(answer, "items"), i,
                       row) if (strcmp(json_string_value(json_object_get(row, "item")), item) == 0)
    {
        score = json_number_value(json_object_get(row, "score"));
        ++*times;
    }
    return score;
}

/* All of n there once, best first, and known unless they are new. */
static enum status check_order(const json_t *answer, size_t n, bool new, struct err *e)
{
    size_t i, times;
    const json_t *row;
    double last = INFINITY;
    json_array_foreach(json_object_get(answer, "items"), i, row)
    {
        const double score = json_number_value(json_object_get(row, "score"));
        if (json_is_true(json_object_get(row, "known")) == new)
            return ERR_SET(e, STATUS_CORRUPT, "item %s is %s", json_string_value(json_object_get(row, "item")),
                           new ? "known, and should be new" : "not known: it was not learnt and published");
        (void)score_of(answer, json_string_value(json_object_get(row, "item")), &times);
        if (times != 1 || !(score <= last))
            return ERR_SET(e, STATUS_CORRUPT, "rank %zu is out of order or there twice", i + 1);
        last = score;
    }
    const size_t got = json_array_size(json_object_get(answer, "items"));
    return got == n ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "%zu items of %zu were answered", got, n);
}

static enum status check_same(const json_t *got, const json_t *want, double least, const char *who, struct err *e)
{
    size_t i, times;
    const json_t *row;
    json_array_foreach(json_object_get(want, "items"), i, row)
    {
        const char *item = json_string_value(json_object_get(row, "item"));
        const double a = score_of(got, item, &times), b = json_number_value(json_object_get(row, "score"));
        if (!(fabs(a - b) <= least)) return ERR_SET(e, STATUS_CORRUPT, "item %s scores %.9g, %s %.9g", item, a, who, b);
    }
    return STATUS_OK;
}

/* CHECKED candidates by the site's scorer, the first ALONE of them alone, and all by the reference kernels. */
static enum status check(struct cmd_bench *b, struct err *e)
{
    static const char *const ref[] = {"kernels.backend=ref", NULL};
    const struct own *o = b->own;
    struct cmd_bench_site *s = o->site;
    json_t *all = NULL, *few = NULL, *by_ref = NULL;
    if (s->checked) return STATUS_OK;
    enum status st = ask(o, s->scorer.port, CHECKED, &all, e);
    if (st == STATUS_OK) st = check_order(all, CHECKED, o->new, e);
    if (st == STATUS_OK) st = ask(o, s->scorer.port, ALONE, &few, e);
    if (st == STATUS_OK) st = check_same(all, few, alone, "with fewer beside it", e);
    if (st == STATUS_OK) st = cmd_bench_serve(s, &s->other, "ref", ref, e);
    if (st == STATUS_OK) st = ask(o, s->other.port, CHECKED, &by_ref, e);
    if (st == STATUS_OK)
        st = check_same(all, by_ref, cmd_bench_trained(b) == CMD_BENCH_F32 ? tolerance : rounded, "by ref", e);
    cmd_process_stop(&s->other.process);
    json_decref(by_ref);
    json_decref(few);
    json_decref(all);
    s->checked = st == STATUS_OK;
    return st;
}

/* ---- the cases ---- */

static enum status connect_hands(struct own *o, int n, int port, struct err *e)
{
    for (o->n = 0; o->n < n; o->n++) TRY(cmd_bench_connect(&o->hands[o->n].fd, port, e));
    return STATUS_OK;
}

static enum status begin(struct cmd_bench *b, const struct cmd_bench_case *c, bool new, struct err *e)
{
    struct cmd_bench_site *site;
    TRY(cmd_bench_site(b, &site, e));
    struct own *o = b->own = mem_calloc(1, sizeof *o);
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a case");
    o->site = site;
    o->items = c->n;
    o->new = new;
    for (uint32_t u = 0; u < CMD_BENCH_SITE_USERS; u++) o->events += cmd_bench_site_events(b, u) / CMD_BENCH_SITE_USERS;
    return check(b, e);
}

/* One request in flight; requests that come later than BODIES begin again with the first. */
static enum status run_one(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    struct own *o = b->own;
    size_t body;
    *units = 1;
    return cmd_bench_ask(o->hands[0].fd, &o->requests[b->next++ % BODIES], &o->hands[0].reply, &body, e);
}

static enum status setup_warm(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    uint64_t units;
    TRY(begin(b, c, false, e));
    struct own *o = b->own;
    TRY(connect_hands(o, 1, o->site->scorer.port, e));
    for (size_t i = 0; i < BODIES; i++) {
        TRY(make_request(o, &o->requests[i], i, o->items, e));
        TRY(run_one(b, &units, e));
    }
    return STATUS_OK;
}

/* Every request is one that was not made yet. */
static enum status next_request(struct cmd_bench *b, struct err *e)
{
    struct own *o = b->own;
    return make_request(o, &o->requests[0], ++o->site->asked, o->items, e);
}

static enum status run_next(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    b->next = 0;
    return run_one(b, units, e);
}

static enum status setup_cold(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    return begin(b, c, false, e);
}

/* A scorer that has just begun, asked for the whole catalogue once. */
static enum status ask_cold(struct cmd_bench *b, double *out, size_t max, size_t *n, struct err *e)
{
    struct own *o = b->own;
    struct hand *h = &o->hands[0];
    size_t body;
    TRY(cmd_bench_serve(o->site, &o->site->other, "cold", NULL, e));
    TRY(cmd_bench_connect(&h->fd, o->site->other.port, e));
    for (size_t i = 0; (i + 1) * o->items <= CMD_BENCH_SITE_ITEMS && *n < max; i++) {
        TRY(make_request(o, &o->requests[0], i, o->items, e));
        const double begun = cmd_bench_now_s();
        TRY(cmd_bench_ask(h->fd, &o->requests[0], &h->reply, &body, e));
        out[(*n)++] = 1e3 * (cmd_bench_now_s() - begun);
    }
    (void)close(h->fd);
    h->fd = 0;
    cmd_process_stop(&o->site->other.process);
    return STATUS_OK;
}

static enum status sample_cold(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                               struct err *e)
{
    (void)c;
    *n = 0;
    for (int r = 0; r < (b->quick ? 1 : STARTS); r++) TRY(ask_cold(b, out, max, n, e));
    return STATUS_OK;
}

static enum status setup_new(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    TRY(begin(b, c, true, e));
    struct own *o = b->own;
    return connect_hands(o, 1, o->site->scorer.port, e);
}

static enum status setup_load(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    TRY(setup_warm(b, c, e));
    struct own *o = b->own;
    (void)close(o->hands[0].fd);
    const int n = HANDS_A_CORE * b->cores;
    return connect_hands(o, n < HANDS_MAX ? n : HANDS_MAX, o->site->scorer.port, e);
}

static enum status ask_on(void *user, int i, struct err *e)
{
    struct own *o = user;
    struct hand *h = &o->hands[i];
    size_t body;
    for (h->served = 0; cmd_bench_now_s() < o->until_s; h->served++)
        TRY(cmd_bench_ask(h->fd, &o->requests[(h->served * (size_t)o->n + (size_t)i) % BODIES], &h->reply, &body, e));
    return STATUS_OK;
}

static enum status sample_load(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                               struct err *e)
{
    struct own *o = b->own;
    const size_t rounds = b->quick ? ROUNDS_QUICK : ROUNDS;
    (void)c;
    for (*n = 0; *n < rounds && *n < max; ++*n) {
        double served = 0.0;
        const double begun = cmd_bench_now_s();
        o->until_s = begun + (b->quick ? 0.2 : 0.6);
        TRY(cmd_bench_crew(o->n, ask_on, o, e));
        for (int i = 0; i < o->n; i++) served += (double)o->hands[i].served;
        out[*n] = served / (cmd_bench_now_s() - begun);
    }
    return STATUS_OK;
}

static void cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double out[CMD_BENCH_LIMITS])
{
    const struct own *o = b->own;
    const double items = (double)c->n, top = (double)b->conf->serving_joint_top;
    out[cmd_bench_trained(b)] = cmd_bench_slate_flop(b, o->events, items, items < top ? items : top);
}

static void end(struct cmd_bench *b)
{
    struct own *o = b->own;
    if (o == NULL) return;
    for (int i = 0; i < BODIES; i++) buf_fini(&o->requests[i]);
    for (int i = 0; i < HANDS_MAX; i++) {
        if (o->hands[i].fd > 0) (void)close(o->hands[i].fd);
        buf_fini(&o->hands[i].reply);
    }
    cmd_process_stop(&o->site->other.process);
    mem_free(o);
    b->own = NULL;
}

#define WARM_CASE(N)                                                                                                   \
    {                                                                                                                  \
        .name = "rerank." #N, .what = #N " candidates, warm: one request in flight", .kind = CMD_BENCH_LATENCY,        \
        .span = CMD_BENCH_ALL, .n = N, .setup = setup_warm, .run = run_one, .cost = cost                               \
    }
#define COLD_CASE(N)                                                                                                   \
    {                                                                                                                  \
        .name = "rerank." #N ".cold", .what = #N " candidates, by a scorer just started", .kind = CMD_BENCH_SAMPLES,   \
        .unit = "ms", .span = CMD_BENCH_ALL, .n = N, .setup = setup_cold, .sample = sample_cold, .cost = cost          \
    }
#define LOAD_CASE(N)                                                                                                   \
    {                                                                                                                  \
        .name = "rerank." #N ".load", .what = #N " candidates, warm: two connections a core",                          \
        .kind = CMD_BENCH_SAMPLES, .unit = "requests/s", .span = CMD_BENCH_ALL, .n = N, .setup = setup_load,           \
        .sample = sample_load, .cost = cost                                                                            \
    }
/* clang-format off */
static const struct cmd_bench_case cases[] = {
    WARM_CASE(10), WARM_CASE(100), WARM_CASE(1000), COLD_CASE(10), COLD_CASE(100), COLD_CASE(1000),
    {.name = "rerank.100.new", .what = "100 items that nobody has seen, encoded on the spot", .kind = CMD_BENCH_LATENCY,
     .n = 100, .setup = setup_new, .before = next_request, .run = run_next},
};
static const struct cmd_bench_case loads[] = {LOAD_CASE(10), LOAD_CASE(100), LOAD_CASE(1000)};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_rerank = {.name = "rerank",
                                                 .title = "re-ranking through HTTP and Redis, one request in flight",
                                                 CMD_BENCH_CASES(cases),
                                                 .outside = true,
                                                 .end = end};
const struct cmd_bench_topic cmd_bench_load = {.name = "load",
                                               .title = "re-ranking through HTTP and Redis, two connections a core",
                                               CMD_BENCH_CASES(loads),
                                               .outside = true,
                                               .end = end};
