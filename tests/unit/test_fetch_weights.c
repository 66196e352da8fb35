/* test_fetch_weights.c - a new version is fetched by what changed in it, and is the learner's to the bit all the same.
 *
 * labels: quick redis
 * timeout: 120
 */
#include "schemas/key.h"
#include "serving/fetch.h"
#include "tests/support/check.h"
#include "tests/support/serving_world.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct serving_world w;
static struct clock_fake fake; /* fetch waits before it looks at a refused version again: held still here */
static struct model_run *probe;
static struct redis *redis;

static struct fetch *new_fetch(void)
{
    struct fetch *f = NULL;
    struct err e = {0};
    assert_ok(fetch_new(&f, w.shop.conf, &fake.base, w.model, probe, w.shop.feat, &e), &e);
    return f;
}

/* The publisher mends what it finds damaged: it ends before anything is damaged, and begins again. */
static void end_publisher(void)
{
    publish_close(w.publish);
    w.publish = NULL;
}

static void begin_publisher(void)
{
    struct err e = {0};
    assert_ok(publish_open(&w.publish, w.shop.conf, clock_system(), 0, &e), &e);
}

static int fresh(void **state)
{
    (void)state;
    char answer[4096];
    end_publisher();
    (void)redis_server_ask(&w.redis, answer, "FLUSHALL");
    begin_publisher();
    serving_world_shake(&w, 1);
    return 0;
}

static struct str get(const char *key)
{
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(redis, &e, &p, REDIS_ARGS(STR("GET"), str_from(key))), &e);
    assert_int_equal(p->kind, REDIS_TEXT);
    return p->text;
}

static void set(const char *key, const void *bytes, size_t n)
{
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(redis, &e, &p, REDIS_ARGS(STR("SET"), str_from(key), ((struct str){bytes, n}))), &e);
}

static void expect_version(struct fetch *f, uint64_t version)
{
    struct slot_version *v = NULL;
    struct err e = {0};
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->manifest.version, version);
    assert_int_equal(v->params->n, w.params->n);
    assert_memory_equal(v->params->w, w.params->w, w.params->n * sizeof(float));
    slot_version_free(v);
}

/* Chunks in memory are not asked for again: here they are gone from Redis. */
static void test_unchanged_chunks_are_not_fetched_again(void **state)
{
    (void)state;
    struct fetch *f = new_fetch();
    char answer[4096], command[KEY_MAX + 8];
    struct publish_manifest m = {0};
    struct err e = {0};
    serving_world_version(&w, 1);
    expect_version(f, 1);
    w.params->w[0] += 1; /* near the head of the file */
    assert_ok(param_sha256(w.params, &e), &e);
    serving_world_version(&w, 2);
    assert_ok(publish_manifest_decode(&m, get("fr:{default}:manifest:2"), "default", &e), &e);
    assert_true(m.n_chunks >= 4);
    size_t older = 0;
    for (uint32_t i = 0; i < m.n_chunks; i++) {
        if (m.chunks[i].version != 1) continue;
        char key[KEY_MAX];
        (void)key_chunk(key, "default", 1, i);
        (void)snprintf(command, sizeof command, "DEL %s", key);
        assert_string_equal(redis_server_ask(&w.redis, answer, command), "1");
        older++;
    }
    assert_true(older >= 2);
    expect_version(f, 2);
    publish_manifest_fini(&m);
    fetch_free(f);
}

static float *touch(size_t row)
{
    publish_touch(w.publish, row / PUBLISH_PAGE);
    return w.params->w + model_table(w.model)->group_first[PARAM_SPARSE] + row;
}

static void hand(uint64_t version)
{
    struct err e = {0};
    param_touch(w.params);
    assert_ok(param_sha256(w.params, &e), &e);
    serving_world_hand(&w, version, false);
}

static uint64_t expect_fetched(struct fetch *f, uint64_t version)
{
    struct slot_version *v = NULL;
    struct err e = {0};
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->manifest.version, version);
    assert_memory_equal(v->params->w, w.params->w, w.params->n * sizeof(float));
    const uint64_t bytes = v->fetched_bytes;
    slot_version_free(v);
    return bytes;
}

/* Redis gets and a scorer fetches the dense piece, if it changed, and the touched rows: never the table. */
static void test_touched_rows_cost_what_they_are(void **state)
{
    (void)state;
    struct fetch *f = new_fetch(), *late = new_fetch();
    char answer[4096];
    uint64_t version = 1;
    serving_world_version(&w, version);
    assert_true(expect_fetched(f, version) > (uint64_t)4 << 20);
    for (size_t i = 0; i < 40; i++) { /* the same rows, others, first, last, one that comes back to what it was */
        *touch(i % 7) += 1;
        *touch((i * 104729) % ((size_t)1 << 20)) = (float)i;
        *touch(((size_t)1 << 20) - 1) = i % 2 == 0 ? 1 : 2;
        hand(++version);
        assert_true(expect_fetched(f, version) <= 8 * 3 * (i + 1));
    }
    w.params->w[0] += 1;
    hand(++version);
    const size_t dense = 49856; /* all that lies before the rows */
    assert_int_equal(expect_fetched(f, version), dense);
    assert_string_equal(redis_server_ask(&w.redis, answer,
                                         "EVAL return(redis.call('xrevrange',KEYS[1],'+','-','count',1)[1][2][18]) 1 "
                                         "fr:{default}:log"),
                        "49856");
    expect_version(late, version); /* base and runs together are the same */
    (void)redis_server_ask(&w.redis, answer, "FLUSHALL");
    *touch(5) = 7;
    hand(++version);
    fetch_free(late);
    late = new_fetch();
    expect_version(late, version); /* all is there again */
    expect_version(f, version);
    fetch_free(late);
    fetch_free(f);
}

