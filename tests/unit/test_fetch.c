/* test_fetch.c - a version out of Redis is taken whole or not at all: damage of every kind is refused, and mends itself.
 *
 * labels: quick redis
 * timeout: 120
 */
#include "base/hash.h"
#include "schemas/key.h"
#include "schemas/weights.h"
#include "tests/support/check.h"
#include "tests/support/fetching.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The refusal, with a word of its sentence; time passes so that the next look is not put off. */
static void expect_refusal(struct fetch *f, enum status st, const char *word)
{
    struct slot_version *v = (void *)1;
    struct err e = {0};
    const enum status got = fetch_next(f, &v, &e);
    if (got != st) fail_msg("%s instead of %s: %s", status_name(got), status_name(st), e.text);
    assert_null(v);
    if (strstr(e.text, word) == NULL) fail_msg("'%s' is not in: %s", word, e.text);
    clock_fake_advance(&fetching.fake, FETCH_RETRY_MOST_MS + 1);
}

static void test_newest_version_is_given_once(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    expect_refusal(f, STATUS_NOT_FOUND, "no version");
    serving_world_version(&fetching.w, 1);
    fetching_expect(f, 1);
    expect_refusal(f, STATUS_AGAIN, "seen");
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 2);
    fetching_expect(f, 2);
    fetch_free(f);
}

static void test_damaged_chunk_is_refused_and_the_mended_one_taken(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    struct err e = {0};
    struct publish_manifest m = {0};
    static unsigned char bytes[PUBLISH_CHUNK_BYTES + 1];
    serving_world_version(&fetching.w, 1);
    fetching_end_publisher();
    assert_ok(publish_manifest_decode(&m, fetching_get(fetching.redis, "fr:{default}:manifest:1"), "default", &e), &e);
    for (uint32_t i = 0; i < m.n_chunks; i++) {
        char key[KEY_MAX];
        (void)key_chunk(key, "default", m.chunks[i].version, i);
        const struct str good = fetching_get(fetching.redis, key);
        const size_t n = good.n, flips[] = {0, 1, n / 2, n - 2, n - 1};
        memcpy(bytes, good.p, n);
        for (size_t k = 0; k < sizeof flips / sizeof *flips; k++) {
            bytes[flips[k]] ^= (unsigned char)(1u << k);
            fetching_set(fetching.redis, key, bytes, n);
            expect_refusal(f, STATUS_CORRUPT, "SHA-256");
            bytes[flips[k]] ^= (unsigned char)(1u << k);
        }
        fetching_set(fetching.redis, key, bytes, n - 1);
        expect_refusal(f, STATUS_CORRUPT, "bytes, expected");
        bytes[n] = 0;
        fetching_set(fetching.redis, key, bytes, n + 1);
        expect_refusal(f, STATUS_CORRUPT, "bytes, expected");
        fetching_set(fetching.redis, key, bytes, 0);
        expect_refusal(f, STATUS_CORRUPT, "bytes, expected");
        fetching_set(fetching.redis, key, bytes, n);
    }
    fetching_expect(f, 1);
    publish_manifest_fini(&m);
    fetch_free(f);
}

static void test_damaged_manifest_is_refused(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    char text[8192];
    serving_world_version(&fetching.w, 1);
    fetching_end_publisher();
    const struct str good = fetching_get(fetching.redis, "fr:{default}:manifest:1");
    const size_t n = good.n;
    assert_true(n < sizeof text);
    memcpy(text, good.p, n);
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(text[i] ^ 1 << i % 8);
        fetching_set(fetching.redis, "fr:{default}:manifest:1", text, n);
        expect_refusal(f, STATUS_CORRUPT, "manifest");
        text[i] = (char)(text[i] ^ 1 << i % 8);
    }
    fetching_set(fetching.redis, "fr:{default}:manifest:1", text, n / 2);
    expect_refusal(f, STATUS_CORRUPT, "manifest");
    fetching_set(fetching.redis, "fr:{default}:manifest:1", text, n);
    fetching_set(fetching.redis, "fr:{default}:current", "one", 3);
    expect_refusal(f, STATUS_CORRUPT, "no version");
    fetching_set(fetching.redis, "fr:{default}:current", "7", 1);
    expect_refusal(f, STATUS_CORRUPT, "missing");
    fetching_set(fetching.redis, "fr:{default}:manifest:7", text, n); /* says 1 */
    expect_refusal(f, STATUS_CORRUPT, "says 1");
    fetching_set(fetching.redis, "fr:{default}:current", "1", 1);
    fetching_expect(f, 1);
    fetch_free(f);
}

