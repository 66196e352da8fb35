/* test_score.c - the scorer against the learner's own run on the same state, with unknown users and items, inline
 * attributes and history, staged ranking, Redis away, swaps under load, and no allocation in the steady state.
 *
 * labels: quick redis threads
 * timeout: 120
 */
#include "serving/score.h"
#include "tests/support/check.h"
#include "tests/support/serving_world.h"
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALL "i0,i1,i2,i3,i4,i5,i6,i7,i8,i9"
#define ALL_JSON "\"i0\",\"i1\",\"i2\",\"i3\",\"i4\",\"i5\",\"i6\",\"i7\",\"i8\",\"i9\""

static struct serving_world w;
static struct metric *metric;
static struct score *score;

static void open_score(void)
{
    struct err e = {0};
    assert_ok(metric_new(&metric, &e), &e);
    assert_ok(score_open(&score, w.shop.conf, clock_system(), metric, &e), &e);
}

static void close_score(void)
{
    score_close(score);
    metric_free(metric);
    score = NULL;
    metric = NULL;
}

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    serving_world_open(&w, NULL);
    serving_world_features(&w);
    serving_world_version(&w, 1);
    open_score();
    assert_ok(score_look(score, &e), &e);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    close_score();
    serving_world_close(&w);
    return 0;
}

/* Asks with a body; the answer's hand is the caller's to return. */
static struct score_hand *ask(const char *body, const struct score_answer **a)
{
    struct err e = {0};
    struct score_hand *h = score_borrow(score);
    assert_ok(score_request_parse(score_request_of(h), str_from(body), w.shop.conf, &e), &e);
    assert_ok(score_rank(h, a, &e), &e);
    return h;
}

/* Logits in input order. */
static void ask_logits(const char *body, float *logits, uint32_t n)
{
    const struct score_answer *a;
    struct score_hand *h = ask(body, &a);
    assert_int_equal(a->n, n);
    for (uint32_t i = 0; i < n; i++) logits[a->items[i].index] = a->items[i].logit;
    score_return(score, h);
}

static void test_scores_are_the_learners_own(void **state)
{
    (void)state;
    float ours[10], theirs[10];
    char body[300];
    double spread = 0;
    for (int u = 0; u < 5; u++) { /* u4 is known to nobody */
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", u);
        serving_world_score(&w, user, ALL, theirs);
        (void)snprintf(body, sizeof body, "{\"user\":\"%s\",\"items\":[" ALL_JSON "]}", user);
        ask_logits(body, ours, 10);
        for (int i = 0; i < 10; i++) {
            assert_float_equal(ours[i], theirs[i], 1e-5);
            spread = fmax(spread, fabs((double)theirs[i] - (double)theirs[0]));
        }
    }
    assert_true(spread > 0.01); /* there was something to tell apart */
}

static void test_reply_is_ranked_and_complete(void **state)
{
    (void)state;
    const struct score_answer *a;
    struct buf b = {0};
    json_error_t why;
    struct score_hand *h = ask(
        "{\"user\":\"u0\",\"request\":\"q-1\",\"items\":[" ALL_JSON ",\"nobody\"],\"limit\":6,\"explain\":true}", &a);
    score_write_answer(h, a, &b);
    json_t *o = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES, &why), *items = json_object_get(o, "items");
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "request")), "q-1");
    assert_int_equal(json_array_size(items), 6);
    double last = 1;
    for (size_t i = 0; i < 6; i++) {
        json_t *x = json_array_get(items, i), *parts = json_object_get(x, "parts");
        const double s = json_number_value(json_object_get(x, "score")),
                     z = json_number_value(json_object_get(x, "logit"));
        assert_true(s <= last && s > 0 && s < 1);
        assert_true(fabs(s - 1 / (1 + exp(-z))) < 1e-6);
        assert_int_equal(json_integer_value(json_object_get(x, "rank")), (int)i + 1);
        assert_int_equal(json_object_size(parts), model_n_parts(w.model));
        assert_true(json_is_boolean(json_object_get(x, "known")));
        last = s;
    }
    json_t *m = json_object_get(o, "model");
    assert_int_equal(json_integer_value(json_object_get(m, "version")), 1);
    assert_string_equal(json_string_value(json_object_get(m, "sha256")), w.params->sha256);
    assert_string_equal(json_string_value(json_object_get(m, "variant")), "default");
    assert_true(json_is_integer(json_object_get(m, "age_ms")));
    assert_true(json_is_string(json_object_get(m, "watermark")));
    assert_true(json_is_true(json_object_get(o, "user_known")));
    assert_null(json_object_get(o, "degraded"));
    json_decref(o);
    struct slot_version early = *a->version; /* published before any event */
    struct score_answer first = *a;
    early.manifest.watermark_ms = 0;
    first.version = &early;
    buf_clear(&b);
    score_write_answer(h, &first, &b);
    o = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES, &why);
    assert_true(json_is_null(json_object_get(json_object_get(o, "model"), "watermark")));
    json_decref(o);
    buf_fini(&b);
    score_return(score, h);
}

