/* test_join.c - which slate a behaviour marks, when slates settle, what is late, bounds, and that the state packs. */
#include "tests/support/check.h"

#include "base/hash.h"
#include "ingest/join.h"
#include <stdio.h>
#include <string.h>

#define AT 1600000000000

static struct conf *conf;
static struct event_item items[EVENT_ITEMS_MAX];
static char names[EVENT_ITEMS_MAX][16];

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "join.window_ms", "1000", &e), &e);
    assert_ok(conf_set(conf, "join.open_slates", "50", &e), &e);
    assert_ok(conf_set(conf, "join.wait_ms", "100", &e), &e);
    assert_ok(conf_set(conf, "type.purchase.weight", "3", &e), &e);
    assert_ok(conf_set(conf, "type.dislike.weight", "2", &e), &e);
    for (int i = 0; i < EVENT_ITEMS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "i%d", i);
        items[i].item = str_from(names[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static struct join *make(void)
{
    struct join *j = NULL;
    struct err e = {0};
    assert_ok(join_new(&j, conf, &e), &e);
    return j;
}

/* An impression of items i<first>, ... */
static void show(struct join *j, uint64_t slate, const char *user, const char *request, int64_t time, uint32_t first,
                 uint32_t n)
{
    struct event ev = {.kind = EVENT_IMPRESSION, .time_ms = AT + time, .items = items + first, .n_items = n};
    struct err e = {0};
    ev.user = str_from(user);
    ev.request = str_from(request);
    assert_ok(join_open(j, slate, &ev, &e), &e);
}

static bool act(struct join *j, uint8_t type, const char *user, const char *request, int64_t time, uint32_t item)
{
    struct event ev = {.kind = EVENT_BEHAVIOUR, .type = type, .time_ms = AT + time, .item = items[item].item};
    struct err e = {0};
    bool matched = false;
    ev.user = str_from(user);
    ev.request = str_from(request);
    assert_ok(join_mark(j, &ev, &matched, &e), &e);
    return matched;
}

/* Settled slates as "slate:label*weight,…;" */
static const char *settle(struct join *j, int64_t watermark, char out[2000])
{
    struct join_settled s;
    size_t n = 0;
    out[0] = 0;
    while (join_settle(j, watermark == INT64_MAX ? watermark : AT + watermark, &s, NULL) == STATUS_OK) {
        n += (size_t)snprintf(out + n, 2000 - n, "%llu:", (unsigned long long)s.slate);
        for (uint32_t i = 0; i < s.n; i++)
            n += (size_t)snprintf(out + n, 2000 - n, "%g*%g%s", (double)s.labels[i], (double)s.weights[i],
                                  i + 1 < s.n ? "," : ";");
    }
    return out;
}

static void test_a_slate_settles_whole_after_its_window(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 7, "u", "r", 0, 0, 3);
    assert_true(act(j, EVENT_CLICK, "u", "r", 500, 1));
    assert_string_equal(settle(j, 1000, out), ""); /* an event at the window's last moment may still come */
    assert_true(act(j, EVENT_CLICK, "u", "r", 1000, 2));
    assert_string_equal(settle(j, 1001, out), "7:0*1,1*1,1*1;");
    assert_int_equal(join_open_count(j), 0);
    assert_false(act(j, EVENT_CLICK, "u", "r", 900, 0));
    assert_int_equal(join_counts(j)->late, 1);
    assert_int_equal(join_counts(j)->matched, 2);
    assert_int_equal(join_counts(j)->unmatched, 0);
    join_free(j);
}

static void test_a_request_names_its_slate_alone(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 1, "u", "r1", 0, 0, 2);
    show(j, 2, "u", "r2", 10, 0, 2);
    assert_true(act(j, EVENT_CLICK, "u", "r1", 20, 0));
    assert_true(act(j, EVENT_CLICK, NULL, "r1", 20, 1));   /* the request is enough */
    assert_true(act(j, EVENT_CLICK, "u", "r1", -5, 1));    /* clocks differ */
    assert_false(act(j, EVENT_CLICK, "u", "r3", 20, 0));   /* not ours */
    assert_false(act(j, EVENT_CLICK, "u", "r1", 20, 5));   /* not shown there */
    assert_false(act(j, EVENT_CLICK, "u", "r1", 1001, 0)); /* after its window, though it is still open */
    assert_int_equal(join_counts(j)->unmatched, 2);
    assert_int_equal(join_counts(j)->late, 1);
    assert_string_equal(settle(j, INT64_MAX, out), "1:1*1,1*1;2:0*1,0*1;");
    join_free(j);
}