/* Chunks and manifest that fit each other, but not what they claim. */
static void publish_bytes(struct buf *file, const char *sha256, uint64_t version, const char *base)
{
    struct err e = {0};
    struct publish_version v = {.version = version, .reason = "test"};
    (void)snprintf(v.sha256, sizeof v.sha256, "%s", sha256);
    (void)snprintf(v.base, sizeof v.base, "%s", base);
    assert_ok(publish_weights(fetching.w.publish, &v, file, NULL, &e), &e);
    assert_ok(publish_flush(fetching.w.publish, 20000, &e), &e);
}

static const char *our_base(void)
{
    static char base[32];
    (void)snprintf(base, sizeof base, "%016llx", (unsigned long long)model_fingerprint(fetching.w.model));
    return base;
}

static void test_file_that_is_not_what_it_claims_is_refused(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    char other[HASH_SHA256_HEX];
    memset(other, 'a', 64);
    other[64] = '\0';
    struct buf file = serving_world_file(&fetching.w, 1);
    publish_bytes(&file, other, 1, our_base());
    expect_refusal(f, STATUS_CORRUPT, "weight file");
    file = serving_world_file(&fetching.w, 3);
    publish_bytes(&file, fetching.w.params->sha256, 2, our_base());
    expect_refusal(f, STATUS_CORRUPT, "weight file");
    file = serving_world_file(&fetching.w, 3);
    publish_bytes(&file, fetching.w.params->sha256, 3, "0123456789abcdef");
    expect_refusal(f, STATUS_INVALID, "the learner's model.*, train.* and kernels.precision"); /* all that is in it */
    char answer[4096]; /* the log says which version was refused, with its hash */
    assert_string_equal(redis_server_ask(&fetching.w.redis, answer,
                                         "EVAL return(redis.call('xrevrange',KEYS[1],'+','-','count',1)[1][2][6]) 1 "
                                         "fr:{default}:log"),
                        fetching.w.params->sha256);
    file = serving_world_file(&fetching.w, 4);
    file.p[file.n - 1] ^= 1; /* the file's own check */
    publish_bytes(&file, fetching.w.params->sha256, 4, our_base());
    expect_refusal(f, STATUS_CORRUPT, "");
    assert_true(atoi(redis_server_ask(&fetching.w.redis, answer, "XLEN fr:{default}:log")) ==
                8); /* four published, four refused */
    fetch_free(f);
}

static void test_numbers_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    struct err e = {0};
    fetching.w.params->w[5] = NAN;
    assert_ok(param_sha256(fetching.w.params, &e), &e);
    struct buf file = serving_world_file(&fetching.w, 1);
    publish_bytes(&file, fetching.w.params->sha256, 1, our_base());
    expect_refusal(f, STATUS_INVALID, "not finite");
    serving_world_shake(&fetching.w, 1);
    for (size_t i = 0; i < model_table(fetching.w.model)->n; i++) { /* finite, but the probe's sum is not */
        const struct param *p = &model_table(fetching.w.model)->params[i];
        for (size_t k = 0; strncmp(p->name, "hashed", 6) == 0 && k < p->n; k++)
            fetching.w.params->w[p->offset + k] = 3e38f;
    }
    param_touch(fetching.w.params);
    assert_ok(param_sha256(fetching.w.params, &e), &e);
    file = serving_world_file(&fetching.w, 2);
    publish_bytes(&file, fetching.w.params->sha256, 2, our_base());
    expect_refusal(f, STATUS_CORRUPT, "probe");
    serving_world_shake(&fetching.w, 1);
    serving_world_version(&fetching.w, 3);
    fetching_expect(f, 3);
    fetch_free(f);
}

static void test_redis_away_is_io_and_then_goes_on(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    serving_world_version(&fetching.w, 1);
    fetching_expect(f, 1);
    redis_server_kill(&fetching.w.redis);
    expect_refusal(f, STATUS_IO, fetching.w.redis.url);
    redis_server_start(&fetching.w.redis);
    redis_drop(fetching.redis);
    clock_fake_advance(&fetching.fake, 5000);
    struct err e = {0};
    serving_world_features(&fetching.w); /* the publisher notices the loss, and puts the version back */
    assert_ok(publish_flush(fetching.w.publish, 20000, &e), &e);
    expect_refusal(f, STATUS_AGAIN, "");
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 2);
    fetching_expect(f, 2);
    fetch_free(f);
}

