/* publish_cost.c - for publish.sh: what one more version costs learner, Redis and scorer, by how much of it changed.
 *
 *   publish_cost ROUNDS [section.key=value…]
 *
 * A private Redis, a model of these keys, a publisher and a fetcher in one process.  Lines of tab-separated fields:
 * `sha256 MEDIAN MIN MAX` (the hash of all learnt parameters, once a version, ms) and for each kind of change
 * `NAME ROWS WRITTEN_BYTES FETCHED_BYTES` and for hand-over, upload, fetch with all checks and probe, binding each MEDIAN MIN
 * MAX (ms).  Every version that is fetched is compared with what was published.
 */
#include "schemas/key.h"
#include "schemas/weights_dense.h"
#include "serving/fetch.h"
#include "tests/support/check.h"
#include "tests/support/serving_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 50 };
enum { HAND, UPLOAD, FETCH, BIND, TIMES };
enum kind { PIECES, ROUNDED, WHOLE_FILE };
struct change {
    const char *name;
    enum kind kind;
    bool dense;  /* the dense part changes too */
    size_t rows; /* touched ones; SIZE_MAX: all */
};
static const struct change changes[] = {
    {"one file, as before", WHOLE_FILE, true, 1000},
    {"10 rows", PIECES, false, 10},
    {"1000 rows", PIECES, false, 1000},
    {"100000 rows", PIECES, false, 100000},
    {"all rows", PIECES, false, SIZE_MAX},
    {"dense", PIECES, true, 0},
    {"dense, 1000 rows", PIECES, true, 1000},
    {"dense, 100000 rows", PIECES, true, 100000},
    {"dense, all rows", PIECES, true, SIZE_MAX},
    {"dense bf16, 1000 rows", ROUNDED, true, 1000},
};

static struct serving_world w;
static struct fetch *f;
static struct model_run *probe, *hand;
static struct slot_version *served; /* a scorer keeps the one before until the next is bound */
static uint64_t version, seed = 1;

static double now_ms(void)
{
    return (double)clock_system()->mono_us(clock_system()) * 1e-3;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(double *ms, size_t n)
{
    qsort(ms, n, sizeof *ms, by_size);
    (void)printf("\t%.2f\t%.2f\t%.2f", ms[n / 2], ms[0], ms[n - 1]);
}

static void change(const struct change *c)
{
    const struct publish_hashed h = serving_world_hashed(&w);
    float *rows = w.params->w + (w.params->n - h.n);
    for (size_t i = 0; c->dense && i < w.params->n - h.n; i += 7) w.params->w[i] *= 1.001f;
    for (size_t i = 0; i < (c->rows == SIZE_MAX ? h.n : c->rows); i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const size_t row = c->rows == SIZE_MAX ? i : (size_t)(seed >> 33) % h.n;
        rows[row] += 0.001f;
        publish_touch(w.publish, row / PUBLISH_PAGE);
    }
    param_touch(w.params);
}

static void hash(double *ms)
{
    struct err e = {0};
    const double start = now_ms();
    assert_ok(param_sha256(w.params, &e), &e);
    *ms = now_ms() - start;
}

static void publish(const struct change *c, double *hand_ms, double *upload_ms)
{
    struct err e = {0};
    const double start = now_ms();
    struct buf file =
        c->kind == WHOLE_FILE ? serving_world_file(&w, version) : serving_world_dense(&w, c->kind == ROUNDED);
    const struct publish_hashed hashed = serving_world_hashed(&w);
    struct publish_version v = {.version = version, .reason = "bench", .rounded = c->kind == ROUNDED};
    memcpy(v.sha256, w.params->sha256, sizeof v.sha256);
    (void)snprintf(v.base, sizeof v.base, "%016llx", (unsigned long long)model_fingerprint(w.model));
    assert_ok(publish_weights(w.publish, &v, &file, c->kind == WHOLE_FILE ? NULL : &hashed, &e), &e);
    const double handed = now_ms();
    assert_ok(publish_flush(w.publish, 60000, &e), &e);
    *hand_ms = handed - start;
    *upload_ms = now_ms() - handed;
}

static void take(const struct change *c, double *fetch_ms, double *bind_ms, uint64_t *fetched)
{
    struct err e = {0};
    struct slot_version *v = NULL;
    const double start = now_ms();
    assert_ok(fetch_next(f, &v, &e), &e);
    const double got = now_ms();
    assert_ok(model_bind(hand, v->params, &e), &e);
    *fetch_ms = got - start;
    *bind_ms = now_ms() - got;
    assert_int_equal(v->manifest.version, version);
    if (c->kind != ROUNDED) assert_memory_equal(v->params->w, w.params->w, w.params->n * sizeof(float));
    *fetched = v->fetched_bytes;
    slot_version_free(served);
    served = v;
}

static long long written_bytes(void)
{
    char answer[4096];
    return atoll(redis_server_ask(&w.redis, answer,
                                  "EVAL return(redis.call('xrevrange',KEYS[1],'+','-','count',1)[1][2][18]) 1 "
                                  "fr:{default}:log"));
}

static void measure(const struct change *c, size_t rounds)
{
    static double ms[TIMES][ROUNDS_MAX], sha_ms[ROUNDS_MAX];
    uint64_t fetched = 0, sum_fetched = 0, sum_written = 0;
    for (size_t i = 0; i < rounds + 1; i++) { /* the first one, after another kind, is not counted */
        const size_t at = i > 0 ? i - 1 : 0;
        version++;
        change(c);
        hash(&sha_ms[at]);
        publish(c, &ms[HAND][at], &ms[UPLOAD][at]);
        take(c, &ms[FETCH][at], &ms[BIND][at], &fetched);
        if (i > 0) sum_fetched += fetched, sum_written += (uint64_t)written_bytes();
    }
    if (c == changes) {
        (void)printf("sha256");
        print_times(sha_ms, rounds);
        (void)printf("\n");
    }
    (void)printf("%s\t%lld\t%llu\t%llu", c->name, c->rows == SIZE_MAX ? -1 : (long long)c->rows,
                 (unsigned long long)(sum_written / rounds), (unsigned long long)(sum_fetched / rounds));
    for (int t = HAND; t < TIMES; t++) print_times(ms[t], rounds);
    (void)printf("\n");
}

int main(int argc, char **argv)
{
    struct err e = {0};
    const size_t rounds = argc > 1 ? (size_t)atoi(argv[1]) : 0;
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: publish_cost ROUNDS(1..%d) [section.key=value...]\n", ROUNDS_MAX);
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    serving_world_open(&w, (const char *const *)argv + 2);
    assert_ok(model_run_new(&probe, w.model, w.states, false, &e), &e);
    assert_ok(model_run_new(&hand, w.model, w.states, false, &e), &e);
    assert_ok(fetch_new(&f, w.shop.conf, clock_system(), w.model, probe, w.shop.feat, &e), &e);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) measure(&changes[i], rounds);
    slot_version_free(served);
    fetch_free(f);
    model_run_free(probe);
    model_run_free(hand);
    serving_world_close(&w);
    return 0;
}