static void test_without_a_request_the_newest_slate_that_shows_it(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 1, "u", NULL, 0, 0, 3);
    show(j, 2, "u", NULL, 100, 0, 2);
    show(j, 3, "v", NULL, 200, 0, 3);
    show(j, 4, "u", NULL, 50, 0, 3); /* came late: older than 2 */
    assert_true(act(j, EVENT_CLICK, "u", NULL, 150, 0));
    assert_true(act(j, EVENT_CLICK, "u", NULL, 150, 2));  /* 2 does not show it: 4 */
    assert_true(act(j, EVENT_CLICK, "u", NULL, 20, 1));   /* before 2 and 4 were shown: 1 */
    assert_true(act(j, EVENT_CLICK, "u", NULL, 1045, 2)); /* 1 is over, 4 not */
    assert_true(act(j, EVENT_CLICK, "u", NULL, 1099, 1)); /* 4 is over, 2 not */
    assert_false(act(j, EVENT_CLICK, "u", NULL, 1099, 2));
    assert_false(act(j, EVENT_CLICK, "w", NULL, 150, 0));
    assert_false(act(j, EVENT_CLICK, NULL, NULL, 150, 0));
    assert_string_equal(settle(j, INT64_MAX, out), "1:0*1,1*1,0*1;4:0*1,0*1,1*1;2:1*1,1*1;3:0*1,0*1,0*1;");
    join_free(j);
}

static void test_an_unfinished_order_marks_early_or_leaves_no_trace(void **state)
{
    char out[2000];
    struct join *j = make();
    struct event ev = {.kind = EVENT_BEHAVIOUR, .type = EVENT_PURCHASE, .time_ms = AT + 20, .item = items[1].item};
    (void)state;
    show(j, 1, "u", "r1", 0, 0, 2);
    ev.user = str_from("u");
    assert_true(join_mark_early(j, &ev));
    ev.item = items[7].item; /* not shown */
    assert_false(join_mark_early(j, &ev));
    ev.item = items[0].item;
    ev.time_ms = AT + 1001; /* after its window */
    ev.request = str_from("r1");
    assert_false(join_mark_early(j, &ev));
    assert_int_equal(join_counts(j)->matched, 1);
    assert_int_equal(join_counts(j)->unmatched + join_counts(j)->late, 0);
    assert_string_equal(settle(j, INT64_MAX, out), "1:0*1,1*3;");
    join_free(j);
}

static void test_types_weigh_and_reverse_nothing(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 1, "u", "r", 0, 0, 5);
    assert_true(act(j, EVENT_CLICK, "u", "r", 1, 0));
    assert_true(act(j, EVENT_PURCHASE, "u", "r", 2, 0)); /* the strongest counts */
    assert_true(act(j, EVENT_CLICK, "u", "r", 3, 0));
    assert_true(act(j, EVENT_DISLIKE, "u", "r", 4, 1)); /* negative, and heavy */
    assert_true(act(j, EVENT_CLICK, "u", "r", 5, 2));
    assert_true(act(j, EVENT_DISLIKE, "u", "r", 6, 2)); /* never takes a positive back */
    assert_true(act(j, EVENT_DISLIKE, "u", "r", 7, 3));
    assert_true(act(j, EVENT_CLICK, "u", "r", 8, 3)); /* positive after all, with its own weight */
    assert_true(act(j, EVENT_VIEW, "u", "r", 9, 4));  /* merely met */
    assert_string_equal(settle(j, INT64_MAX, out), "1:1*3,0*2,1*1,1*1,0*1;");
    join_free(j);
}

static void show_learnt(struct join *j, uint64_t slate, const char *user, const char *request, int64_t time,
                        uint32_t first, uint32_t n)
{
    show(j, slate, user, request, time, first, n);
    join_learnt(j);
}

