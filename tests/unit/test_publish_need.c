/* test_publish_need.c - the memory that is asked for holds the largest records and every kept version, in a real Redis too.
 *
 * labels: redis
 */
#include "schemas/record.h"
#include "serving/publish_need.h"
#include "serving/redis_info.h"
#include "tests/support/check.h"
#include "tests/support/publishing.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct redis_server server;
static struct conf *conf;

static int32_t *long_sentence(uint16_t *n)
{
    *n = (uint16_t)conf->model_max_tokens;
    int32_t *ids = mem_calloc(*n, sizeof *ids);
    assert_non_null(ids);
    for (uint16_t i = 0; i < *n; i++) ids[i] = 2097151;
    return ids;
}

static struct record_tally *all_tallies(uint32_t *n)
{
    struct record_tally *t = mem_calloc(RECORD_TALLY_TYPES, sizeof *t);
    assert_non_null(t);
    for (int i = 0; i < RECORD_TALLY_TYPES; i++) t[i] = (struct record_tally){.type = (uint8_t)i, .total = 1e300};
    *n = RECORD_TALLY_TYPES;
    return t;
}

static size_t memory_of(struct str key, const struct buf *value)
{
    struct redis *r = NULL;
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_open(&r, conf, clock_system(), &e), &e);
    assert_ok(redis_call(r, &e, &p,
                         REDIS_ARGS(STR("SET"), key, ((struct str){(const char *)value->p, value->n}), STR("EX"),
                                    STR("1000"))),
              &e);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("MEMORY"), STR("USAGE"), key)), &e);
    const size_t n = (size_t)p->integer;
    redis_close(r);
    return n;
}

static void test_the_largest_records_fit(void **state)
{
    (void)state;
    struct publish_need need;
    struct buf b = {0};
    struct record_user u = {.id = STR("a-user-of-some-length"), .first_ms = -1, .last_ms = -1, .n_slates = UINT32_MAX};
    publish_need(conf, 1, 384, true, &need);
    u.tallies = all_tallies(&u.n_tallies);
    u.n_events = (uint32_t)conf->history_events;
    u.events = mem_calloc(u.n_events, sizeof *u.events);
    u.n_pairs = (uint32_t)conf->history_pairs;
    u.pairs = mem_calloc(u.n_pairs, sizeof *u.pairs);
    for (uint32_t i = 0; i < u.n_events; i++) u.events[i].ids = long_sentence(&u.events[i].n_ids);
    for (uint32_t i = 0; i < u.n_pairs; i++) u.pairs[i] = (struct record_pair){.item = i, .count = UINT32_MAX};
    record_user_encode(&b, &u);
    assert_in_range(memory_of(STR("fr:default:user:a-user-of-some-length"), &b), need.user_bytes / 2, need.user_bytes);
    u.id = (struct str){NULL, 0};
    record_user_fini(&u);
    struct record_item it = {.id = STR("an-item"), .row = UINT32_MAX, .positives = UINT64_MAX, .price = NAN};
    it.tallies = all_tallies(&it.n_tallies);
    it.ids = long_sentence(&it.n_ids);
    for (int k = 0; k < RECORD_RATES; k++) it.rates[k].shown = 1;
    it.n_neighbours = (uint32_t)conf->cooccur_neighbours;
    it.neighbours = mem_calloc(it.n_neighbours, sizeof *it.neighbours);
    for (uint32_t i = 0; i < it.n_neighbours; i++) it.neighbours[i].item = i;
    buf_clear(&b);
    record_item_encode(&b, &it);
    assert_in_range(memory_of(STR("fr:default:item:an-item"), &b), need.item_bytes / 2, need.item_bytes);
    it.id = (struct str){NULL, 0};
    record_item_fini(&it);
    static uint16_t numbers[48 * 384];
    const struct record_state s = {.n_tokens = (uint32_t)conf->model_max_tokens,
                                   .width = 384,
                                   .pooled = numbers,
                                   .final = numbers,
                                   .tokens = numbers};
    buf_clear(&b);
    record_state_encode(&b, &s);
    assert_in_range(memory_of(STR("fr:default:state:0123456789abcdef"), &b), need.state_bytes / 2, need.state_bytes);
    buf_fini(&b);
}

/* With maxmemory at what was computed, more versions than are kept go through, each of them new in every chunk. */
static void test_versions_fit_into_what_is_asked_for(void **state)
{
    (void)state;
    char answer[4096], command[100], text[PUBLISH_NEED_TEXT];
    struct publish_need need;
    struct redis *r = NULL;
    struct redis_info i;
    struct err e = {0};
    const char *const options[] = {"publish.keep=2", NULL};
    assert_ok(conf_set_option(conf, options[0], &e), &e);
    publish_need(conf, 5 * PUBLISH_CHUNK_BYTES + 1000, 0, false, &need);
    assert_int_equal(need.versions, 3);
    assert_int_equal(need.state_bytes, 0);
    publish_need_text(&need, text);
    assert_non_null(strstr(text, "for 3 versions of 5.0 MiB"));
    (void)redis_server_ask(&server, answer, "FLUSHALL");
    assert_ok(redis_open(&r, conf, clock_system(), &e), &e);
    assert_ok(redis_info(r, &i, &e), &e);
    redis_close(r);
    const uint64_t most = i.used_bytes + publish_need_bytes(&need, 0, 0, 0);
    (void)snprintf(command, sizeof command, "CONFIG SET maxmemory %llu", (unsigned long long)most);
    (void)redis_server_ask(&server, answer, command);
    struct publish *p = publishing_open(&server, options, 0);
    for (uint64_t v = 1; v <= 8; v++) {
        const char fill[] = {
            (char)('a' + v), (char)('b' + v), (char)('c' + v), (char)('d' + v), (char)('e' + v), 'x', 0};
        publishing_put(p, v, fill);
        assert_int_equal(publishing_check(&server, fill), v);
    }
    publish_close(p);
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory 0");
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server);
    conf = redis_server_conf(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    conf_free(conf);
    redis_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_largest_records_fit),
        cmocka_unit_test(test_versions_fit_into_what_is_asked_for),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