/* A version from before the first event has no watermark: the time of a request is now. */
static void test_a_version_without_events_has_no_time(void **state)
{
    (void)state;
    struct err e = {0};
    const struct score_answer *a;
    struct buf b = {0};
    w.watermark_ms = INT64_MIN;
    serving_world_version(&w, 2);
    assert_ok(score_look(score, &e), &e);
    struct score_hand *h = ask("{\"items\":[" ALL_JSON "]}", &a);
    assert_int_equal(a->version->manifest.watermark_ms, 0);
    assert_true(llabs(clock_system()->wall_ms(clock_system()) - a->time_ms) < 3600000);
    score_write_answer(h, a, &b);
    buf_u8(&b, 0);
    assert_non_null(strstr((const char *)b.p, "\"watermark\":null"));
    buf_fini(&b);
    score_return(score, h);
}

static void test_unknown_and_inline_items_are_told_apart_by_their_text(void **state)
{
    (void)state;
    float z[4];
    const struct score_answer *a;
    struct score_hand *h = ask(
        "{\"user\":\"u0\",\"items\":[\"i1\",\"x\",\"y\",{\"item\":\"n\",\"title\":\"red wooden toy\",\"price\":3}]}",
        &a);
    assert_true(a->user_known);
    for (uint32_t i = 0; i < 4; i++) {
        z[a->items[i].index] = a->items[i].logit;
        assert_int_equal(a->items[i].known, a->items[i].index == 0);
    }
    assert_true(fabsf(z[1] - z[3]) > 1e-4f); /* its text and price count */
    score_return(score, h);
    h = ask("{\"items\":[\"x\",\"y\"]}", &a);
    assert_false(a->user_known);
    assert_int_equal(strncmp(a->request, "r-", 2), 0);
    score_return(score, h);
}

/* Who has no id of a user is known by the session's: as by an id "session:…", with the history that came under it. */
static void test_a_session_stands_for_a_user(void **state)
{
    (void)state;
    const struct score_answer *a;
    float known[10], nobody[10];
    struct score_hand *h = ask("{\"session\":\"s1\",\"items\":[\"i1\"]}", &a);
    assert_string_equal(score_request_of(h)->user.p, "session:s1");
    assert_false(a->user_known);
    score_return(score, h);
    ask_logits("{\"session\":\"s1\",\"items\":[" ALL_JSON "]}", nobody, 10);
    ask_logits("{\"session\":\"s1\",\"items\":[" ALL_JSON "],\"history\":[{\"type\":\"purchase\",\"item\":\"i2\"}]}",
               known, 10); /* from the session's own events and context alone */
    bool differs = false;
    for (int i = 0; i < 10; i++) differs = differs || fabsf(known[i] - nobody[i]) > 1e-4f;
    assert_true(differs);
    h = ask("{\"session\":\"s1\",\"user\":\"u0\",\"items\":[\"i1\"]}", &a);
    assert_true(a->user_known);
    score_return(score, h);
}

/* What a request says of a known item is laid over its record; what it repeats changes nothing. */
static void test_inline_attributes_lie_over_known_items(void **state)
{
    (void)state;
    float plain[1], same[1], other[1];
    ask_logits("{\"user\":\"u0\",\"items\":[\"i0\"]}", plain, 1);
    ask_logits("{\"user\":\"u0\",\"items\":[{\"item\":\"i0\",\"title\":\"red wooden toy\",\"price\":1.5}]}", same, 1);
    ask_logits("{\"user\":\"u0\",\"items\":[{\"item\":\"i0\",\"title\":\"large glass clock\",\"price\":99}]}", other,
               1);
    assert_true(plain[0] == same[0]);
    assert_true(fabsf(plain[0] - other[0]) > 1e-4f);
    ask_logits("{\"user\":\"u0\",\"items\":[\"i0\"]}", same, 1); /* and the record itself is as it was */
    assert_true(plain[0] == same[0]);
}