/* The last mark's copy as "slate.place+weight" (first: "!"), negatives with "-"; "" none. */
static const char *copy_of(struct join *j, char out[60])
{
    struct join_copy c;
    out[0] = 0;
    if (join_copy(j, &c))
        (void)snprintf(out, 60, "%llu.%u%c%g%s", (unsigned long long)c.slate, c.place, c.positive ? '+' : '-',
                       (double)c.weight, c.first ? "!" : "");
    return out;
}

static void test_marks_are_copies_where_the_slate_was_learnt_before(void **state)
{
    char out[60];
    struct err e = {0};
    (void)state;
    struct join *j = make();
    show(j, 1, "u", "r", 0, 0, 3);
    (void)act(j, EVENT_CLICK, "u", "r", 1, 0);
    assert_string_equal(copy_of(j, out), ""); /* waiting learns the whole at its end */
    join_free(j);
    assert_ok(conf_set(conf, "join.loss", "fnw", &e), &e);
    j = make();
    show_learnt(j, 1, "u", "r", 0, 0, 3);
    show(j, 2, "u", "later", 0, 0, 3); /* the line may be kept from learning */
    (void)act(j, EVENT_CLICK, "u", "later", 1, 0);
    assert_string_equal(copy_of(j, out), "");
    (void)act(j, EVENT_VIEW, "u", "r", 1, 0);
    assert_string_equal(copy_of(j, out), "");
    (void)act(j, EVENT_CLICK, "u", "r", 1, 0);
    assert_string_equal(copy_of(j, out), "1.0+1!");
    (void)act(j, EVENT_CLICK, "u", "r", 2, 0); /* said before */
    assert_string_equal(copy_of(j, out), "");
    (void)act(j, EVENT_PURCHASE, "u", "r", 3, 0); /* weighs 3: the difference */
    assert_string_equal(copy_of(j, out), "1.0+2");
    (void)act(j, EVENT_DISLIKE, "u", "r", 4, 1); /* a negative of 2, learnt as one of 1 */
    assert_string_equal(copy_of(j, out), "1.1-1");
    (void)act(j, EVENT_PURCHASE, "u", "r", 5, 1);
    assert_string_equal(copy_of(j, out), "1.1+3!");
    (void)act(j, EVENT_CLICK, "u", "other", 6, 2); /* no list of ours */
    assert_string_equal(copy_of(j, out), "");
    assert_int_equal(join_counts(j)->duplicate, 1);
    join_free(j);
    assert_ok(conf_set(conf, "join.loss", "wait", &e), &e);
}

/* Slates as "slate:label(early)…;" with "~" where only the wait is over. */
static const char *settle_early(struct join *j, int64_t watermark, char out[2000])
{
    struct join_settled s;
    size_t n = 0;
    out[0] = 0;
    while (join_settle(j, watermark == INT64_MAX ? watermark : AT + watermark, &s, NULL) == STATUS_OK) {
        if (!s.ended) join_learnt(j);
        n += (size_t)snprintf(out + n, 2000 - n, "%s%llu@%lld:", s.ended ? "" : "~", (unsigned long long)s.slate,
                              (long long)(s.due_ms - AT));
        for (uint32_t i = 0; i < s.n; i++) {
            n += (size_t)snprintf(out + n, 2000 - n, "%g", (double)s.labels[i]);
            if (s.early != NULL && s.learnt) n += (size_t)snprintf(out + n, 2000 - n, "(%u)", (unsigned)s.early[i]);
        }
        n += (size_t)snprintf(out + n, 2000 - n, ";");
    }
    return out;
}

