/* test_fetch_damage.c - every single bit of a published version turned round in Redis, every length it may be cut to: each is
 * noticed, and none is served.
 *
 * labels: redis fault
 * timeout: 120
 */
#include "schemas/key.h"
#include "serving/fetch.h"
#include "tests/support/check.h"
#include "tests/support/serving_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct serving_world w;
static struct clock_fake fake;
static struct model_run *probe;
static struct redis *redis;
static struct fetch *f;

static void set(const char *key, const void *bytes, size_t n)
{
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(redis, &e, &p, REDIS_ARGS(STR("SET"), str_from(key), ((struct str){bytes, n}))), &e);
}

static unsigned char *get(const char *key, size_t *n)
{
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(redis, &e, &p, REDIS_ARGS(STR("GET"), str_from(key))), &e);
    assert_int_equal(p->kind, REDIS_TEXT);
    unsigned char *copy = malloc(p->text.n + 1);
    assert_non_null(copy);
    memcpy(copy, p->text.p, p->text.n);
    *n = p->text.n;
    return copy;
}

/* One try, after any back-off. */
static enum status try_next(void)
{
    struct slot_version *v = NULL;
    clock_fake_advance(&fake, FETCH_RETRY_MOST_MS + 1);
    const enum status st = fetch_next(f, &v, NULL);
    slot_version_free(v);
    return st;
}

/* Returns how many damages there were; all of them were noticed. */
static size_t damage(const char *key)
{
    size_t n, done = 0;
    unsigned char *p = get(key, &n);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++, done++) {
            p[i] ^= (unsigned char)(1u << bit);
            set(key, p, n);
            p[i] ^= (unsigned char)(1u << bit);
            const enum status st = try_next();
            if (st != STATUS_CORRUPT) fail_msg("%s: byte %zu, bit %d: %s", key, i, bit, status_name(st));
        }
    for (size_t i = 0; i < n; i++, done++) {
        set(key, p, i);
        const enum status st = try_next();
        if (st != STATUS_CORRUPT) fail_msg("%s cut to %zu bytes: %s", key, i, status_name(st));
    }
    set(key, p, n);
    free(p);
    return done;
}

static void test_every_bit_and_every_length_is_noticed(void **state)
{
    (void)state;
    size_t n = 0, n_chunks;
    char key[KEY_MAX];
    struct err e = {0};
    struct publish_manifest m = {0};
    serving_world_version(&w, 1);
    struct publish_hashed rows = serving_world_hashed(&w);
    for (size_t i = 0; i < 3; i++) { /* a version of base, touched rows and a dense piece that stayed */
        w.params->w[w.params->n - rows.n + 70 * i] += 1;
        publish_touch(w.publish, 70 * i / PUBLISH_PAGE);
    }
    param_touch(w.params);
    assert_ok(param_sha256(w.params, &e), &e);
    serving_world_hand(&w, 2, false);
    publish_close(w.publish); /* it would mend what is damaged */
    w.publish = NULL;
    n += damage("fr:{default}:manifest:2");
    size_t bytes;
    unsigned char *text = get("fr:{default}:manifest:2", &bytes);
    assert_ok(publish_manifest_decode(&m, (struct str){(char *)text, bytes}, "default", &e), &e);
    n_chunks = m.n_chunks;
    for (uint32_t i = 0; i < m.n_chunks; i++) {
        (void)key_chunk(key, "default", m.chunks[i].version, i);
        n += damage(key);
    }
    publish_manifest_fini(&m);
    free(text);
    assert_int_equal(try_next(), STATUS_OK); /* as it was, it is taken */
    (void)printf("fetch_damage: %zu damages to a manifest and %zu chunks: all noticed, none served\n", n, n_chunks);
    assert_int_equal(n_chunks, 3);
    assert_true(n > 20000);
}

static int start(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const options[] = {"model.parts=numeric,hashed", "model.hashed_bits=8", NULL}; /* a small file */
    serving_world_open(&w, options);
    clock_fake_init(&fake, SERVING_WORLD_NOW_MS);
    assert_ok(model_run_new(&probe, w.model, w.states, false, &e), &e);
    assert_ok(redis_open(&redis, w.shop.conf, clock_system(), &e), &e);
    assert_ok(fetch_new(&f, w.shop.conf, &fake.base, w.model, probe, w.shop.feat, &e), &e);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fetch_free(f);
    redis_close(redis);
    model_run_free(probe);
    serving_world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_bit_and_every_length_is_noticed)};
    return cmocka_run_group_tests(tests, start, stop);
}
