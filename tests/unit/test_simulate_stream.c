/* test_simulate_stream.c - the log: equal bytes, time order, announcements first, labels in time, and what is reachable. */
#include "simulate/stream.h"
#include "tests/support/check.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct log {
    struct buf text;
    int64_t last_ms;
    uint64_t lines, stop_at; /* stop_at 0: never */
};

static enum status keep(void *user, int64_t time_ms, struct str text)
{
    struct log *l = user;
    assert_true(time_ms >= l->last_ms);
    assert_true(text.n > 2 && text.p[text.n - 1] == '\n' && memchr(text.p, '\n', text.n - 1) == NULL);
    l->last_ms = time_ms;
    buf_put(&l->text, text.p, text.n);
    l->lines++;
    return l->stop_at > 0 && l->lines == l->stop_at ? STATUS_END : STATUS_OK;
}

static enum status drop(void *user, int64_t time_ms, struct str text)
{
    (void)user;
    (void)time_ms;
    (void)text;
    return STATUS_OK;
}

static struct shop_options small(uint64_t events)
{
    struct shop_options o;
    shop_defaults(&o);
    o.users = 100;
    o.items = 80;
    o.events = events;
    return o;
}

static struct log log_of(const struct shop_options *o, struct stream_truth *t)
{
    struct log l = {0};
    struct err e = {0};
    assert_ok(stream_run(o, false, keep, &l, t, &e), &e);
    return l;
}

static void test_same_seed_same_bytes_another_seed_other_bytes(void **state)
{
    (void)state;
    struct shop_options o = small(3000);
    struct stream_truth t;
    struct log a = log_of(&o, &t), b = log_of(&o, &t);
    o.seed = 2;
    struct log c = log_of(&o, &t);
    assert_int_equal(a.lines, 3000);
    assert_int_equal(a.text.n, b.text.n);
    assert_memory_equal(a.text.p, b.text.p, a.text.n);
    assert_true(a.text.n != c.text.n || memcmp(a.text.p, c.text.p, a.text.n) != 0);
    buf_fini(&a.text);
    buf_fini(&b.text);
    buf_fini(&c.text);
}

/* What a reader of the log knows while it reads. */
struct reader {
    bool announced[80];
    json_t *shown; /* request → items */
    uint64_t lists, clicks, purchases, items, late_items;
};

static void read_line(struct reader *r, json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const char *request = json_string_value(json_object_get(event, "request"));
    const char *item = json_string_value(json_object_get(event, "item"));
    json_t *items = json_object_get(event, "items"), *one;
    size_t i;
    assert_non_null(type);
    if (strcmp(type, "item") == 0) {
        const unsigned long number = strtoul(item + 1, NULL, 10);
        assert_true(number < 80 && !r->announced[number]);
        r->announced[number] = true;
        r->items++;
        r->late_items += r->lists > 0;
    } else if (strcmp(type, "impression") == 0) {
        json_array_foreach(items, i, one) assert_true(r->announced[strtoul(json_string_value(one) + 1, NULL, 10)]);
        assert_int_equal(json_object_set(r->shown, request, items), 0);
        r->lists++;
    } else {
        bool found = false;
        json_array_foreach(json_object_get(r->shown, request), i, one) found |=
            strcmp(json_string_value(one), item) == 0;
        assert_true(found); /* shown before, in that list */
        r->clicks += strcmp(type, "click") == 0;
        r->purchases += strcmp(type, "purchase") == 0;
    }
}

static void test_lines_are_in_order_and_speak_of_what_was_shown(void **state)
{
    (void)state;
    const struct shop_options o = small(8000);
    struct stream_truth t;
    struct log l = log_of(&o, &t);
    struct reader r = {.shown = json_object()};
    int64_t last_ms = 0;
    const char *line = (const char *)l.text.p, *const end = line + l.text.n;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        json_error_t je;
        json_t *event = json_loadb(line, (size_t)(newline - line), JSON_REJECT_DUPLICATES, &je);
        assert_non_null(event);
        const int64_t time_ms = json_integer_value(json_object_get(event, "time"));
        assert_true(time_ms >= last_ms);
        last_ms = time_ms;
        read_line(&r, event);
        json_decref(event);
        line = newline + 1;
    }
    assert_int_equal(r.items + r.lists + r.clicks + r.purchases, 8000);
    assert_true(r.late_items > 10 && r.clicks > 1000 && r.purchases > 100);
    assert_true(r.lists == t.lists && r.clicks == t.clicks && r.purchases == t.purchases);
    json_decref(r.shown);
    buf_fini(&l.text);
}

