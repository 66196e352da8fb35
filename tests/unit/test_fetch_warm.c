/* test_fetch_warm.c - a learner that has only Redis gets back the version, where it stood, users and items; damage is seen.
 *
 * labels: redis
 */
#include "schemas/key.h"
#include "serving/fetch_warm.h"
#include "tests/support/check.h"
#include "tests/support/fetching.h"
#include <stdio.h>
#include <string.h>

static struct serving_world w;
static struct redis *redis;

/* One bit of the value of a key, and back again when called twice. */
static void flip(const char *key, size_t bit)
{
    static unsigned char bytes[PUBLISH_CHUNK_BYTES];
    const struct str value = fetching_get(redis, key);
    const size_t n = value.n;
    assert_true(n <= sizeof bytes && bit / 8 < n);
    memcpy(bytes, value.p, n);
    bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    fetching_set(redis, key, bytes, n);
}

static struct fetch_warm *open_warm(void)
{
    struct fetch_warm *f = NULL;
    struct err e = {0};
    assert_ok(fetch_warm_open(&f, w.shop.conf, clock_system(), &e), &e);
    return f;
}

static int fresh(void **state)
{
    (void)state;
    char answer[4096];
    struct err e = {0};
    publish_close(w.publish);
    (void)redis_server_ask(&w.redis, answer, "FLUSHALL");
    assert_ok(publish_open(&w.publish, w.shop.conf, clock_system(), 0, &e), &e);
    serving_world_shake(&w, 1);
    return 0;
}

static void publish_at(uint64_t version, const struct publish_offset *offsets, size_t n)
{
    struct err e = {0};
    struct buf file = serving_world_file(&w, version);
    struct publish_version v = {.version = version,
                                .examples = 100 * version,
                                .watermark_ms = SERVING_WORLD_NOW_MS,
                                .topics = n > 0 ? "clicks, views" : NULL,
                                .offsets = offsets,
                                .n_offsets = n};
    memcpy(v.sha256, w.params->sha256, sizeof v.sha256);
    (void)snprintf(v.base, sizeof v.base, "%016llx", (unsigned long long)model_fingerprint(w.model));
    assert_ok(publish_weights(w.publish, &v, &file, NULL, &e), &e);
    assert_ok(publish_flush(w.publish, 20000, &e), &e);
}

static void test_version_comes_back_with_where_it_stood(void **state)
{
    (void)state;
    struct fetch_warm *f = open_warm();
    struct param_set *p = NULL;
    struct publish_manifest m = {0};
    struct err e = {0};
    const struct publish_offset offsets[] = {{0, 3, 17, 0xfeedULL << 48, 15, UINT64_MAX}, {1, 0, 0, 0, 0, 0}};
    assert_ok(param_set_new(&p, model_table(w.model), &e), &e);
    assert_int_equal(fetch_warm_version(f, w.model, p, &m, &e), STATUS_NOT_FOUND);
    publish_at(4, offsets, 2);
    assert_ok(fetch_warm_version(f, w.model, p, &m, &e), &e);
    assert_memory_equal(p->w, w.params->w, p->n * sizeof *p->w);
    assert_string_equal(p->sha256, w.params->sha256);
    assert_int_equal(p->version, 4);
    assert_int_equal(m.version, 4);
    assert_int_equal(m.examples, 400);
    assert_int_equal(m.watermark_ms, SERVING_WORLD_NOW_MS);
    assert_true(m.epoch > 0);
    assert_int_equal(m.n_offsets, 2);
    assert_string_equal(m.topics, "clicks,views");
    for (size_t i = 0; i < 2; i++) {
        const struct publish_offset *a = &m.offsets[i], *b = &offsets[i];
        assert_true(a->topic == b->topic && a->partition == b->partition && a->next == b->next);
        assert_true(a->mark == b->mark && a->records == b->records && a->chain == b->chain);
    }
    publish_manifest_fini(&m);
    param_set_release(p);
    fetch_warm_close(f);
}