/* --- when it is tried again --------------------------------------------------------------------------------------- */

static void drop_chunk(uint64_t version, uint32_t i)
{
    char key[KEY_MAX], command[KEY_MAX + 8], answer[4096];
    (void)key_chunk(key, "default", version, i);
    (void)snprintf(command, sizeof command, "DEL %s", key);
    assert_string_equal(redis_server_ask(&fetching.w.redis, answer, command), "1");
}

static struct fetch_report report_of(const struct fetch *f)
{
    struct fetch_report r;
    fetch_report(f, &r);
    return r;
}

static enum status try_next(struct fetch *f)
{
    struct slot_version *v = NULL;
    const enum status st = fetch_next(f, &v, NULL);
    slot_version_free(v);
    return st;
}

static void test_refused_version_is_tried_again_after_a_growing_time(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    int64_t most_ms = 250;
    serving_world_version(&fetching.w, 1);
    fetching_end_publisher();
    drop_chunk(1, 1);
    for (uint64_t n = 1; n < 12; n++) {
        assert_int_equal(try_next(f), STATUS_CORRUPT);
        const struct fetch_report r = report_of(f);
        assert_int_equal(r.status, STATUS_CORRUPT);
        assert_int_equal(r.reason, METRIC_FETCH_CHUNK);
        assert_int_equal(r.version, 1);
        assert_int_equal(r.failures, n);
        assert_int_equal(r.total, n);
        assert_non_null(strstr(r.text, "chunk 1 has 0 bytes"));
        assert_true(r.retry_ms >= most_ms / 2 && r.retry_ms <= most_ms); /* half of it is random */
        clock_fake_advance(&fetching.fake, r.retry_ms - 1);
        assert_int_equal(try_next(f), STATUS_AGAIN); /* not yet, and that is no failure */
        assert_int_equal(report_of(f).failures, n);
        clock_fake_advance(&fetching.fake, 1);
        most_ms = 2 * most_ms < FETCH_RETRY_MOST_MS ? 2 * most_ms : FETCH_RETRY_MOST_MS;
    }
    char answer[4096];
    assert_string_equal(redis_server_ask(&fetching.w.redis, answer, "XLEN fr:{default}:log"),
                        "2"); /* published; refused once */
    fetch_free(f);
}

static void test_another_version_is_taken_at_once_while_one_is_refused(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    serving_world_version(&fetching.w, 1);
    fetching_expect(f, 1);
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 2);
    fetching_end_publisher();
    drop_chunk(2, 0);
    assert_int_equal(try_next(f), STATUS_CORRUPT);
    fetching_begin_publisher();
    serving_world_shake(&fetching.w, 3);
    serving_world_version(&fetching.w, 3);
    fetching_end_publisher();
    fetching_expect(f, 3);
    assert_int_equal(report_of(f).status, STATUS_OK);
    assert_int_equal(report_of(f).failures, 0);
    fetching_set(fetching.redis, "fr:{default}:current", "2",
                 1); /* refused again, then the one that is served: nothing is wrong any more */
    assert_int_equal(try_next(f), STATUS_CORRUPT);
    fetching_set(fetching.redis, "fr:{default}:current", "3", 1);
    assert_int_equal(try_next(f), STATUS_AGAIN);
    assert_int_equal(report_of(f).status, STATUS_OK);
    fetch_free(f);
}

static void test_rollback_to_an_older_version_is_taken(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    struct slot_version *v = NULL;
    struct err e = {0};
    char first[HASH_SHA256_HEX];
    memcpy(first, fetching.w.params->sha256, sizeof first);
    serving_world_version(&fetching.w, 1);
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 2);
    fetching_expect(f, 2);
    fetching_end_publisher();
    fetching_set(fetching.redis, "fr:{default}:current", "1", 1);
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->manifest.version, 1);
    assert_string_equal(v->manifest.sha256, first);
    slot_version_free(v);
    fetch_free(f);
}

/* A clock that acts at the moment between a manifest and its chunks. */
static struct clock acting;
static int calls_until_act;
static int64_t act_mono(struct clock *c)
{
    (void)c;
    if (calls_until_act > 0 && --calls_until_act == 0) {
        drop_chunk(2, 0);
        fetching_set(fetching.redis, "fr:{default}:current", "3", 1);
    }
    return fetching.fake.mono_us_now;
}
static int64_t act_wall(struct clock *c)
{
    (void)c;
    return fetching.fake.wall_ms_now;
}