static void test_importance_hands_a_slate_out_twice(void **state)
{
    char out[2000];
    struct err e = {0};
    (void)state;
    assert_ok(conf_set(conf, "join.loss", "importance", &e), &e);
    struct join *j = make();
    show(j, 1, "u", "r1", 0, 0, 3);
    show(j, 2, "u", "r2", 50, 0, 2);
    (void)act(j, EVENT_CLICK, "u", "r1", 60, 1);
    assert_string_equal(copy_of(j, out), ""); /* it will be learnt with the slate */
    assert_string_equal(settle_early(j, 100, out), "");
    assert_string_equal(settle_early(j, 101, out), "~1@100:010;");
    (void)act(j, EVENT_CLICK, "u", "r1", 120, 2);
    assert_string_equal(copy_of(j, out), "1.2+1!");
    assert_string_equal(settle_early(j, 900, out), "~2@150:00;");
    show(j, 3, "u", "r3", 880, 0, 1);
    /* at one watermark: by time, whichever of the two it is */
    assert_string_equal(settle_early(j, 2000, out), "~3@980:0;1@1000:0(0)1(1)1(0);2@1050:0(0)0(0);3@1880:0(0);");
    assert_int_equal(join_counts(j)->expired, 2);
    for (uint64_t i = 0; i < 400; i++) { /* too many: closed before they were learnt from */
        show(j, 10 + i, "u", NULL, 3000 + (int64_t)i / 8, 0, 1);
        (void)settle_early(j, 3000 + (int64_t)i / 8, out);
    }
    assert_int_equal(join_counts(j)->early_settled, 350);
    (void)settle_early(j, 3200, out);
    assert_int_equal(strlen(out), 50 * strlen("~310@3137:0;"));
    join_free(j);
    assert_ok(conf_set(conf, "join.loss", "wait", &e), &e);
}

static uint32_t seen_of_next(struct join *j)
{
    struct join_settled s;
    assert_int_equal(join_settle(j, INT64_MAX, &s, NULL), STATUS_OK);
    return s.n_seen;
}

static void test_a_list_read_from_above_counts_to_its_last_mark(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_set(conf, "join.cascade", "true", &e), &e);
    struct join *j = make();
    show(j, 1, "u", "r1", 0, 0, 5);
    show(j, 2, "u", "r2", 1, 0, 5);
    show(j, 3, "u", "r3", 2, 0, 5);
    (void)act(j, EVENT_CLICK, "u", "r1", 10, 2);
    (void)act(j, EVENT_CLICK, "u", "r1", 11, 0);
    (void)act(j, EVENT_VIEW, "u", "r1", 12, 4);    /* says nothing */
    (void)act(j, EVENT_DISLIKE, "u", "r2", 12, 3); /* was looked at */
    assert_int_equal(seen_of_next(j), 3);
    assert_int_equal(seen_of_next(j), 4);
    assert_int_equal(seen_of_next(j), 5); /* nothing stopped it */
    join_free(j);
    assert_ok(conf_set(conf, "eval.conversion", "view", &e), &e);
    j = make();
    show(j, 1, "u", "r1", 0, 0, 5);
    (void)act(j, EVENT_CLICK, "u", "r1", 10, 1);
    (void)act(j, EVENT_VIEW, "u", "r1", 11, 3); /* without a label, and converts */
    assert_int_equal(seen_of_next(j), 4);
    join_free(j);
    assert_ok(conf_set(conf, "eval.conversion", "purchase", &e), &e);
    assert_ok(conf_set(conf, "join.cascade", "false", &e), &e);
}

static void test_settling_order_is_by_due_time_then_slate(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 5, "a", NULL, 100, 0, 1);
    show(j, 9, "b", NULL, 50, 0, 1);
    show(j, 3, "c", NULL, 100, 0, 1);
    show(j, 4, "d", NULL, 0, 0, 1);
    assert_string_equal(settle(j, 1001, out), "4:0*1;");
    assert_string_equal(settle(j, 5000, out), "9:0*1;3:0*1;5:0*1;");
    join_free(j);
}

static void test_beyond_the_bound_the_oldest_settles_early(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    for (uint64_t i = 0; i < 52; i++) show(j, i + 1, "u", NULL, (int64_t)i, 0, 1);
    assert_string_equal(settle(j, 52, out), "1:0*1;2:0*1;");
    assert_int_equal(join_counts(j)->early_settled, 2);
    assert_int_equal(join_open_count(j), 50);
    join_free(j);
}