/* A history in the request does what the learner does when it takes the same events. */
static void test_inline_history_is_taken_as_the_learner_takes_it(void **state)
{
    (void)state;
    float before[10], ours[10], theirs[10];
    char body[700];
    const int64_t t = SERVING_WORLD_NOW_MS - 60000;
    serving_world_score(&w, "u1", ALL, before);
    (void)snprintf(body, sizeof body,
                   "{\"user\":\"u1\",\"items\":[" ALL_JSON
                   "],\"history\":[{\"type\":\"click\",\"item\":\"i5\",\"time\":%lld},"
                   "{\"type\":\"purchase\",\"item\":\"i2\",\"time\":%lld}]}",
                   (long long)t, (long long)t + 1000);
    ask_logits(body, ours, 10);
    struct shop *s = &w.shop;
    struct err e = {0};
    const struct record_user *u = world_find_user(s->world, STR("u1"));
    struct record_user copy = {0};
    struct buf b = {0};
    record_user_encode(&b, u);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(record_user_decode(&copy, &r, &e), &e);
    assert_ok(feat_user_take(s->feat, &copy, world_find_item(s->world, STR("i5")), STR("i5"), EVENT_CLICK, "click", NAN,
                             t, &e),
              &e);
    assert_ok(feat_user_take(s->feat, &copy, world_find_item(s->world, STR("i2")), STR("i2"), EVENT_PURCHASE,
                             "purchase", NAN, t + 1000, &e),
              &e);
    struct feat_candidate c[10];
    for (int i = 0; i < 10; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "i%d", i);
        const struct record_item *item = world_find_item(s->world, str_from(id));
        c[i] = (struct feat_candidate){item->id, item, NAN, 1, 0, 0};
    }
    slate_reset(s->slate);
    s->slate->id = 1, s->slate->source = SLATE_REQUEST, s->slate->time_ms = SERVING_WORLD_NOW_MS,
    s->slate->user = STR("u1");
    assert_ok(feat_fill(s->feat, s->slate, &copy, c, 10, NULL, 0, &e), &e);
    assert_ok(model_score(w.run, s->slate, 0, theirs, NULL, &e), &e);
    float moved = 0;
    for (int i = 0; i < 10; i++) {
        assert_float_equal(ours[i], theirs[i], 1e-5);
        moved = fmaxf(moved, fabsf(ours[i] - before[i]));
    }
    assert_true(moved > 1e-3f);
    record_user_fini(&copy);
    buf_fini(&b);
    ask_logits("{\"user\":\"nobody\",\"items\":[\"i1\",\"i2\"],\"history\":[{\"type\":\"purchase\",\"item\":\"new\","
               "\"title\":\"red toy\"}]}",
               ours, 2);
    ask_logits("{\"user\":\"nobody\",\"items\":[\"i1\",\"i2\"]}", theirs, 2);
    assert_true(fabsf(ours[0] - theirs[0]) + fabsf(ours[1] - theirs[1]) > 1e-4f);
}

static void test_ties_keep_input_order(void **state)
{
    (void)state;
    const struct score_answer *a;
    struct err e = {0};
    serving_world_shake(&w, 0); /* heads at zero: all candidates alike */
    serving_world_version(&w, 2);
    assert_ok(score_look(score, &e), &e);
    struct score_hand *h = ask("{\"user\":\"u0\",\"items\":[\"z\",\"i3\",\"a\",\"i1\",\"m\",\"i9\",\"b\"]}", &a);
    assert_int_equal(a->version->manifest.version, 2);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(a->items[i].index, i);
        assert_float_equal(a->items[i].score, 0.5f, 1e-6);
    }
    score_return(score, h);
}

static void weigh_text(float factor)
{
    struct err e = {0};
    const struct param_table *t = model_table(w.model);
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; strcmp(t->params[i].name, "text.head") == 0 && j < t->params[i].n; j++)
            w.params->w[t->params[i].offset + j] *= factor;
    param_touch(w.params);
    assert_ok(param_sha256(w.params, &e), &e);
    assert_ok(model_bind(w.run, w.params, &e), &e);
}

