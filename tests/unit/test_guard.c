/* test_guard.c - when learning pauses and resumes, which slates are kept from it, caps, quarantine, and all that in the state. */
#include "base/hash.h"
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/guard.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define START 1700000000000
#define MINUTE 60000

static struct conf *conf;
static struct guard *guard;
static struct slate *slate;
static struct rand rnd;
static int64_t now;
static char said[4000]; /* names of what was said, each with a blank */

static void set(const char *key, const char *value)
{
    struct err e = {0};
    assert_ok(conf_set(conf, key, value, &e), &e);
}

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(guard_new(&guard, conf, &e), &e);
    assert_ok(slate_new(&slate, &e), &e);
    rand_init(&rnd, (struct rand_key){.seed = 11, .purpose = RAND_TEST});
    now = START;
    said[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slate_free(slate);
    guard_free(guard);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static void listen(void)
{
    struct guard_note n;
    while (guard_say(guard, &n)) {
        const size_t at = strlen(said);
        (void)snprintf(said + at, sizeof said - at, "%s ", guard_said_name(n.what));
    }
}

static struct event behaviour(enum event_type type, const char *source)
{
    return (struct event){.kind = EVENT_BEHAVIOUR,
                          .type = (uint8_t)type,
                          .type_name = str_from(conf->types[type].name),
                          .time_ms = now,
                          .user = STR("u"),
                          .item = STR("i"),
                          .source = source != NULL ? str_from(source) : (struct str){0},
                          .price = (double)NAN,
                          .quantity = (double)NAN,
                          .value = (double)NAN};
}

/* A slate of ten items that was shown half an hour before now. */
static void fill(double share, const char *user, const char *source)
{
    slate_reset(slate);
    slate->source = SLATE_IMPRESSION;
    slate->time_ms = now - conf->join_window_ms;
    slate->settled_ms = now;
    slate->user = arena_str(slate->arena, str_from(user));
    slate->origin = source != NULL ? guard_source_key(str_from(source)) : 0;
    slate->items = arena_alloc(slate->arena, 10, sizeof *slate->items);
    assert_non_null(slate->items);
    memset(slate->items, 0, 10 * sizeof *slate->items);
    slate->n_items = 10;
    for (uint32_t i = 0; i < 10; i++) {
        slate->items[i].item = i;
        slate->items[i].label = rand_unit(&rnd) < share;
        slate->items[i].weight = 1.0f;
    }
}

static uint8_t keep[10];

static bool admit(void)
{
    memset(keep, 1, sizeof keep);
    return guard_admits(guard, slate, keep, now);
}

static bool settle(double share, const char *user, const char *source)
{
    static const float logits[10];
    fill(share, user, source);
    guard_settled(guard, slate, logits, now);
    return admit();
}

/* Minutes of a stream: a second brings a view, a click in three, and a settled slate; how many slates were admitted. */
static uint32_t minutes(int n, double share)
{
    uint32_t admitted = 0;
    char user[16];
    for (int i = 0; i < n * 60; i++, now += 1000) {
        struct event ev = behaviour(i % 3 == 0 ? EVENT_CLICK : EVENT_VIEW, NULL);
        (void)snprintf(user, sizeof user, "u%d", i % 50);
        guard_event(guard, &ev, now);
        admitted += settle(share, user, NULL);
    }
    listen();
    return admitted;
}

static struct report_guard figures(void)
{
    struct report_guard r;
    guard_report(guard, &r);
    return r;
}

static void test_nothing_is_said_of_a_quiet_stream(void **state)
{
    (void)state;
    assert_int_equal(minutes(2000, 0.2), 2000 * 60);
    assert_string_equal(said, "");
    assert_int_equal(figures().alarms, 0);
}

static void test_labels_that_change_pause_learning_until_they_are_back(void **state)
{
    (void)state;
    (void)minutes(200, 0.2);
    const int64_t began = now;
    const uint32_t learnt = minutes(60, 0.5);
    assert_string_equal(said, "alarm paused ");
    assert_in_range(learnt, 3 * 60, 8 * 60); /* the minutes until it was told */
    assert_true(guard_paused(guard));
    assert_non_null(strstr(guard_trouble(guard), "positives"));
    assert_int_equal(figures().paused_slates, 60 * 60 - learnt);
    assert_true(guard_counts(guard));
    set("guard.counts", "false");
    assert_false(guard_counts(guard));
    said[0] = '\0';
    (void)minutes(30, 0.2);
    assert_string_equal(said, "back resumed ");
    assert_false(guard_paused(guard));
    assert_string_equal(guard_trouble(guard), "");
    assert_int_equal(minutes(30, 0.2), 30 * 60);
    /* what was shown meanwhile is not learnt later either; what was shown before is */
    fill(0.2, "u", NULL);
    slate->time_ms = began - conf->join_window_ms + 20 * MINUTE;
    assert_false(admit());
    slate->time_ms = began - conf->join_window_ms - 20 * MINUTE;
    assert_true(admit());
    assert_int_equal(figures().pauses, 1);
    assert_in_range(figures().paused_ms, 50 * MINUTE, 70 * MINUTE);
}

static void test_a_pause_lasts_as_long_as_asked(void **state)
{
    (void)state;
    set("guard.pause_ms", "7200000");
    (void)minutes(200, 0.2);
    (void)minutes(20, 0.6);
    (void)minutes(90, 0.2);
    assert_true(guard_paused(guard));
    (void)minutes(30, 0.2);
    assert_false(guard_paused(guard));
}

static void test_a_level_that_stays_is_accepted_or_is_not(void **state)
{
    (void)state;
    (void)minutes(200, 0.2);
    (void)minutes(23 * 60, 0.6);
    assert_true(guard_paused(guard));
    (void)minutes(65, 0.6);
    assert_false(guard_paused(guard));
    assert_non_null(strstr(said, "accepted resumed "));
    assert_int_equal(figures().accepted, 1);
    set("guard.accept_ms", "0");
    (void)minutes(200, 0.6);
    (void)minutes(48 * 60, 0.2);
    assert_true(guard_paused(guard));
    set("guard.mode", "warn"); /* the operator's word */
    assert_int_equal(minutes(1, 0.2), 60);
    assert_false(guard_paused(guard));
}

static void test_a_warning_pauses_nothing_and_off_is_off(void **state)
{
    (void)state;
    set("guard.pause_on", "volume");
    assert_int_equal(minutes(200, 0.2), 200 * 60);
    assert_int_equal(minutes(20, 0.6), 20 * 60);
    assert_string_equal(said, "alarm ");
    set("guard.mode", "off");
    assert_int_equal(minutes(600, 0.9), 600 * 60);
    assert_string_equal(said, "alarm ");
}

static void test_what_was_taught_since_is_taken_back_once(void **state)
{
    int64_t since, began;
    char why[GUARD_WHY];
    (void)state;
    (void)minutes(200, 0.2);
    assert_false(guard_undo(guard, &since, why));
    began = now;
    (void)minutes(20, 0.6);
    assert_true(guard_undo(guard, &since, why));
    assert_in_range(since, began - 5 * MINUTE, began + 5 * MINUTE);
    assert_non_null(strstr(why, "labels"));
    assert_false(guard_undo(guard, &since, why));
    (void)minutes(40, 0.9);
    assert_false(guard_undo(guard, &since, why)); /* it was, in this pause */
    (void)minutes(60, 0.2);
    assert_false(guard_paused(guard));
    (void)minutes(20, 0.6); /* another one */
    assert_true(guard_undo(guard, &since, why));
    set("guard.rollback_on", "schema");
    (void)minutes(60, 0.2);
    (void)minutes(20, 0.6);
    assert_true(guard_paused(guard));
    assert_false(guard_undo(guard, &since, why));
}

/* The price of everything is gone an hour before the first list that was shown with it settles: nothing was learnt of it. */
static void test_nothing_is_taken_back_that_was_not_taught(void **state)
{
    int64_t since;
    char why[GUARD_WHY];
    (void)state;
    set("join.window_ms", "3600000");
    (void)minutes(240, 0.2);
    for (int i = 0; i < 30 * 60 && !guard_paused(guard); i++, now += 1000) {
        struct event ev = behaviour(EVENT_CLICK, NULL); /* no views any more */
        for (int k = 0; k < 2; k++) guard_event(guard, &ev, now);
        (void)settle(0.2, "u", NULL);
    }
    assert_true(guard_paused(guard));
    assert_non_null(strstr(guard_trouble(guard), "schema"));
    assert_false(guard_undo(guard, &since, why));
}

/* A line that went back says other things than the one before, for as long as nothing is learnt: that is no reason to go on
 * pausing, nor for another alarm. */
static void test_a_line_that_went_back_is_watched_anew(void **state)
{
    float logits[10];
    (void)state;
    for (int i = 0; i < 400 * 60; i++, now += 1000) {
        const bool wrong = i >= 240 * 60 && i < 270 * 60, back = i >= 250 * 60;
        const struct event ev = behaviour(i % 3 == 0 || wrong ? EVENT_CLICK : EVENT_VIEW, NULL);
        guard_event(guard, &ev, now);
        if (i == 250 * 60) {
            assert_true(guard_paused(guard));
            guard_line_changed(guard);
        }
        for (int k = 0; k < 10; k++) logits[k] = (back ? -3.0f : 0.0f) + (float)rand_unit(&rnd);
        fill(0.2, "u", NULL);
        slate->time_ms = now;
        guard_scored(guard, slate, logits, now);
    }
    assert_false(guard_paused(guard));
    assert_int_equal(figures().pauses, 1);
    assert_int_equal(figures().alarms_of[MONITOR_SCORES], 0);
}

/* Minutes in which every tenth item is positive and every logit is the same. */
static void predict(int n, float logit)
{
    float logits[10];
    for (size_t k = 0; k < 10; k++) logits[k] = logit;
    for (int i = 0; i < n * 60; i++, now += 1000) {
        const struct event ev = behaviour(i % 3 == 0 ? EVENT_CLICK : EVENT_VIEW, NULL);
        guard_event(guard, &ev, now);
        fill(0.1, "u", NULL);
        guard_settled(guard, slate, logits, now);
    }
}

static void test_a_loss_that_falls_is_no_alarm_and_one_that_rises_is(void **state)
{
    (void)state;
    predict(240, 0.0f);
    predict(240, -2.2f);
    assert_int_equal(figures().alarms_of[MONITOR_LOSS], 0);
    predict(60, 0.0f);
    assert_int_equal(figures().alarms_of[MONITOR_LOSS], 1);
}

/* What users like is turned over between these two times of showing, the share of positives stays; nobody yet. */
static int64_t turned_ms, mended_ms;
/* When a line that learns fast had learnt the turned world, and when it was taken back. */
static int64_t pupil_ms, sound_ms;

/* An hour: what a line says of half of the items, which are liked, and of the rest. */
static void turn_hours(int n, bool told)
{
    float logits[10], sound[10];
    for (int i = 0; i < n * 3600; i++, now += 1000) {
        const struct event ev = behaviour(i % 3 == 0 ? EVENT_CLICK : EVENT_VIEW, NULL);
        guard_event(guard, &ev, now);
        fill(0.0, "u", NULL);
        const int64_t shown = slate->time_ms;
        for (int k = 0; k < 10; k++) {
            const bool turned = shown >= turned_ms && shown < mended_ms, pupil = shown >= pupil_ms && shown < sound_ms;
            slate->items[k].label = rand_unit(&rnd) < ((k < 5) != turned ? 0.5 : 0.05);
            sound[k] = k < 5 ? 0.0f : -2.9f;
            logits[k] = (k < 5) != pupil ? 0.0f : -2.9f;
        }
        guard_settled(guard, slate, logits, now);
        if (told) guard_sound(guard, slate, sound);
        slate->time_ms = now;
        for (int k = 0; k < 10; k++) logits[k] = now >= pupil_ms && now < sound_ms ? -3.0f : 0.0f;
        guard_scored(guard, slate, logits, now);
    }
    listen();
}

static void turn(void)
{
    turned_ms = pupil_ms = sound_ms = mended_ms = INT64_MAX;
    turn_hours(6, false);
    assert_string_equal(said, "");
    turned_ms = now;
    pupil_ms = now + conf->join_window_ms + 3 * MINUTE; /* before the loss has an alarm of its own */
    turn_hours(1, false);
    assert_true(guard_paused(guard));
    assert_non_null(strstr(guard_trouble(guard), "scores"));
    said[0] = '\0';
}

/* Its scores are no more what they were, and the fault goes on. */
static void test_a_line_that_went_back_waits_until_it_is_right_again(void **state)
{
    (void)state;
    turn();
    sound_ms = now;
    guard_line_changed(guard);
    turn_hours(6, false);
    assert_true(guard_paused(guard));
    assert_string_equal(said, "");
    mended_ms = now;
    turn_hours(1, false);
    assert_false(guard_paused(guard));
    assert_string_equal(said, "back resumed ");
}

static void test_a_line_that_stayed_waits_until_the_one_before_is_right_again(void **state)
{
    int64_t since_ms;
    struct buf b = {0}, again = {0};
    struct guard *copy;
    struct err e;
    (void)state;
    turn();
    assert_true(guard_doubts(guard, &since_ms));
    assert_in_range(since_ms, pupil_ms - 2 * MINUTE, pupil_ms + 2 * MINUTE);
    turn_hours(6, true);
    assert_true(guard_paused(guard));
    guard_encode(&b, guard);
    assert_ok(guard_new(&copy, conf, &e), &e);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(guard_decode(copy, &r, &e), &e);
    guard_encode(&again, copy);
    assert_true(again.n == b.n && memcmp(again.p, b.p, b.n) == 0);
    guard_free(guard);
    guard = copy;
    buf_fini(&b);
    buf_fini(&again);
    said[0] = '\0';
    mended_ms = now;
    turn_hours(1, true);
    assert_false(guard_paused(guard));
    assert_string_equal(said, "back resumed alarm "); /* of the pupil's own loss, which is as usual no more */
}

static void test_types_attributes_volume_and_rejects_are_watched(void **state)
{
    static const char *const groups[] = {"schema", "volume", "rejects"};
    const int of[] = {MONITOR_SCHEMA, MONITOR_VOLUME, MONITOR_REJECTS};
    (void)state;
    for (int which = 0; which < 4; which++) { /* attributes, types, then the groups that are left */
        const int group = which < 2 ? 0 : which - 1;
        (void)teardown(NULL);
        (void)setup(NULL);
        for (int i = 0; i < 300 * 60; i++, now += 1000) {
            const bool wrong = i >= 240 * 60;
            struct event_attr color = {.name = STR("color"), .kind = EVENT_ATTR_TEXT, .text = STR("red")};
            struct event ev =
                behaviour(i % 3 == 0 || (wrong && which == 1 && i % 3 == 1) ? EVENT_CLICK : EVENT_VIEW, NULL);
            ev.attrs = &color;
            ev.n_attrs = which == 0 && wrong ? 0 : 1;
            for (int k = 0; k < (which == 2 && wrong ? 5 : 1); k++) guard_event(guard, &ev, now);
            if (which == 3 && wrong) guard_rejected(guard, now);
        }
        listen();
        assert_true(guard_paused(guard));
        assert_non_null(strstr(guard_trouble(guard), groups[group]));
        assert_true(figures().alarms_of[of[group]] > 0);
    }
}

static void bring(int n, int64_t ms_each)
{
    for (int i = 0; i < n; i++, now += ms_each) {
        const struct event ev = behaviour(EVENT_VIEW, NULL);
        guard_event(guard, &ev, now);
    }
    listen();
}

/* Ten times as many by day as by night, from hour to hour over three hours; then a sudden silence, and a sudden flood. */
static void test_night_and_day_pause_nothing_and_silence_does_not_a_flood_does(void **state)
{
    (void)state;
    for (int day = 0; day < 3; day++) {
        bring(12 * 3600, 1000);
        for (int step = 0; step < 36; step++)
            bring((int)(300 / pow(10, step / 36.0)), (int64_t)(1000 * pow(10, step / 36.0)));
        bring(6 * 360, 10000);
        for (int step = 36; step > 0; step--)
            bring((int)(300 / pow(10, step / 36.0)), (int64_t)(1000 * pow(10, step / 36.0)));
    }
    bring(4 * 3600, 1000);
    assert_string_equal(said, "");
    bring(2000, 10000);
    assert_string_equal(said, "alarm ");
    assert_false(guard_paused(guard));
    bring(4 * 3600, 1000);
    assert_string_equal(said, "alarm back ");
    bring(20000, 150);
    assert_string_equal(said, "alarm back alarm paused ");
}

static void test_one_user_learns_no_more_than_its_share_of_a_window(void **state)
{
    (void)state;
    uint32_t flooder = 0, other = 0;
    set("guard.user_examples", "1000");
    for (int i = 0; i < 600; i++, now += 1000) {
        flooder += settle(0.2, "flooder", NULL);
        if (i % 10 == 0) other += settle(0.2, "other", NULL);
    }
    listen();
    assert_int_equal(flooder, 100);
    assert_int_equal(other, 60);
    assert_string_equal(said, "capped "); /* once a window */
    assert_int_equal(figures().capped[0], 5000);
    now += conf->guard_window_ms;
    assert_true(settle(0.2, "flooder", NULL));
}

static void test_an_item_beyond_its_cap_is_left_out(void **state)
{
    (void)state;
    set("guard.item_examples", "50");
    set("guard.user_examples", "0");
    for (int i = 0; i < 50; i++) assert_true(settle(0.2, "u", NULL));
    fill(0.2, "u", NULL);
    slate->items[9].item = 99; /* a new one */
    assert_true(admit());
    for (int i = 0; i < 10; i++) assert_int_equal(keep[i], i == 9);
    memset(keep, 1, sizeof keep);
    keep[9] = 0; /* thinned out: it counts for nothing, nor is it capped */
    slate->items[0].item = 98;
    assert_true(guard_admits(guard, slate, keep, now));
    for (int i = 0; i < 10; i++) assert_int_equal(keep[i], i == 0);
    assert_false(settle(0.2, "u", NULL)); /* nothing is left of it */
    assert_int_equal(figures().capped[1], 9 + 8 + 10);
}

/* All its items are beyond their cap: the list takes nothing of what its user and its source may bring. */
static void test_a_refused_list_uses_no_quota_up(void **state)
{
    (void)state;
    set("guard.item_examples", "10");
    set("guard.user_examples", "100");
    set("guard.source_share", "0.5");
    for (int i = 0; i < 10; i++) assert_true(settle(0.2, "other", NULL));
    for (int i = 0; i < 50; i++) assert_false(settle(0.2, "u", "s"));
    assert_int_equal(figures().capped[1], 500);
    for (int i = 0; i < 10; i++) {
        fill(0.2, "u", "s");
        for (int k = 0; k < 10; k++) slate->items[k].item = (uint64_t)(1000 + 10 * i + k);
        assert_true(admit());
    }
    assert_int_equal(figures().capped[0] + figures().capped[2], 0);
}

static void test_a_source_brings_no_more_than_its_share(void **state)
{
    (void)state;
    uint32_t big = 0, small = 0;
    set("guard.source_share", "0.5");
    set("guard.user_examples", "0");
    for (int i = 0; i < 3000; i++) {
        big += settle(0.2, "u", "big");
        if (i % 3 == 0) small += settle(0.2, "u", "small");
    }
    assert_in_range(big, 1990, 2010); /* half of 4,000 */
    assert_int_equal(small, 1000);
    assert_true(figures().capped[2] > 0);
}

/* Slates of three sources in turn, the first of them with that share of positives. */
static uint32_t from_sources(int n_minutes, double odd)
{
    static const char *const names[] = {"bad", "good", "fine"};
    uint32_t admitted = 0;
    for (int i = 0; i < n_minutes * 60; i++, now += 1000) {
        struct event ev = behaviour(EVENT_VIEW, names[i % 3]);
        if (guard_quarantined(guard, &ev))
            guard_dropped(guard);
        else
            guard_event(guard, &ev, now);
        admitted += settle(i % 3 == 0 ? odd : 0.2, "u", names[i % 3]);
    }
    listen();
    return admitted;
}

static void test_a_source_that_explains_it_alone_is_quarantined_and_learning_goes_on(void **state)
{
    (void)state;
    set("guard.user_examples", "0");
    set("guard.quarantine_ms", "7200000");
    (void)from_sources(200, 0.2);
    const uint32_t admitted = from_sources(60, 1.0);
    assert_string_equal(said, "alarm quarantined ");
    assert_false(guard_paused(guard));
    int64_t since_ms, until_ms;
    char why[GUARD_WHY];
    const char *name;
    assert_true(guard_undo(guard, &since_ms, why)); /* what the bad one had taught by then */
    assert_in_range(since_ms, now - 62 * 60000, now - 57 * 60000);
    assert_false(guard_undo(guard, &since_ms, why));
    assert_int_equal(guard_in_quarantine(guard, &name, &until_ms), 1);
    assert_string_equal(name, "bad");
    assert_in_range(until_ms, now + 7200000 - 60 * 60000, now + 7200000 - 50 * 60000);
    assert_in_range(admitted, 40 * 60, 46 * 60); /* two thirds, and the bad third's first minutes */
    struct event bad = behaviour(EVENT_VIEW, "bad"), good = behaviour(EVENT_VIEW, "good");
    assert_true(guard_quarantined(guard, &bad));
    assert_false(guard_quarantined(guard, &good));
    assert_true(figures().quarantined_events > 50 * 20);
    said[0] = '\0';
    (void)from_sources(120, 0.2);
    assert_string_equal(said, "released ");
    assert_false(guard_quarantined(guard, &bad));
    assert_int_equal(guard_in_quarantine(guard, &name, &until_ms), 0);
    set("guard.quarantine_ms", "0");
    (void)from_sources(30, 1.0);
    assert_true(guard_paused(guard)); /* never: then the whole stream pauses */
}

/* With guard.mode=warn nothing is taken back: monitors say what they see, and a source is put aside all the same. */
static void test_a_warning_takes_nothing_back(void **state)
{
    (void)state;
    set("guard.user_examples", "0");
    set("guard.quarantine_ms", "7200000");
    set("guard.mode", "warn");
    (void)from_sources(200, 0.2);
    (void)from_sources(60, 1.0);
    assert_string_equal(said, "alarm quarantined ");
    int64_t since_ms, until_ms;
    char why[GUARD_WHY];
    const char *name;
    assert_int_equal(guard_in_quarantine(guard, &name, &until_ms), 1);
    assert_false(guard_undo(guard, &since_ms, why));
}

static void test_the_optimiser_begins_anew_once_if_asked(void **state)
{
    (void)state;
    (void)minutes(200, 0.2);
    (void)minutes(20, 0.6);
    (void)minutes(30, 0.2);
    assert_false(guard_restart(guard));
    set("guard.restart", "optimiser");
    (void)minutes(20, 0.6);
    (void)minutes(30, 0.2);
    assert_true(guard_restart(guard));
    assert_false(guard_restart(guard));
    assert_int_equal(figures().restarts, 1);
}

static void test_state_goes_on_where_it_was(void **state)
{
    (void)state;
    struct buf b = {0}, again = {0};
    struct err e = {0};
    struct guard *copy = NULL;
    set("guard.user_examples", "1000");
    (void)from_sources(200, 0.2);
    (void)minutes(20, 0.6);
    guard_encode(&b, guard);
    assert_ok(guard_new(&copy, conf, &e), &e);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(guard_decode(copy, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    guard_encode(&again, copy);
    assert_true(again.n == b.n && memcmp(again.p, b.p, b.n) == 0);
    struct guard *first = guard;
    const int64_t at = now;
    const struct rand before = rnd;
    const uint32_t admitted = from_sources(60, 0.4);
    buf_clear(&b);
    guard_encode(&b, guard);
    now = at;
    rnd = before;
    guard = copy;
    assert_int_equal(from_sources(60, 0.4), admitted);
    buf_clear(&again);
    guard_encode(&again, copy);
    assert_true(again.n == b.n && memcmp(again.p, b.p, b.n) == 0);
    guard = first;
    guard_free(copy);
    for (size_t n = 0; n < b.n; n += 97) {
        assert_ok(guard_new(&copy, conf, &e), &e);
        r = buf_reader(b.p, n);
        assert_int_equal(guard_decode(copy, &r, &e), STATUS_CORRUPT);
        guard_free(copy);
    }
    buf_fini(&b);
    buf_fini(&again);
}

static enum status make_and_drop(void)
{
    struct guard *g;
    struct err e;
    const enum status st = guard_new(&g, conf, &e);
    assert_true((g == NULL) == (st != STATUS_OK));
    guard_free(g);
    return st;
}

static void test_new_survives_each_failed_allocation(void **state)
{
    long met;
    (void)state;
    FAIL_EACH_ALLOCATION(met, make_and_drop());
    assert_int_equal(met, 4);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_nothing_is_said_of_a_quiet_stream),
        ROW(test_labels_that_change_pause_learning_until_they_are_back),
        ROW(test_a_pause_lasts_as_long_as_asked),
        ROW(test_a_level_that_stays_is_accepted_or_is_not),
        ROW(test_a_warning_pauses_nothing_and_off_is_off),
        ROW(test_what_was_taught_since_is_taken_back_once),
        ROW(test_nothing_is_taken_back_that_was_not_taught),
        ROW(test_a_line_that_went_back_is_watched_anew),
        ROW(test_a_loss_that_falls_is_no_alarm_and_one_that_rises_is),
        ROW(test_a_line_that_went_back_waits_until_it_is_right_again),
        ROW(test_a_line_that_stayed_waits_until_the_one_before_is_right_again),
        ROW(test_types_attributes_volume_and_rejects_are_watched),
        ROW(test_night_and_day_pause_nothing_and_silence_does_not_a_flood_does),
        ROW(test_one_user_learns_no_more_than_its_share_of_a_window),
        ROW(test_an_item_beyond_its_cap_is_left_out),
        ROW(test_a_refused_list_uses_no_quota_up),
        ROW(test_a_source_brings_no_more_than_its_share),
        ROW(test_a_source_that_explains_it_alone_is_quarantined_and_learning_goes_on),
        ROW(test_a_warning_takes_nothing_back),
        ROW(test_the_optimiser_begins_anew_once_if_asked),
        ROW(test_state_goes_on_where_it_was),
        ROW(test_new_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