static void test_a_request_shown_again_belongs_to_the_later_slate(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 1, "u", "r", 0, 0, 1);
    show(j, 2, "u", "r", 10, 0, 1);
    assert_string_equal(settle(j, 1005, out), "1:0*1;");
    assert_true(act(j, EVENT_CLICK, "u", "r", 20, 0)); /* the earlier one's end takes nothing from the later */
    assert_string_equal(settle(j, INT64_MAX, out), "2:1*1;");
    join_free(j);
}

/* Page by page: what is clicked on the first one after the second was shown. */
static void test_a_request_shown_in_pages_is_marked_on_each(void **state)
{
    char out[2000];
    struct join *j = make();
    (void)state;
    show(j, 1, "u", "r", 0, 0, 2);
    show(j, 2, "u", "r", 10, 2, 2);
    show(j, 3, "u", "r", 20, 4, 2);
    assert_true(act(j, EVENT_CLICK, "u", "r", 30, 1));
    assert_true(act(j, EVENT_CLICK, "u", "r", 30, 2));
    assert_true(act(j, EVENT_CLICK, "u", "r", 30, 5));
    assert_false(act(j, EVENT_CLICK, "u", "r", 30, 9));
    assert_string_equal(settle(j, 1005, out), "1:0*1,1*1;");
    assert_false(act(j, EVENT_CLICK, "u", "r", 1006, 0)); /* of the page that is over */
    assert_int_equal(join_counts(j)->late, 1);
    assert_true(act(j, EVENT_CLICK, "u", "r", 1006, 3));
    assert_string_equal(settle(j, INT64_MAX, out), "2:1*1,1*1;3:0*1,1*1;");
    join_free(j);
}

static void feed(struct join *j, struct buf *log, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        char user[8], request[12], out[2000];
        const uint32_t r = (i * 2654435761u) >> 5;
        const int64_t now = i * 20;
        (void)snprintf(user, sizeof user, "u%u", r % 13);
        (void)snprintf(request, sizeof request, "r%u", i - r % 60);
        if (i % 3 == 0) {
            (void)snprintf(request, sizeof request, "r%u", i);
            (r % 3 ? show_learnt : show)(j, i + 1, r % 7 ? user : NULL, r % 5 ? request : NULL, now - r % 4 * 30,
                                         r % 50, 1 + r % 9);
        } else {
            const uint8_t type = (uint8_t)(r % EVENT_TYPES_BUILTIN);
            buf_printf(log, "%d", act(j, type, r % 4 ? user : NULL, r % 2 ? request : NULL, now - r % 90, r % 60));
            buf_printf(log, "%s", copy_of(j, out));
        }
        buf_printf(log, "%s", settle_early(j, now, out));
    }
}

static void goes_on_as_if_never_stopped(const char *loss)
{
    struct buf whole = {0}, parts = {0}, packed = {0};
    struct err e = {0};
    assert_ok(conf_set(conf, "join.loss", loss, &e), &e);
    struct join *j = make(), *p = make();
    feed(j, &whole, 0, 3000);
    for (uint32_t i = 0; i < 3000; i += 200) {
        feed(p, &parts, i, i + 200);
        buf_clear(&packed);
        join_encode(&packed, p);
        join_free(p);
        p = make();
        struct buf_reader r = buf_reader(packed.p, packed.n);
        assert_ok(join_decode(p, &r, &e), &e);
        assert_int_equal(buf_left(&r), 0);
    }
    assert_int_equal(whole.n, parts.n);
    assert_memory_equal(whole.p, parts.p, whole.n);
    if (join_counts(j)->matched < 50 || join_counts(j)->late < 10 || join_counts(j)->unmatched < 50)
        fail_msg("matched %d, late %d, unmatched %d", (int)join_counts(j)->matched, (int)join_counts(j)->late,
                 (int)join_counts(j)->unmatched);
    assert_memory_equal(join_counts(j), join_counts(p), sizeof *join_counts(j));
    for (size_t n = 0; n < packed.n; n += 97) {
        struct join *q = make();
        struct buf_reader r = buf_reader(packed.p, n);
        assert_true(join_decode(q, &r, &e) != STATUS_OK);
        join_free(q);
    }
    join_free(j);
    join_free(p);
    buf_fini(&whole);
    buf_fini(&parts);
    buf_fini(&packed);
    assert_ok(conf_set(conf, "join.loss", "wait", &e), &e);
}