/* Rows that a version does not name any more are not taken for its own. */
static void test_older_version_and_another_line_are_read_anew(void **state)
{
    (void)state;
    struct fetch *f = new_fetch();
    serving_world_version(&w, 1);
    const float first = *touch(3);
    *touch(3) = 9;
    hand(2);
    expect_version(f, 2);
    end_publisher();
    set("fr:{default}:current", "1", 1);
    *touch(3) = first;
    expect_version(f, 1);
    begin_publisher(); /* which knows nothing of base and runs in Redis */
    *touch(4) = 5;
    hand(3);
    expect_version(f, 3);
    *touch(4) = 6;
    hand(4);
    assert_int_equal(expect_fetched(f, 4), 8);
    fetch_free(f);
}

static void test_version_that_waits_takes_the_rows_of_the_one_it_replaces(void **state)
{
    (void)state;
    struct fetch *f = new_fetch();
    struct err e = {0};
    serving_world_version(&w, 1);
    redis_server_kill(&w.redis);
    for (uint64_t version = 2; version < 6; version++) {
        struct buf dense = serving_world_dense(&w, false);
        const struct publish_hashed hashed = serving_world_hashed(&w);
        struct publish_version v = {.version = version, .reason = "test"};
        *touch(1000 * (size_t)version) = (float)version;
        param_touch(w.params);
        assert_ok(param_sha256(w.params, &e), &e);
        memcpy(v.sha256, w.params->sha256, sizeof v.sha256);
        (void)snprintf(v.base, sizeof v.base, "%016llx", (unsigned long long)model_fingerprint(w.model));
        assert_ok(publish_weights(w.publish, &v, &dense, &hashed, &e), &e);
    }
    redis_server_start(&w.redis);
    redis_drop(redis);
    assert_ok(publish_flush(w.publish, 20000, &e), &e);
    expect_version(f, 5);
    fetch_free(f);
}

/* What scorers get is rounded and says so; the version's SHA-256 is the learner's all the same. */
static void test_rounded_version_is_verified_and_near(void **state)
{
    (void)state;
    struct fetch *f = new_fetch();
    struct slot_version *v = NULL;
    struct err e = {0};
    const size_t n = model_table(w.model)->group_first[PARAM_ADAGRAD];
    float want[10], got[10];
    serving_world_score(&w, "u1", "i0,i1,i2,i3,i4,i5,i6,i7,i8,i9", want);
    serving_world_version(&w, 1);
    serving_world_hand(&w, 2, true);
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_string_equal(v->manifest.sha256, w.params->sha256);
    assert_true(v->manifest.rounded);
    assert_string_equal(v->params->sha256, ""); /* what is served is not what it names */
    size_t others = 0;
    for (size_t i = 0; i < w.params->n; i++) {
        const float a = w.params->w[i], b = v->params->w[i];
        assert_true(fabsf(a - b) <= fabsf(a) / 256 && (i < n || a == b));
        others += a != b;
    }
    assert_true(others > n / 2);
    assert_ok(model_bind(w.run, v->params, &e), &e);
    serving_world_score(&w, "u1", "i0,i1,i2,i3,i4,i5,i6,i7,i8,i9", got);
    for (size_t i = 0; i < 10; i++) assert_true(fabsf(got[i] - want[i]) <= 0.02f);
    assert_ok(model_bind(w.run, w.params, &e), &e);
    slot_version_free(v);
    v = NULL;
    *touch(8) += 1;
    param_touch(w.params);
    assert_ok(param_sha256(w.params, &e), &e);
    serving_world_hand(&w, 3, true);
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->fetched_bytes, 8);
    slot_version_free(v);
    fetch_free(f);
}

static int start(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const options[] = {"model.hashed_bits=20", NULL}; /* several chunks */
    serving_world_open(&w, options);
    clock_fake_init(&fake, SERVING_WORLD_NOW_MS);
    assert_ok(model_run_new(&probe, w.model, w.states, false, &e), &e);
    assert_ok(redis_open(&redis, w.shop.conf, clock_system(), &e), &e);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_close(redis);
    model_run_free(probe);
    serving_world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unchanged_chunks_are_not_fetched_again, fresh),
        cmocka_unit_test_setup(test_touched_rows_cost_what_they_are, fresh),
        cmocka_unit_test_setup(test_older_version_and_another_line_are_read_anew, fresh),
        cmocka_unit_test_setup(test_version_that_waits_takes_the_rows_of_the_one_it_replaces, fresh),
        cmocka_unit_test_setup(test_rounded_version_is_verified_and_near, fresh),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
