/* test_watermark.c - event time over partitions, idleness, and the guard against events that are far ahead. */
#include "tests/support/check.h"

#include "ingest/watermark.h"
#include <stdio.h>
#include <string.h>

#define AT 1600000000000
#define JUMP 10000

static struct conf *conf;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "ingest.max_jump_ms", "10000", &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static struct watermark *make(void)
{
    struct watermark *w = NULL;
    struct err e = {0};
    assert_ok(watermark_new(&w, conf, &e), &e);
    return w;
}

/* What one event sets free, in order: "t<time>" taken, "x<time>" rejected, "-" held. */
static const char *take(struct watermark *w, uint32_t partition, int64_t time, char out[400])
{
    struct source_record rec = {.kind = SOURCE_EVENT, .at = {0, partition, 7}};
    const struct source_record *decided;
    struct err e = {0};
    bool held = false;
    size_t n = 0;
    rec.event = (struct event){
        .kind = EVENT_BEHAVIOUR, .type_name = STR("view"), .time_ms = AT + time, .item = STR("a"), .at = rec.at};
    rec.raw.value = STR("bytes");
    assert_ok(watermark_take(w, &rec, &held, &e), &e);
    while (watermark_decided(w, &decided) == STATUS_OK) {
        assert_true(str_is(decided->raw.value, "bytes") && str_is(decided->event.item, "a") && decided->at.offset == 7);
        if (decided->kind == SOURCE_REJECT) assert_int_equal(decided->reject.code, REJECT_TIME_JUMP);
        n += (size_t)snprintf(out + n, 400 - n, "%c%lld ", decided->kind == SOURCE_EVENT ? 't' : 'x',
                              (long long)(decided->event.time_ms - AT));
    }
    if (held)
        (void)snprintf(out + n, 400 - n, "-");
    else
        (void)snprintf(out + n, 400 - n, "t%lld", (long long)time);
    return out;
}

static int64_t mark(const struct watermark *w)
{
    return watermark_ms(w) == INT64_MIN ? -1 : watermark_ms(w) - AT;
}

static void test_it_is_the_slowest_partition_and_never_goes_back(void **state)
{
    char out[400];
    struct err e = {0};
    struct watermark *w = make();
    (void)state;
    assert_int_equal(mark(w), -1);
    assert_ok(watermark_expect(w, (struct event_position){0, 0, 0}, &e), &e);
    assert_ok(watermark_expect(w, (struct event_position){0, 1, 0}, &e), &e);
    assert_string_equal(take(w, 0, 500, out), "t500");
    assert_int_equal(mark(w), -1); /* 1 has said nothing yet */
    assert_string_equal(take(w, 1, 300, out), "t300");
    assert_int_equal(mark(w), 300);
    assert_string_equal(take(w, 1, 100, out), "t100"); /* late, and taken */
    assert_int_equal(mark(w), 300);
    assert_string_equal(take(w, 1, 900, out), "t900");
    assert_int_equal(mark(w), 500);
    watermark_free(w);
}

static void test_idle_partitions_hold_nothing_back(void **state)
{
    char out[400];
    struct err e = {0};
    struct watermark *w = make();
    (void)state;
    assert_ok(watermark_expect(w, (struct event_position){0, 0, 0}, &e), &e);
    assert_ok(watermark_expect(w, (struct event_position){0, 1, 0}, &e), &e);
    (void)take(w, 0, 500, out);
    assert_ok(watermark_idle(w, (struct event_position){0, 1, 0}, &e), &e);
    assert_int_equal(mark(w), 500);
    assert_ok(watermark_idle(w, (struct event_position){0, 0, 0}, &e), &e); /* all idle: the fastest */
    assert_int_equal(mark(w), 500);
    (void)take(w, 1, 200, out); /* awake, behind: the mark stays */
    assert_int_equal(mark(w), 500);
    (void)take(w, 1, 700, out);
    assert_int_equal(mark(w), 700); /* 0 is still idle */
    (void)take(w, 0, 600, out);
    assert_int_equal(mark(w), 700);
    watermark_free(w);
}

static void expect(struct watermark *w, uint32_t partition)
{
    struct err e = {0};
    assert_ok(watermark_expect(w, (struct event_position){0, partition, 0}, &e), &e);
}

