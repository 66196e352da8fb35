/* test_fetch_weights.c - a new version is fetched by what changed in it, and is the learner's to the bit all the same.
 *
 * labels: quick redis
 * timeout: 120
 */
#include "schemas/key.h"
#include "tests/support/check.h"
#include "tests/support/fetching.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Chunks in memory are not asked for again: here they are gone from Redis. */
static void test_unchanged_chunks_are_not_fetched_again(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    char answer[4096], command[KEY_MAX + 8];
    struct publish_manifest m = {0};
    struct err e = {0};
    serving_world_version(&fetching.w, 1);
    fetching_expect(f, 1);
    fetching.w.params->w[0] += 1; /* near the head of the file */
    assert_ok(param_sha256(fetching.w.params, &e), &e);
    serving_world_version(&fetching.w, 2);
    assert_ok(publish_manifest_decode(&m, fetching_get(fetching.redis, "fr:{default}:manifest:2"), "default", &e), &e);
    assert_true(m.n_chunks >= 4);
    size_t older = 0;
    for (uint32_t i = 0; i < m.n_chunks; i++) {
        if (m.chunks[i].version != 1) continue;
        char key[KEY_MAX];
        (void)key_chunk(key, "default", 1, i);
        (void)snprintf(command, sizeof command, "DEL %s", key);
        assert_string_equal(redis_server_ask(&fetching.w.redis, answer, command), "1");
        older++;
    }
    assert_true(older >= 2);
    fetching_expect(f, 2);
    publish_manifest_fini(&m);
    fetch_free(f);
}

static float *touch(size_t row)
{
    publish_touch(fetching.w.publish, row / PUBLISH_PAGE);
    return fetching.w.params->w + model_table(fetching.w.model)->group_first[PARAM_SPARSE] + row;
}

static void hand(uint64_t version)
{
    struct err e = {0};
    param_touch(fetching.w.params);
    assert_ok(param_sha256(fetching.w.params, &e), &e);
    serving_world_hand(&fetching.w, version, false);
}

static uint64_t expect_fetched(struct fetch *f, uint64_t version)
{
    struct slot_version *v = NULL;
    struct err e = {0};
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->manifest.version, version);
    assert_memory_equal(v->params->w, fetching.w.params->w, fetching.w.params->n * sizeof(float));
    const uint64_t bytes = v->fetched_bytes;
    slot_version_free(v);
    return bytes;
}

/* Redis gets and a scorer fetches the dense piece, if it changed, and the touched rows: never the table. */
static void test_touched_rows_cost_what_they_are(void **state)
{
    (void)state;
    struct fetch *f = fetching_new(), *late = fetching_new();
    char answer[4096], text[32];
    uint64_t version = 1;
    serving_world_version(&fetching.w, version);
    assert_true(expect_fetched(f, version) > (uint64_t)4 << 20);
    for (size_t i = 0; i < 40; i++) { /* the same rows, others, first, last, one that comes back to what it was */
        *touch(i % 7) += 1;
        *touch((i * 104729) % ((size_t)1 << 20)) = (float)i;
        *touch(((size_t)1 << 20) - 1) = i % 2 == 0 ? 1 : 2;
        hand(++version);
        assert_true(expect_fetched(f, version) <= 8 * 3 * (i + 1));
    }
    fetching.w.params->w[0] += 1;
    hand(++version);
    struct buf before = serving_world_dense(&fetching.w, false); /* all that lies before the rows */
    const size_t dense = before.n;
    buf_fini(&before);
    (void)snprintf(text, sizeof text, "%zu", dense);
    assert_int_equal(expect_fetched(f, version), dense);
    assert_string_equal(redis_server_ask(&fetching.w.redis, answer,
                                         "EVAL return(redis.call('xrevrange',KEYS[1],'+','-','count',1)[1][2][18]) 1 "
                                         "fr:{default}:log"),
                        text);
    fetching_expect(late, version); /* base and runs together are the same */
    (void)redis_server_ask(&fetching.w.redis, answer, "FLUSHALL");
    *touch(5) = 7;
    hand(++version);
    fetch_free(late);
    late = fetching_new();
    fetching_expect(late, version); /* all is there again */
    fetching_expect(f, version);
    fetch_free(late);
    fetch_free(f);
}