/* The best few by the cheap parts get the text part and stand before the others, even where their sum is lower then. */
static void test_staged_ranking_puts_the_staged_first(void **state)
{
    (void)state;
    struct err e = {0};
    float whole[10];
    char body[200], top[4];
    uint32_t text = 0, inversions = 0;
    while (strcmp(model_part_name(w.model, text), "text") != 0) text++;
    weigh_text(-20); /* so much that the text part turns the order round */
    serving_world_version(&w, 2);
    assert_ok(score_look(score, &e), &e);
    for (uint32_t n = 1; n < 10; n++) {
        const struct score_answer *a;
        (void)snprintf(top, sizeof top, "%u", n);
        assert_ok(conf_set(w.shop.conf, "serving.joint_top", top, &e), &e);
        (void)snprintf(body, sizeof body, "{\"user\":\"u%u\",\"items\":[" ALL_JSON "]}", n % 3);
        (void)snprintf(top, sizeof top, "u%u", n % 3);
        serving_world_score(&w, top, ALL, whole);
        struct score_hand *h = ask(body, &a);
        for (uint32_t i = 0; i < 10; i++) {
            const float z = a->part_logits[(size_t)text * 10 + a->items[i].index];
            assert_true((z != 0) == (i < n));
            assert_float_equal(a->items[i].logit, whole[a->items[i].index], 1e-5);
            if (i != 0 && i != n) assert_true(a->items[i].logit <= a->items[i - 1].logit);
        }
        inversions += a->items[n].logit > a->items[n - 1].logit;
        score_return(score, h);
    }
    assert_true(inversions > 0); /* else the order of stages was never asked for */
}

static void test_without_a_version_there_is_no_answer(void **state)
{
    (void)state;
    struct err e = {0};
    const struct score_answer *a;
    char answer[4096];
    close_score();
    publish_close(w.publish); /* which would put the version back */
    w.publish = NULL;
    (void)redis_server_ask(&w.redis, answer, "DEL fr:{default}:current");
    open_score();
    assert_int_equal(score_look(score, &e), STATUS_NOT_FOUND);
    assert_false(score_ready(score));
    struct score_hand *h = score_borrow(score);
    assert_ok(score_request_parse(score_request_of(h), STR("{\"items\":[\"a\"]}"), w.shop.conf, &e), &e);
    assert_int_equal(score_rank(h, &a, &e), STATUS_NOT_FOUND);
    score_return(score, h);
    (void)redis_server_ask(&w.redis, answer, "SET fr:{default}:current 1");
    assert_ok(score_look(score, &e), &e);
    assert_true(score_ready(score));
}

static void test_redis_away_degrades_to_what_is_at_hand(void **state)
{
    (void)state;
    float with[2], without[2];
    const struct score_answer *a;
    ask_logits("{\"user\":\"u0\",\"items\":[\"i0\",\"i1\"]}", with, 2);
    redis_server_kill(&w.redis);
    for (int round = 0; round < 3; round++) {
        struct score_hand *h = ask("{\"user\":\"u0\",\"items\":[\"i0\",\"i1\"]}", &a);
        assert_true(a->degraded && a->user_known);
        for (uint32_t i = 0; i < 2; i++) without[a->items[i].index] = a->items[i].logit;
        assert_true(with[0] == without[0] && with[1] == without[1]); /* the last known records */
        struct buf b = {0};
        score_write_answer(h, a, &b);
        buf_u8(&b, 0);
        assert_non_null(strstr((const char *)b.p, "\"degraded\":true"));
        buf_fini(&b);
        score_answered(h, a);
        score_return(score, h);
        h = ask("{\"user\":\"u2\",\"items\":[\"i7\",{\"item\":\"n\",\"title\":\"red toy\"}]}",
                &a); /* never seen before */
        assert_true(a->degraded && !a->user_known);
        score_return(score, h);
    }
    assert_true(metric_get(metric, METRIC_DEGRADED) == 3);
}