static void test_version_that_vanishes_while_it_is_read_is_no_failure(void **state)
{
    (void)state;
    struct fetch *f = NULL;
    struct err e = {0};
    acting = (struct clock){.wall_ms = act_wall, .mono_us = act_mono};
    bool seen = false;
    serving_world_version(&fetching.w, 1);
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 2);
    serving_world_shake(&fetching.w, 3);
    serving_world_version(&fetching.w, 3);
    fetching_end_publisher();
    const struct str chunk = fetching_get(fetching.redis, "fr:{default}:chunk:2:0");
    void *copy = malloc(chunk.n);
    assert_non_null(copy);
    const size_t n = chunk.n;
    memcpy(copy, chunk.p, n);
    for (int at = 1; at < 12; at++) { /* whichever call of the clock lies in between */
        fetching_set(fetching.redis, "fr:{default}:chunk:2:0", copy, n);
        fetching_set(fetching.redis, "fr:{default}:current", "2", 1);
        assert_ok(
            fetch_new(&f, fetching.w.shop.conf, &acting, fetching.w.model, fetching.probe, fetching.w.shop.feat, &e),
            &e);
        calls_until_act = at;
        struct slot_version *v = NULL;
        assert_ok(fetch_next(f, &v, &e), &e);
        if (calls_until_act == 0 && report_of(f).superseded > 0) {
            assert_int_equal(v->manifest.version, 3);
            assert_int_equal(report_of(f).total, 0);
            seen = true;
        }
        slot_version_free(v);
        fetch_free(f);
    }
    calls_until_act = 0;
    free(copy);
    assert_true(seen);
}

/* --- what else may stand in Redis --------------------------------------------------------------------------------- */

static void test_keys_of_other_kinds_and_sizes_are_refused(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    char answer[4096];
    static char long_text[4000];
    struct buf file = serving_world_file(&fetching.w, 1);
    publish_bytes(&file, fetching.w.params->sha256, 1, our_base());
    fetching_end_publisher();
    (void)redis_server_ask(&fetching.w.redis, answer, "RENAME fr:{default}:manifest:1 kept");
    (void)redis_server_ask(&fetching.w.redis, answer, "LPUSH fr:{default}:manifest:1 x");
    expect_refusal(f, STATUS_INVALID, "WRONGTYPE");
    (void)redis_server_ask(&fetching.w.redis, answer, "DEL fr:{default}:manifest:1");
    (void)redis_server_ask(&fetching.w.redis, answer, "SETRANGE fr:{default}:manifest:1 100000000 x");
    expect_refusal(f, STATUS_CORRUPT, "too long");
    (void)redis_server_ask(&fetching.w.redis, answer, "RENAME kept fr:{default}:manifest:1");
    memset(long_text, '1', sizeof long_text);
    fetching_set(fetching.redis, "fr:{default}:current", long_text, sizeof long_text);
    expect_refusal(f, STATUS_CORRUPT, "no version");
    fetching_set(fetching.redis, "fr:{default}:current", "99999999999999999999", 20);
    expect_refusal(f, STATUS_CORRUPT, "");
    fetching_set(fetching.redis, "fr:{default}:current", "1", 1);
    fetching_expect(f, 1);
    fetch_free(f);
}

/* Whole and sound files, but chunks of one version under another's name, and in another order. */
static void test_chunks_of_another_version_or_place_are_refused(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    char answer[4096];
    serving_world_version(&fetching.w, 1);
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 2);
    fetching_end_publisher();
    (void)redis_server_ask(&fetching.w.redis, answer, "COPY fr:{default}:chunk:2:1 kept");
    (void)redis_server_ask(&fetching.w.redis, answer, "COPY fr:{default}:chunk:1:1 fr:{default}:chunk:2:1 REPLACE");
    expect_refusal(f, STATUS_CORRUPT, "SHA-256");
    (void)redis_server_ask(&fetching.w.redis, answer, "COPY fr:{default}:chunk:2:2 fr:{default}:chunk:2:1 REPLACE");
    expect_refusal(f, STATUS_CORRUPT, "SHA-256");
    (void)redis_server_ask(&fetching.w.redis, answer, "COPY kept fr:{default}:chunk:2:1 REPLACE");
    fetching_expect(f, 2);
    fetch_free(f);
}