/* Rows that a version does not name any more are not taken for its own. */
static void test_older_version_and_another_line_are_read_anew(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    serving_world_version(&fetching.w, 1);
    const float first = *touch(3);
    *touch(3) = 9;
    hand(2);
    fetching_expect(f, 2);
    fetching_end_publisher();
    fetching_set(fetching.redis, "fr:{default}:current", "1", 1);
    *touch(3) = first;
    fetching_expect(f, 1);
    fetching_begin_publisher(); /* which knows nothing of base and runs in Redis */
    *touch(4) = 5;
    hand(3);
    fetching_expect(f, 3);
    *touch(4) = 6;
    hand(4);
    assert_int_equal(expect_fetched(f, 4), 8);
    fetch_free(f);
}

static void test_version_that_waits_takes_the_rows_of_the_one_it_replaces(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    struct err e = {0};
    serving_world_version(&fetching.w, 1);
    redis_server_kill(&fetching.w.redis);
    for (uint64_t version = 2; version < 6; version++) {
        struct buf dense = serving_world_dense(&fetching.w, false);
        const struct publish_hashed hashed = serving_world_hashed(&fetching.w);
        struct publish_version v = {.version = version, .reason = "test"};
        *touch(1000 * (size_t)version) = (float)version;
        param_touch(fetching.w.params);
        assert_ok(param_sha256(fetching.w.params, &e), &e);
        memcpy(v.sha256, fetching.w.params->sha256, sizeof v.sha256);
        (void)snprintf(v.base, sizeof v.base, "%016llx", (unsigned long long)model_fingerprint(fetching.w.model));
        assert_ok(publish_weights(fetching.w.publish, &v, &dense, &hashed, &e), &e);
    }
    redis_server_start(&fetching.w.redis);
    redis_drop(fetching.redis);
    assert_ok(publish_flush(fetching.w.publish, 20000, &e), &e);
    fetching_expect(f, 5);
    fetch_free(f);
}

/* What scorers get is rounded and says so; the version's SHA-256 is the learner's all the same. */
static void test_rounded_version_is_verified_and_near(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    struct slot_version *v = NULL;
    struct err e = {0};
    const size_t n = model_table(fetching.w.model)->group_first[PARAM_ADAGRAD];
    float want[10], got[10];
    serving_world_score(&fetching.w, "u1", "i0,i1,i2,i3,i4,i5,i6,i7,i8,i9", want);
    serving_world_version(&fetching.w, 1);
    serving_world_hand(&fetching.w, 2, true);
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_string_equal(v->manifest.sha256, fetching.w.params->sha256);
    assert_true(v->manifest.rounded);
    assert_string_equal(v->params->sha256, ""); /* what is served is not what it names */
    size_t others = 0;
    for (size_t i = 0; i < fetching.w.params->n; i++) {
        const float a = fetching.w.params->w[i], b = v->params->w[i];
        assert_true(fabsf(a - b) <= fabsf(a) / 256 && (i < n || a == b));
        others += a != b;
    }
    assert_true(others > n / 2);
    assert_ok(model_bind(fetching.w.run, v->params, &e), &e);
    serving_world_score(&fetching.w, "u1", "i0,i1,i2,i3,i4,i5,i6,i7,i8,i9", got);
    for (size_t i = 0; i < 10; i++) assert_true(fabsf(got[i] - want[i]) <= 0.02f);
    assert_ok(model_bind(fetching.w.run, fetching.w.params, &e), &e);
    slot_version_free(v);
    v = NULL;
    *touch(8) += 1;
    param_touch(fetching.w.params);
    assert_ok(param_sha256(fetching.w.params, &e), &e);
    serving_world_hand(&fetching.w, 3, true);
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->fetched_bytes, 8);
    slot_version_free(v);
    fetch_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unchanged_chunks_are_not_fetched_again, fetching_fresh),
        cmocka_unit_test_setup(test_touched_rows_cost_what_they_are, fetching_fresh),
        cmocka_unit_test_setup(test_older_version_and_another_line_are_read_anew, fetching_fresh),
        cmocka_unit_test_setup(test_version_that_waits_takes_the_rows_of_the_one_it_replaces, fetching_fresh),
        cmocka_unit_test_setup(test_rounded_version_is_verified_and_near, fetching_fresh),
    };
    return cmocka_run_group_tests(tests, fetching_start, fetching_stop);
}