static struct stream_truth truth_of(const struct shop_options *o)
{
    struct stream_truth t;
    struct err e = {0};
    assert_ok(stream_run(o, true, drop, NULL, &t, &e), &e);
    return t;
}

static void test_the_filter_beats_chance_and_stays_under_the_oracle(void **state)
{
    (void)state;
    const struct shop_options short_log = small(8000), long_log = small(30000);
    const struct stream_truth early = truth_of(&short_log), late = truth_of(&long_log);
    assert_true(early.best_auc > 0.52 && late.best_auc > 0.65); /* a constant has 0.5; the first window is blind */
    assert_true(late.best_auc > early.best_auc + 0.02);         /* it goes on learning */
    assert_true(late.oracle_auc > late.best_auc + 0.01 && late.oracle_auc < 0.95);
    assert_true(late.best_gauc > 0.6 && late.best_gauc < late.oracle_auc);
}

/* Clicks that come after the window are nobody's: the truth, too, is judged without them. */
static void test_late_clicks_do_not_count(void **state)
{
    (void)state;
    struct shop_options o = small(20000);
    const struct stream_truth in_time = truth_of(&o);
    o.delay_ms = 1e7;
    o.window_ms = 1000;
    const struct stream_truth late = truth_of(&o);
    assert_true(in_time.best_auc > 0.65);
    assert_true(late.clicks > 1000);
    assert_true(!isfinite(late.best_auc) || late.best_auc < 0.6); /* hardly a label to learn from */
}

static void test_without_the_filter_its_figures_are_absent(void **state)
{
    (void)state;
    const struct shop_options o = small(3000);
    struct stream_truth t;
    struct log l = log_of(&o, &t);
    struct buf b = {0};
    assert_true(isnan(t.best_auc) && isnan(t.best_gauc) && t.oracle_auc > 0.6);
    stream_write_truth(&b, &o, &t);
    json_t *j = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_null(json_object_get(j, "best_auc")));
    assert_true(fabs(json_real_value(json_object_get(j, "oracle_auc")) - t.oracle_auc) < 1e-6);
    assert_int_equal(json_integer_value(json_object_get(j, "events")), 3000);
    json_decref(j);
    buf_fini(&b);
    buf_fini(&l.text);
}

static void test_a_caller_that_ends_it_is_heard(void **state)
{
    (void)state;
    const struct shop_options o = small(3000);
    struct log l = {.stop_at = 500};
    struct stream_truth t;
    struct err e = {0};
    assert_int_equal(stream_run(&o, true, keep, &l, &t, &e), STATUS_END);
    assert_int_equal(l.lines, 500);
    assert_int_equal(t.lines, 500);
    assert_true(isfinite(t.oracle_auc) && isfinite(t.best_auc));
    buf_fini(&l.text);
}

static enum status run(const struct shop_options *o)
{
    struct stream_truth t;
    struct err e = {0};
    return stream_run(o, true, drop, NULL, &t, &e);
}

static void test_run_survives_each_failing_allocation(void **state)
{
    (void)state;
    const struct shop_options o = small(250);
    long n;
    FAIL_EACH_ALLOCATION(n, run(&o));
    assert_true(n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_bytes_another_seed_other_bytes),
        cmocka_unit_test(test_lines_are_in_order_and_speak_of_what_was_shown),
        cmocka_unit_test(test_the_filter_beats_chance_and_stays_under_the_oracle),
        cmocka_unit_test(test_late_clicks_do_not_count),
        cmocka_unit_test(test_without_the_filter_its_figures_are_absent),
        cmocka_unit_test(test_a_caller_that_ends_it_is_heard),
        cmocka_unit_test(test_run_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