/* One hand finds out; the others do not ask until the watch has reached Redis again. */
static void test_away_is_found_out_once_and_over_with_the_next_look(void **state)
{
    (void)state;
    struct err e = {0};
    const struct score_answer *a;
    static const char body[] = "{\"user\":\"u0\",\"items\":[\"i0\",\"i1\"]}";
    assert_ok(conf_set(w.shop.conf, "redis.timeout_ms", "300", &e), &e);
    close_score();
    open_score();
    assert_ok(score_look(score, &e), &e);
    score_return(score, ask(body, &a));
    redis_server_signal(&w.redis, SIGSTOP); /* connects, answers nothing */
    const int64_t start = clock_system()->mono_us(clock_system());
    for (int i = 0; i < 20; i++) {
        struct score_hand *h = ask(body, &a);
        assert_true(a->degraded);
        score_return(score, h);
    }
    assert_true(clock_system()->mono_us(clock_system()) - start < 1500000); /* one time-out, not twenty */
    assert_int_equal(score_look(score, &e), STATUS_IO);
    redis_server_signal(&w.redis, SIGCONT);
    struct score_hand *h = ask(body, &a);
    assert_true(a->degraded); /* until the watch has seen it */
    score_return(score, h);
    for (int ms = 0; score_look(score, &e) == STATUS_IO && ms < 5000; ms += 10)
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    for (int ms = 0; ms < 5000; ms += 10) { /* a hand's own back-off is short */
        h = ask(body, &a);
        const bool degraded = a->degraded;
        score_return(score, h);
        if (!degraded) return;
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    fail_msg("Redis is back and still not asked");
}

static void test_damaged_record_counts_as_unknown(void **state)
{
    (void)state;
    char answer[4096];
    const struct score_answer *a;
    (void)redis_server_ask(&w.redis, answer, "SET fr:default:item:i4 garbage");
    (void)redis_server_ask(&w.redis, answer, "SET fr:default:user:u0 garbage");
    (void)redis_server_ask(&w.redis, answer, "DEL fr:default:item:i5");
    (void)redis_server_ask(&w.redis, answer, "LPUSH fr:default:item:list x");
    struct score_hand *h = ask("{\"user\":\"u0\",\"items\":[\"i4\",\"i5\",\"i6\",\"list\"]}", &a);
    assert_false(a->user_known);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(a->items[i].known, a->items[i].index == 2);
    score_return(score, h);
}

/* What Redis has of them says so: of a user nothing but the id (left there by a learner that put it so), of an item the flag. */
static void test_deleted_records_count_as_unknown_as_to_the_learner(void **state)
{
    (void)state;
    const struct score_answer *a;
    struct err e = {0};
    float ours[10], theirs[10];
    struct event ev = shop_behaviour(&w.shop, 0, "u1", "i2", SERVING_WORLD_NOW_MS);
    ev.deleted = true;
    ev.kind = EVENT_USER;
    assert_ok(world_user(w.shop.world, &ev, &e), &e);
    ev.kind = EVENT_ITEM;
    assert_ok(world_item(w.shop.world, &ev, &e), &e);
    serving_world_features(&w);
    struct score_hand *h = ask("{\"user\":\"u1\",\"items\":[\"i2\"]}", &a);
    assert_false(a->user_known);
    assert_false(a->items[0].known);
    score_return(score, h);
    serving_world_score(&w, "u1", ALL, theirs);
    ask_logits("{\"user\":\"u1\",\"items\":[" ALL_JSON "]}", ours, 10);
    for (int i = 0; i < 10; i++) assert_float_equal(ours[i], theirs[i], 1e-5);
}

static void test_states_come_from_redis(void **state)
{
    (void)state;
    struct score_hand *h;
    const struct score_answer *a;
    h = ask("{\"user\":\"u0\",\"items\":[" ALL_JSON "]}", &a);
    score_return(score, h);
    assert_true(metric_get(metric, METRIC_STATES_FETCHED) >= 10);
    assert_true(metric_get(metric, METRIC_STATES_COMPUTED) == 0);
    h = ask("{\"user\":\"u0\",\"items\":[\"i1\",{\"item\":\"n\",\"title\":\"blue paper star\"}]}", &a);
    score_return(score, h);
    assert_true(metric_get(metric, METRIC_STATES_COMPUTED) == 1); /* the new sentence */
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    static const char body[] = "{\"user\":\"u0\",\"items\":[" ALL_JSON ",\"unknown\"],\"explain\":true}";
    struct buf b = {0};
    long total = 0;
    publish_close(w.publish); /* its thread is not the scorer's */
    w.publish = NULL;
    assert_non_null(buf_room(&b, 65536));
    for (int i = 0; i < 1100; i++) {
        const struct score_answer *a;
        if (i == 100) total = mem_total();
        struct score_hand *h = score_borrow(score);
        assert_ok(score_request_parse(score_request_of(h), STR(body), w.shop.conf, &e), &e);
        assert_ok(score_rank(h, &a, &e), &e);
        buf_clear(&b);
        score_write_answer(h, a, &b);
        score_answered(h, a);
        score_return(score, h);
    }
    assert_int_equal(mem_total(), total);
    buf_fini(&b);
}

/* --- swaps under load --------------------------------------------------------------------------------------------- */

enum { LOADERS = 3, VERSIONS = 12 };
static char known_sha[VERSIONS + 2][HASH_SHA256_HEX];
static float known_logit[VERSIONS + 2];
static atomic_bool over;
static atomic_ulong answered, wrong;

static void *load(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        const struct score_answer *a = NULL;
        struct err e = {0};
        struct score_hand *h = score_borrow(score);
        enum status st =
            score_request_parse(score_request_of(h), STR("{\"user\":\"u0\",\"items\":[\"i0\"]}"), w.shop.conf, &e);
        if (st == STATUS_OK) st = score_rank(h, &a, &e);
        bool good = st == STATUS_OK && !a->degraded;
        if (good) { /* the version it names is the version that scored */
            const uint64_t v = a->version->manifest.version;
            good = v >= 1 && v <= VERSIONS + 1 && strcmp(a->version->manifest.sha256, known_sha[v]) == 0 &&
                   fabsf(a->items[0].logit - known_logit[v]) < 1e-5f;
            score_answered(h, a);
        }
        score_return(score, h);
        atomic_fetch_add(good ? &answered : &wrong, 1);
    }
    return NULL;
}