static void test_damaged_version_is_passed_over_for_an_older_one(void **state)
{
    (void)state;
    struct fetch_warm *f = open_warm();
    struct param_set *p = NULL;
    struct publish_manifest m = {0};
    struct err e = {0};
    char key[KEY_MAX];
    static const char *const damage[] = {"chunk:2:0", "manifest:2"};
    assert_ok(param_set_new(&p, model_table(w.model), &e), &e);
    publish_at(1, NULL, 0);
    float first = w.params->w[0];
    serving_world_shake(&w, 2);
    publish_at(2, NULL, 0);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        (void)snprintf(key, sizeof key, "fr:{default}:%s", damage[i]);
        flip(key, 777);
        assert_ok(fetch_warm_version(f, w.model, p, &m, &e), &e);
        assert_int_equal(m.version, 1);
        assert_true(p->w[0] == first);
        publish_manifest_fini(&m);
        flip(key, 777);
    }
    assert_ok(fetch_warm_version(f, w.model, p, &m, &e), &e);
    assert_int_equal(m.version, 2);
    publish_manifest_fini(&m);
    flip("fr:{default}:chunk:2:0", 1);
    flip("fr:{default}:chunk:1:0", 1);
    assert_int_equal(fetch_warm_version(f, w.model, p, &m, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "chunk:2:0"));
    assert_null(m.chunks);
    assert_int_equal(p->version, 2); /* untouched */
    param_set_release(p);
    fetch_warm_close(f);
}

struct seen {
    size_t users, items, fail_at;
};

static void compare(const char *key, const struct buf *b)
{
    const struct str lies = fetching_get(redis, key);
    assert_int_equal(lies.n, b->n);
    assert_memory_equal(lies.p, b->p, b->n);
}

static enum status take_user(void *arg, struct record_user *u, struct err *e)
{
    struct seen *s = arg;
    struct buf b = {0};
    char key[KEY_MAX];
    if (s->fail_at > 0 && s->users + s->items == s->fail_at) return ERR_SET(e, STATUS_FULL, "enough");
    s->users++;
    (void)key_user(key, "default", u->id);
    record_user_encode(&b, u);
    compare(key, &b);
    buf_fini(&b);
    return STATUS_OK;
}

static enum status take_item(void *arg, struct record_item *i, struct err *e)
{
    struct seen *s = arg;
    struct buf b = {0};
    char key[KEY_MAX];
    if (s->fail_at > 0 && s->users + s->items == s->fail_at) return ERR_SET(e, STATUS_FULL, "enough");
    s->items++;
    (void)key_item(key, "default", i->id);
    record_item_encode(&b, i);
    compare(key, &b);
    record_item_fini(i); /* as one that moved its members out */
    buf_fini(&b);
    return STATUS_OK;
}

static enum status read_all(struct fetch_warm *f, struct seen *s, size_t *slices)
{
    struct err e = {0};
    const struct fetch_warm_sink sink = {take_user, take_item, s};
    enum status st;
    for (*slices = 0; (st = fetch_warm_records(f, &sink, &e)) == STATUS_OK;) ++*slices;
    return st;
}

static void test_records_come_in_slices(void **state)
{
    (void)state;
    struct seen s = {0};
    struct fetch_warm_counts n;
    char answer[4096], command[100];
    size_t slices;
    world_mark_all_changed(w.shop.world);
    serving_world_features(&w);
    for (int i = 0; i < 3 * FETCH_WARM_SLICE; i++) { /* other keys among them */
        (void)snprintf(command, sizeof command, "SET fr:default:other:%d x", i);
        struct err e = {0};
        const struct redis_reply *p;
        assert_ok(redis_call(redis, &e, &p, REDIS_ARGS(STR("SET"), str_from(command + 4), STR("x"))), &e);
    }
    (void)redis_server_ask(&w.redis, answer, "SET fr:default2:user:u9 x"); /* another model's */
    struct fetch_warm *f = open_warm();
    assert_int_equal(read_all(f, &s, &slices), STATUS_END);
    assert_true(slices >= 2);
    fetch_warm_counts(f, &n);
    assert_int_equal(n.users, 5);
    assert_int_equal(n.items, 10);
    assert_int_equal(n.damaged, 0);
    assert_true(s.users >= 5 && s.items >= 10);
    assert_int_equal(read_all(f, &s, &slices), STATUS_END); /* stays at its end */
    fetch_warm_close(f);
}

static void test_damaged_records_are_counted_and_passed_over(void **state)
{
    (void)state;
    struct seen s = {0};
    struct fetch_warm_counts n;
    size_t slices;
    world_mark_all_changed(w.shop.world);
    serving_world_features(&w);
    flip("fr:default:user:u1", 8 * 40 + 3);
    flip("fr:default:item:i3", 0);
    const struct str other = fetching_get(redis, "fr:default:item:i4");
    const size_t n_other = other.n;
    char *copy = mem_strndup(other.p, n_other);
    fetching_set(redis, "fr:default:item:i5", copy, n_other); /* whole, but of another */
    mem_free(copy);
    fetching_set(redis, "fr:default:user:u2", "", 0);
    struct fetch_warm *f = open_warm();
    assert_int_equal(read_all(f, &s, &slices), STATUS_END);
    fetch_warm_counts(f, &n);
    assert_int_equal(n.users, 3);
    assert_int_equal(n.items, 8);
    assert_int_equal(n.damaged, 4);
    fetch_warm_close(f);
}