static void leave(struct watermark *w, uint32_t partition)
{
    struct err e = {0};
    assert_ok(watermark_leave(w, (struct event_position){0, partition, 0}, &e), &e);
}

static void test_partitions_that_left_neither_hold_nor_move_it(void **state)
{
    char out[400];
    struct err e = {0};
    struct watermark *w = make();
    (void)state;
    for (uint32_t i = 0; i < 3; i++) expect(w, i);
    (void)take(w, 0, 500, out);
    (void)take(w, 1, 300, out);
    (void)take(w, 2, 900, out);
    assert_int_equal(mark(w), 300);
    leave(w, 1); /* the slowest: those that stay decide */
    assert_int_equal(mark(w), 500);
    leave(w, 2); /* the fastest */
    assert_ok(watermark_idle(w, (struct event_position){0, 0, 0}, &e), &e);
    assert_int_equal(mark(w), 500); /* all that are read are idle: 900 is not ours to know */
    leave(w, 0);
    assert_int_equal(mark(w), 500);
    expect(w, 2); /* back, and waited for: it is as far as it was */
    assert_int_equal(mark(w), 500);
    expect(w, 1);
    (void)take(w, 2, 950, out);
    assert_int_equal(mark(w), 500);
    (void)take(w, 1, 700, out);
    assert_int_equal(mark(w), 700); /* 0 is elsewhere */
    expect(w, 0);
    (void)take(w, 1, 800, out);
    assert_int_equal(mark(w), 700); /* an idle one that comes back is no longer idle */
    (void)take(w, 0, 760, out);
    assert_int_equal(mark(w), 760);
    watermark_free(w);
}

static void test_a_restart_moves_nothing_until_partitions_are_back(void **state)
{
    char out[400];
    struct err e = {0};
    struct buf packed = {0};
    struct watermark *w = make(), *again = make();
    (void)state;
    for (uint32_t i = 0; i < 3; i++) expect(w, i);
    (void)take(w, 0, 500, out);
    (void)take(w, 1, 300, out);
    (void)take(w, 2, 900, out);
    leave(w, 1);
    watermark_encode(&packed, w);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    assert_ok(watermark_decode(again, &r, &e), &e);
    (void)take(again, 0, 550, out); /* still left: as in w */
    assert_int_equal(mark(again), 550);
    watermark_leave_all(again);
    assert_int_equal(mark(again), 550);
    expect(again, 2);
    assert_int_equal(mark(again), 550); /* joining alone moves nothing */
    expect(again, 1);
    (void)take(again, 2, 950, out);
    assert_int_equal(mark(again), 550);
    leave(again, 1);
    assert_int_equal(mark(again), 950);
    for (size_t i = 0; i + 1 < packed.n; i++) /* flags that nothing writes */
        if (packed.p[i] == 2) packed.p[i] = 4;
    r = buf_reader(packed.p, packed.n);
    struct watermark *bad = make();
    assert_int_equal(watermark_decode(bad, &r, &e), STATUS_CORRUPT);
    watermark_free(bad);
    buf_fini(&packed);
    watermark_free(w);
    watermark_free(again);
}

static void test_a_lone_jump_is_rejected(void **state)
{
    char out[400];
    struct watermark *w = make();
    (void)state;
    (void)take(w, 0, 0, out);
    assert_string_equal(take(w, 0, JUMP, out), "t10000"); /* just as far as it may */
    assert_string_equal(take(w, 0, 2 * JUMP + 1, out), "-");
    assert_int_equal(mark(w), JUMP);
    assert_int_equal(watermark_held(w), 1);
    assert_string_equal(take(w, 0, JUMP + 5, out), "x20001 t10005");
    assert_int_equal(mark(w), JUMP + 5);
    assert_int_equal(watermark_held(w), 0);
    watermark_free(w);
}

static void test_a_jump_that_later_events_agree_with_is_taken(void **state)
{
    char out[400];
    struct watermark *w = make();
    (void)state;
    (void)take(w, 0, 0, out);
    assert_string_equal(take(w, 0, 100000, out), "-");
    assert_string_equal(take(w, 0, 100500, out), "-");
    assert_string_equal(take(w, 0, 99000, out), "-");
    assert_int_equal(mark(w), 0);
    assert_string_equal(take(w, 0, 101000, out), "t100000 t100500 t99000 t101000 -"); /* it was copied too */
    assert_int_equal(mark(w), 101000);
    assert_string_equal(take(w, 0, 101001, out), "t101001");
    watermark_free(w);
}