static void test_file_of_another_base_is_refused_and_not_read_over_and_over(void **state)
{
    (void)state;
    struct fetch *f = fetching_new();
    struct weights_view view;
    struct arena a = {0};
    struct buf good = serving_world_file(&fetching.w, 1), file = {0};
    struct err e = {0};
    assert_ok(weights_decode(&view, good.p, good.n, true, &a, &e), &e);
    view.base_fingerprint ^= 1;
    assert_ok(weights_encode(&file, &view, &e), &e);
    publish_bytes(&file, fetching.w.params->sha256, 1, our_base());
    assert_int_equal(try_next(f), STATUS_CONFLICT);
    assert_int_equal(report_of(f).reason, METRIC_FETCH_PARAMETERS);
    assert_int_equal(try_next(f), STATUS_AGAIN);
    buf_fini(&good);
    arena_fini(&a);
    fetch_free(f);
}

static void test_two_models_in_one_redis_do_not_meet(void **state)
{
    (void)state;
    struct fetch *f = fetching_new(), *other = NULL;
    struct err e = {0};
    serving_world_version(&fetching.w, 7);
    assert_ok(conf_set(fetching.w.shop.conf, "model.name", "other", &e), &e);
    assert_ok(fetch_new(&other, fetching.w.shop.conf, &fetching.fake.base, fetching.w.model, fetching.probe,
                        fetching.w.shop.feat, &e),
              &e);
    expect_refusal(other, STATUS_NOT_FOUND, "model other");
    struct publish *ours = fetching.w.publish;
    fetching.w.publish = NULL;
    fetching_begin_publisher();
    fetching_expect(f, 7);
    serving_world_shake(&fetching.w, 2);
    serving_world_version(&fetching.w, 3);
    fetching_expect(other, 3);
    assert_int_equal(try_next(f), STATUS_AGAIN);
    publish_close(fetching.w.publish);
    fetching.w.publish = ours;
    assert_ok(conf_set(fetching.w.shop.conf, "model.name", "default", &e), &e);
    fetch_free(other);
    fetch_free(f);
}

static enum status make(void)
{
    struct fetch *f = NULL;
    struct slot_version *v = NULL;
    struct err e = {0};
    enum status st = fetch_new(&f, fetching.w.shop.conf, &fetching.fake.base, fetching.w.model, fetching.probe,
                               fetching.w.shop.feat, &e);
    if (st != STATUS_OK)
        assert_null(f);
    else
        st = fetch_next(f, &v, &e);
    slot_version_free(v);
    fetch_free(f);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    serving_world_version(&fetching.w, 1);
    fetching_end_publisher();            /* its thread allocates too */
    assert_int_equal(make(), STATUS_OK); /* scratch of feat and probe has grown */
    FAIL_EACH_ALLOCATION(n, make());
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_newest_version_is_given_once, fetching_fresh),
        cmocka_unit_test_setup(test_damaged_chunk_is_refused_and_the_mended_one_taken, fetching_fresh),
        cmocka_unit_test_setup(test_damaged_manifest_is_refused, fetching_fresh),
        cmocka_unit_test_setup(test_file_that_is_not_what_it_claims_is_refused, fetching_fresh),
        cmocka_unit_test_setup(test_numbers_that_are_not_finite_are_refused, fetching_fresh),
        cmocka_unit_test_setup(test_redis_away_is_io_and_then_goes_on, fetching_fresh),
        cmocka_unit_test_setup(test_refused_version_is_tried_again_after_a_growing_time, fetching_fresh),
        cmocka_unit_test_setup(test_another_version_is_taken_at_once_while_one_is_refused, fetching_fresh),
        cmocka_unit_test_setup(test_rollback_to_an_older_version_is_taken, fetching_fresh),
        cmocka_unit_test_setup(test_version_that_vanishes_while_it_is_read_is_no_failure, fetching_fresh),
        cmocka_unit_test_setup(test_keys_of_other_kinds_and_sizes_are_refused, fetching_fresh),
        cmocka_unit_test_setup(test_chunks_of_another_version_or_place_are_refused, fetching_fresh),
        cmocka_unit_test_setup(test_file_of_another_base_is_refused_and_not_read_over_and_over, fetching_fresh),
        cmocka_unit_test_setup(test_two_models_in_one_redis_do_not_meet, fetching_fresh),
        cmocka_unit_test_setup(test_survives_each_failing_allocation, fetching_fresh),
    };
    return cmocka_run_group_tests(tests, fetching_start, fetching_stop);
}