static void test_a_lost_connection_or_a_refusing_sink_goes_on_where_it_was(void **state)
{
    (void)state;
    struct seen s = {.fail_at = 5};
    const struct fetch_warm_sink sink = {take_user, take_item, &s};
    char answer[4096];
    struct err e = {0};
    size_t slices;
    world_mark_all_changed(w.shop.world);
    serving_world_features(&w);
    struct fetch_warm *f = open_warm();
    enum status st;
    while ((st = fetch_warm_records(f, &sink, &e)) == STATUS_OK) continue;
    assert_int_equal(st, STATUS_FULL);
    s.fail_at = 0;
    (void)redis_server_ask(&w.redis, answer, "CLIENT KILL TYPE normal SKIPME yes");
    redis_drop(redis);
    assert_int_equal(fetch_warm_records(f, &sink, &e), STATUS_IO);
    s.users = s.items = 0;
    do st = read_all(f, &s, &slices);
    while (st == STATUS_IO); /* until the back-off has passed */
    assert_int_equal(st, STATUS_END);
    assert_true(s.users + s.items >= 14 - 5);
    fetch_warm_close(f);
}

static enum status whole(struct param_set *p)
{
    struct fetch_warm *f = NULL;
    struct seen s = {0};
    const struct fetch_warm_sink sink = {take_user, take_item, &s};
    struct publish_manifest m = {0};
    struct err e = {0};
    enum status st = fetch_warm_open(&f, w.shop.conf, clock_system(), &e);
    if (st == STATUS_OK) st = fetch_warm_version(f, w.model, p, &m, &e);
    publish_manifest_fini(&m);
    while (st == STATUS_OK) st = fetch_warm_records(f, &sink, &e);
    fetch_warm_close(f);
    return st == STATUS_END ? STATUS_OK : st;
}

static enum status ignore_user(void *arg, struct record_user *u, struct err *e)
{
    (void)arg, (void)u, (void)e;
    return STATUS_OK;
}

static enum status ignore_item(void *arg, struct record_item *i, struct err *e)
{
    (void)arg, (void)i, (void)e;
    return STATUS_OK;
}

static enum status slice_only(void)
{
    struct fetch_warm *f = NULL;
    const struct fetch_warm_sink sink = {ignore_user, ignore_item, NULL};
    struct err e = {0};
    enum status st = fetch_warm_open(&f, w.shop.conf, clock_system(), &e);
    while (st == STATUS_OK) st = fetch_warm_records(f, &sink, &e);
    fetch_warm_close(f);
    return st == STATUS_END ? STATUS_OK : st;
}

static void test_each_failing_allocation_leaves_nothing(void **state)
{
    (void)state;
    struct param_set *p = NULL;
    struct err e = {0};
    long n;
    assert_ok(param_set_new(&p, model_table(w.model), &e), &e);
    publish_at(1, NULL, 0);
    world_mark_all_changed(w.shop.world);
    serving_world_features(&w);
    publish_close(w.publish); /* its thread allocates too */
    w.publish = NULL;
    assert_int_equal(whole(p), STATUS_OK);
    FAIL_EACH_ALLOCATION(n, slice_only());
    assert_true(n > 10);
    param_set_release(p);
}

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    serving_world_open(&w, NULL);
    assert_ok(redis_open(&redis, w.shop.conf, clock_system(), &e), &e);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    redis_close(redis);
    serving_world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_version_comes_back_with_where_it_stood, fresh),
        cmocka_unit_test_setup(test_damaged_version_is_passed_over_for_an_older_one, fresh),
        cmocka_unit_test_setup(test_records_come_in_slices, fresh),
        cmocka_unit_test_setup(test_damaged_records_are_counted_and_passed_over, fresh),
        cmocka_unit_test_setup(test_a_lost_connection_or_a_refusing_sink_goes_on_where_it_was, fresh),
        cmocka_unit_test_setup(test_each_failing_allocation_leaves_nothing, fresh),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