static void test_claims_that_disagree_replace_each_other(void **state)
{
    char out[400];
    struct watermark *w = make();
    (void)state;
    (void)take(w, 0, 0, out);
    assert_string_equal(take(w, 0, 100000, out), "-");
    assert_string_equal(take(w, 0, 900000, out), "x100000 -");
    assert_string_equal(take(w, 0, 900001, out), "-");
    assert_string_equal(take(w, 0, 100000, out), "x900000 x900001 -");
    assert_string_equal(take(w, 0, 1, out), "x100000 t1");
    assert_int_equal(mark(w), 1);
    watermark_free(w);
}

static void test_partitions_are_guarded_apart_and_flush_rejects(void **state)
{
    char out[400];
    const struct source_record *rec;
    struct watermark *w = make();
    size_t rejected = 0;
    (void)state;
    (void)take(w, 0, 0, out);
    (void)take(w, 1, 0, out);
    assert_string_equal(take(w, 0, 100000, out), "-");
    assert_string_equal(take(w, 1, 200000, out), "-");
    assert_string_equal(take(w, 1, 200001, out), "-");
    while (watermark_held(w) > 0) {
        watermark_flush(w);
        while (watermark_decided(w, &rec) == STATUS_OK) rejected += rec->kind == SOURCE_REJECT;
    }
    assert_int_equal(rejected, 3);
    watermark_free(w);
}

static void test_packed_state_goes_on_as_if_never_stopped(void **state)
{
    static const struct {
        uint32_t partition;
        int64_t time;
    } steps[] = {{0, 0}, {1, 50},     {0, 100000}, {0, 100001}, {1, 60}, {0, 100002},
                 {2, 5}, {0, 100003}, {1, 300000}, {1, 70},     {2, 80}};
    struct err e = {0};
    struct watermark *w = make(), *p = make();
    char a[400], b[400];
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct buf packed = {0};
        assert_string_equal(take(w, steps[i].partition, steps[i].time, a),
                            take(p, steps[i].partition, steps[i].time, b));
        if (i == 4) {
            assert_ok(watermark_idle(w, (struct event_position){0, 1, 0}, &e), &e);
            assert_ok(watermark_idle(p, (struct event_position){0, 1, 0}, &e), &e);
        }
        watermark_encode(&packed, p);
        watermark_free(p);
        for (size_t n = 0; n <= packed.n; n++) { /* cut short: refused */
            struct buf_reader r = buf_reader(packed.p, n);
            p = make();
            const enum status st = watermark_decode(p, &r, &e);
            assert_int_equal(st == STATUS_OK, n == packed.n);
            if (n < packed.n) watermark_free(p);
        }
        assert_int_equal(mark(w), mark(p));
        assert_int_equal(watermark_held(w), watermark_held(p));
        buf_fini(&packed);
    }
    watermark_free(w);
    watermark_free(p);
}

static enum status take_once(void)
{
    struct watermark *w = NULL;
    struct err e = {0};
    enum status st = watermark_new(&w, conf, &e);
    for (int i = 0; st == STATUS_OK && i < 3; i++) {
        struct source_record rec = {.kind = SOURCE_EVENT, .event = {.time_ms = AT + i * 50000, .item = STR("a")}};
        bool held;
        st = watermark_take(w, &rec, &held, &e);
    }
    watermark_free(w);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    FAIL_EACH_ALLOCATION(n, take_once());
    assert_true(n >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_the_slowest_partition_and_never_goes_back),
        cmocka_unit_test(test_idle_partitions_hold_nothing_back),
        cmocka_unit_test(test_partitions_that_left_neither_hold_nor_move_it),
        cmocka_unit_test(test_a_restart_moves_nothing_until_partitions_are_back),
        cmocka_unit_test(test_a_lone_jump_is_rejected),
        cmocka_unit_test(test_a_jump_that_later_events_agree_with_is_taken),
        cmocka_unit_test(test_claims_that_disagree_replace_each_other),
        cmocka_unit_test(test_partitions_are_guarded_apart_and_flush_rejects),
        cmocka_unit_test(test_packed_state_goes_on_as_if_never_stopped),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