static void test_packed_state_goes_on_as_if_never_stopped(void **state)
{
    (void)state;
    goes_on_as_if_never_stopped("wait");
    goes_on_as_if_never_stopped("fnw");
    goes_on_as_if_never_stopped("importance");
}

/* Format 1, as the version before wrote it: one settled request, one open slate. */
static void test_format_1_is_still_read(void **state)
{
    char out[2000];
    struct err e = {0};
    struct buf b = {0};
    (void)state;
    buf_u8(&b, 1);
    for (uint64_t i = 0; i < 4; i++) buf_u64(&b, i + 1); /* counts */
    buf_varint(&b, 0);
    buf_varint(&b, 1);
    buf_u64(&b, hash_str(STR("gone")));
    buf_varint(&b, 1);
    buf_u64(&b, 9);
    buf_u64(&b, 0);
    buf_u64(&b, hash_str(STR("r")));
    buf_i64(&b, AT);
    buf_i64(&b, AT + 1000);
    buf_varint(&b, 2);
    for (uint32_t i = 0; i < 2; i++) {
        buf_u64(&b, hash_str(items[i].item));
        buf_u8(&b, i == 0 ? 2 : 0);
        buf_f32(&b, i == 0 ? 3 : 1);
    }
    struct join *j = make();
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(join_decode(j, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    assert_true(act(j, EVENT_CLICK, NULL, "r", 10, 1));
    assert_false(act(j, EVENT_CLICK, NULL, "gone", 10, 1));
    assert_int_equal(join_counts(j)->late, 4);
    assert_int_equal(join_counts(j)->duplicate, 0);
    assert_string_equal(settle(j, INT64_MAX, out), "9:1*3,1*1;");
    join_free(j);
    buf_fini(&b);
}

static void test_the_steady_state_allocates_nothing(void **state)
{
    struct buf log = {0};
    struct join *j = make();
    (void)state;
    feed(j, &log, 0, 4000);
    buf_clear(&log);
    const long total = mem_total();
    feed(j, &log, 4000, 5000);
    assert_int_equal(mem_total(), total);
    join_free(j);
    buf_fini(&log);
}

static enum status open_once(void)
{
    struct join *j = NULL;
    struct err e = {0};
    enum status st = join_new(&j, conf, &e);
    for (uint64_t i = 0; st == STATUS_OK && i < 70; i++) {
        char user[8];
        (void)snprintf(user, sizeof user, "u%u", (unsigned)i);
        struct event ev = {.kind = EVENT_IMPRESSION, .time_ms = AT, .items = items, .n_items = 3};
        ev.user = str_from(user);
        ev.request = ev.user;
        st = join_open(j, i, &ev, &e);
        if (st != STATUS_OK) assert_int_equal(join_open_count(j), i); /* as before */
    }
    join_free(j);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    FAIL_EACH_ALLOCATION(n, open_once());
    assert_true(n >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slate_settles_whole_after_its_window),
        cmocka_unit_test(test_a_request_names_its_slate_alone),
        cmocka_unit_test(test_without_a_request_the_newest_slate_that_shows_it),
        cmocka_unit_test(test_an_unfinished_order_marks_early_or_leaves_no_trace),
        cmocka_unit_test(test_types_weigh_and_reverse_nothing),
        cmocka_unit_test(test_marks_are_copies_where_the_slate_was_learnt_before),
        cmocka_unit_test(test_importance_hands_a_slate_out_twice),
        cmocka_unit_test(test_a_list_read_from_above_counts_to_its_last_mark),
        cmocka_unit_test(test_format_1_is_still_read),
        cmocka_unit_test(test_settling_order_is_by_due_time_then_slate),
        cmocka_unit_test(test_beyond_the_bound_the_oldest_settles_early),
        cmocka_unit_test(test_a_request_shown_again_belongs_to_the_later_slate),
        cmocka_unit_test(test_a_request_shown_in_pages_is_marked_on_each),
        cmocka_unit_test(test_packed_state_goes_on_as_if_never_stopped),
        cmocka_unit_test(test_the_steady_state_allocates_nothing),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
