/* fetching.c - see fetching.h */
#include "tests/support/fetching.h"
#include "tests/support/check.h"

struct fetching fetching;

struct fetch *fetching_new(void)
{
    struct fetch *f = NULL;
    struct err e = {0};
    assert_ok(fetch_new(&f, fetching.w.shop.conf, &fetching.fake.base, fetching.w.model, fetching.probe,
                        fetching.w.shop.feat, &e),
              &e);
    return f;
}

void fetching_end_publisher(void)
{
    publish_close(fetching.w.publish);
    fetching.w.publish = NULL;
}

void fetching_begin_publisher(void)
{
    struct err e = {0};
    assert_ok(publish_open(&fetching.w.publish, fetching.w.shop.conf, clock_system(), 0, &e), &e);
}

int fetching_fresh(void **state)
{
    (void)state;
    char answer[4096];
    fetching_end_publisher();
    (void)redis_server_ask(&fetching.w.redis, answer, "FLUSHALL");
    fetching_begin_publisher();
    serving_world_shake(&fetching.w, 1);
    return 0;
}

struct str fetching_get(struct redis *r, const char *key)
{
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("GET"), str_from(key))), &e);
    assert_int_equal(p->kind, REDIS_TEXT);
    return p->text;
}

void fetching_set(struct redis *r, const char *key, const void *bytes, size_t n)
{
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("SET"), str_from(key), ((struct str){bytes, n}))), &e);
}

void fetching_expect(struct fetch *f, uint64_t version)
{
    struct slot_version *v = NULL;
    struct err e = {0};
    assert_ok(fetch_next(f, &v, &e), &e);
    assert_int_equal(v->manifest.version, version);
    assert_int_equal(v->params->n, fetching.w.params->n);
    assert_memory_equal(v->params->w, fetching.w.params->w, fetching.w.params->n * sizeof(float));
    slot_version_free(v);
}

int fetching_start(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const options[] = {"model.hashed_bits=20", NULL}; /* several chunks */
    serving_world_open(&fetching.w, options);
    clock_fake_init(&fetching.fake, SERVING_WORLD_NOW_MS);
    assert_ok(model_run_new(&fetching.probe, fetching.w.model, fetching.w.states, false, &e), &e);
    assert_ok(redis_open(&fetching.redis, fetching.w.shop.conf, clock_system(), &e), &e);
    return 0;
}

int fetching_stop(void **state)
{
    (void)state;
    redis_close(fetching.redis);
    model_run_free(fetching.probe);
    serving_world_close(&fetching.w);
    return 0;
}