static void remember(uint64_t version)
{
    memcpy(known_sha[version], w.params->sha256, HASH_SHA256_HEX);
    serving_world_score(&w, "u0", "i0", &known_logit[version]);
}

static void test_swaps_under_load_fail_no_request(void **state)
{
    (void)state;
    struct err e = {0};
    pthread_t t[LOADERS];
    remember(1);
    assert_ok(score_start(score, &e), &e);
    for (int i = 0; i < LOADERS; i++) assert_int_equal(pthread_create(&t[i], NULL, load, NULL), 0);
    for (uint64_t v = 2; v <= VERSIONS + 1; v++) {
        const unsigned long before = atomic_load(&answered);
        serving_world_shake(&w, (unsigned)v);
        remember(v);
        serving_world_version(&w, v);
        while (metric_get(metric, METRIC_VERSIONS_LOADED) < (double)v || atomic_load(&answered) < before + 20) {
            assert_int_equal(atomic_load(&wrong), 0);
        }
    }
    atomic_store(&over, true);
    for (int i = 0; i < LOADERS; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&answered) >= 20 * VERSIONS);
    assert_true(metric_freshness_count(metric) >=
                VERSIONS / 2); /* a version may pass before any answer is made with it */
    assert_true(metric_get(metric, METRIC_FRESHNESS_P50_MS) > 0 && metric_get(metric, METRIC_FRESHNESS_P50_MS) < 10000);
    close_score();
    char answer[4096];
    assert_true(atoi(redis_server_ask(&w.redis, answer, "XLEN fr:default:served")) > 0);
    assert_true(atoi(redis_server_ask(&w.redis, answer, "HGET fr:default:metrics freshness_p50_ms")) > 0);
}

static enum status make(void)
{
    struct metric *m = NULL;
    struct score *s = NULL;
    struct err e = {0};
    enum status st = metric_new(&m, &e);
    if (st == STATUS_OK) st = score_open(&s, w.shop.conf, clock_system(), m, &e);
    if (st != STATUS_OK) assert_null(s);
    score_close(s);
    metric_free(m);
    return st;
}

static void test_open_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    publish_close(w.publish);
    w.publish = NULL;
    FAIL_EACH_ALLOCATION(n, make());
    assert_true(n > 300);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        EACH(test_scores_are_the_learners_own),
        EACH(test_reply_is_ranked_and_complete),
        EACH(test_a_version_without_events_has_no_time),
        EACH(test_unknown_and_inline_items_are_told_apart_by_their_text),
        EACH(test_a_session_stands_for_a_user),
        EACH(test_inline_attributes_lie_over_known_items),
        EACH(test_inline_history_is_taken_as_the_learner_takes_it),
        EACH(test_ties_keep_input_order),
        EACH(test_staged_ranking_puts_the_staged_first),
        EACH(test_without_a_version_there_is_no_answer),
        EACH(test_redis_away_degrades_to_what_is_at_hand),
        EACH(test_away_is_found_out_once_and_over_with_the_next_look),
        EACH(test_damaged_record_counts_as_unknown),
        EACH(test_deleted_records_count_as_unknown_as_to_the_learner),
        EACH(test_states_come_from_redis),
        EACH(test_steady_state_allocates_nothing),
        EACH(test_swaps_under_load_fail_no_request),
        EACH(test_open_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
