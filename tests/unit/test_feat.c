/* test_feat.c - features by name and value, hashed crosses, sentences of a slate, flags and baselines, inline records.
 * labels: quick
 */
#include "base/hash.h"
#include "featurize/feat.h"
#include "featurize/history.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct err e;
static struct shop shop;

static int set_up(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shop_close(&shop);
    return mem_live() == 0 ? 0 : -1;
}

static int64_t at(int day, int hour)
{
    return SHOP_START_MS + day * SHOP_DAY_MS + hour * INT64_C(3600000);
}

static void is(int k, const char *name, double want)
{
    const float got = shop_feature(&shop, k, name);
    if (fabs((double)got - want) > 1e-5) fail_msg("%s is %g, not %g", name, (double)got, want);
}

static void goods(const char *id, const char *title, const char *category, const char *tags, double price, int day)
{
    struct event ev = shop_behaviour(&shop, 0, NULL, id, at(day, 0));
    ev.kind = EVENT_ITEM;
    if (title != NULL) shop_text(&shop, &ev, "title", title);
    if (category != NULL) shop_text(&shop, &ev, "category", category);
    if (tags != NULL) shop_list(&shop, &ev, "tags", tags);
    if (price >= 0) shop_number(&shop, &ev, "price", price);
    assert_ok(world_item(shop.world, &ev, &e), &e);
}

static void test_values_of_the_default_features(void **state)
{
    (void)state;
    goods("scarf", "red scarf", "wool", "red,warm", 10, 0);
    goods("hat", "blue hat", "felt", "blue", -1, 9);
    shop_take(&shop, EVENT_PURCHASE, "ann", "scarf", at(8, 0));
    shop_take(&shop, EVENT_PURCHASE, "bob", "scarf", at(9, 0));
    shop_take(&shop, EVENT_CLICK, "ann", "scarf", at(9, 0));
    shop_show(&shop, "ann", "scarf,hat,nothing", at(10, 0));
    is(0, "item.purchase.all", log1p(2));
    is(0, "item.purchase.24h", log1p(0.25 + 0.5));
    is(0, "item.purchase.168h", log1p(exp2(-2.0 / 7) + exp2(-1.0 / 7)));
    is(0, "item.click.all", log1p(1));
    is(0, "item.purchase.recency", log1p(1));
    is(0, "user_item.purchase.count", log1p(1));
    is(0, "user_item.purchase.had", 1);
    is(0, "user_item.purchase.recency", log1p(2));
    is(0, "user_item.view.had", 0);
    is(0, "user.purchase.all", log1p(1));
    is(0, "user.events", log1p(2));
    is(0, "user.known", 1);
    is(0, "item.age", log1p(10));
    is(0, "item.is_new", 1);
    is(0, "item.known", 1);
    is(0, "item.has_price", 1);
    is(0, "item.price", log1p(10));
    is(0, "item.price_vs_user", 0);
    is(0, "history.category", 1);
    is(0, "history.tags", 1);
    is(1, "item.purchase.all", 0);
    is(1, "item.has_price", 0);
    is(1, "item.price_gap", 0);
    is(1, "history.category", 0);
    is(1, "history.tags", 0);
    is(1, "item.age", log1p(1));
    is(2, "item.known", 0);
    is(2, "item.age", 0);
    is(2, "user.events", log1p(2)); /* the user's own stand at every candidate */
    for (uint32_t i = 0; i < 3 * shop.slate->n_numeric; i++) assert_true(isfinite(shop.slate->numeric[i]));
}

static void test_events_from_the_future_do_not_break_numbers(void **state)
{
    (void)state;
    goods("scarf", "red scarf", NULL, NULL, 10, 20);
    shop_take(&shop, EVENT_PURCHASE, "ann", "scarf", at(20, 0));
    shop_show(&shop, "ann", "scarf", at(10, 0)); /* ten days back */
    is(0, "item.age", 0);
    is(0, "item.purchase.recency", 0);
    is(0, "item.purchase.24h", log1p(1));
    assert_true(shop.slate->events[0].age_minutes == 0.0f);
    assert_true(shop.slate->items[0].age_days == 0.0f);
}

static void test_flags_and_baselines(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) shop_take(&shop, EVENT_PURCHASE, i < 2 ? "ann" : "bob", "a", at(i, 0));
    shop_take(&shop, EVENT_PURCHASE, "bob", "b", at(4, 0));
    shop_take(&shop, EVENT_VIEW, "ann", "b", at(4, 1)); /* a view is no having */
    shop_show(&shop, "ann", "a,b,c", at(5, 0));
    const struct slate_item *k = shop.slate->items;
    assert_int_equal(k[0].flags, SLATE_ITEM_KNOWN);
    assert_int_equal(k[1].flags, SLATE_ITEM_KNOWN | SLATE_ITEM_COLD | SLATE_ITEM_FIRST_TIME);
    assert_int_equal(k[2].flags, SLATE_ITEM_COLD | SLATE_ITEM_FIRST_TIME);
    assert_true(k[0].popularity > 4 && k[0].popularity < 5); /* five, decayed over 28 days */
    assert_true(k[1].popularity > 0.9f && k[2].popularity == 0.0f);
    assert_true(k[0].repeat > 2 && k[0].repeat < 2.001f);
    assert_true(k[1].repeat > 0 && k[1].repeat < 0.001f); /* popularity breaks the tie */
    assert_true(shop.slate->cold_user);
}

static void test_sentences_are_shared_and_events_newest_first(void **state)
{
    (void)state;
    goods("a", "red scarf", NULL, NULL, -1, 0);
    goods("b", "red scarf", NULL, NULL, -1, 0);
    for (int i = 0; i < 30; i++) shop_take(&shop, EVENT_CLICK, "ann", i % 2 ? "a" : "b", at(1, 0) + i * 60000);
    shop_show(&shop, "ann", "a,b,zzz", at(2, 0));
    const struct slate *s = shop.slate;
    assert_int_equal(s->n_events, 20);
    assert_int_equal(s->n_sentences, 3); /* clicked red scarf, red scarf, an unknown item */
    for (uint32_t i = 1; i < s->n_events; i++) {
        assert_true(s->events[i].time_ms < s->events[i - 1].time_ms);
        assert_int_equal(s->events[i].sentence, s->events[0].sentence);
        assert_true(fabs((double)(s->events[i].age_minutes - s->events[i - 1].age_minutes) - 1) < 1e-3);
    }
    assert_int_equal(s->items[0].sentence, s->items[1].sentence);
    assert_true(s->items[2].sentence != s->items[0].sentence);
    const struct slate_sentence *one = &s->sentences[s->items[0].sentence];
    assert_int_equal(s->tokens[one->first], token_special(shop.vocab, TOKEN_CLS));
    assert_int_equal(s->tokens[one->first + one->n - 1], token_special(shop.vocab, TOKEN_SEP));
    assert_true(feat_tokens_seen(shop.feat) > 0);
    assert_true(feat_tokens_unknown(shop.feat) <= feat_tokens_seen(shop.feat));
}

static void test_a_separator_in_a_title_is_plain_text(void **state)
{
    (void)state;
    goods("a", "red [SEP] scarf", NULL, NULL, -1, 0);
    const struct record_item *i = world_find_item(shop.world, STR("a"));
    for (int k = 0; k < i->n_ids - 1; k++) assert_true(i->ids[k] != token_special(shop.vocab, TOKEN_SEP));
}

static void test_a_changed_title_takes_effect_for_later_slates(void **state)
{
    (void)state;
    goods("a", "red scarf", NULL, NULL, -1, 0);
    shop_show(&shop, "ann", "a", at(1, 0));
    const uint64_t before = shop.slate->sentences[shop.slate->items[0].sentence].hash;
    goods("a", "blue scarf", NULL, NULL, -1, 1);
    shop_show(&shop, "ann", "a", at(1, 1));
    assert_true(shop.slate->sentences[shop.slate->items[0].sentence].hash != before);
}

static void test_hashed_features_are_distinct_and_positive(void **state)
{
    (void)state;
    goods("a", "red scarf", "wool", "x,y", -1, 0);
    goods("b", "blue hat", "felt", NULL, -1, 0);
    shop_take(&shop, EVENT_PURCHASE, "ann", "b", at(1, 0));
    struct event ev = shop_behaviour(&shop, 0, "ann", NULL, at(1, 1));
    ev.kind = EVENT_USER;
    shop_text(&shop, &ev, "country", "France");
    assert_ok(world_user(shop.world, &ev, &e), &e);
    shop_show(&shop, "ann", "a,b", at(2, 0));
    const struct slate *s = shop.slate;
    assert_int_equal(s->hashed_off[0], 0);
    /* item, user, user x item, user x category, two tags, recent x item, words alone and with the user, country x item,
     * country x category */
    const uint32_t first = 7;
    const uint32_t pieces = world_find_item(shop.world, STR("a"))->n_ids - 2u, words = 2 * pieces;
    assert_int_equal(s->hashed_off[1], first + words + 2);
    for (uint32_t i = 0; i < s->hashed_off[2]; i++) assert_true(s->hashed_val[i] > 0 && s->hashed_val[i] <= 1);
    for (uint32_t i = 0; i < 4; i++) /* of the first four only the user itself is the same at both candidates */
        assert_int_equal(s->hashed_idx[i] == s->hashed_idx[s->hashed_off[1] + i], i == 1);
    for (uint32_t i = 0; i < s->hashed_off[1]; i++)
        for (uint32_t j = 0; j < i && (i < first || i >= first + words); j++)
            assert_true(s->hashed_idx[i] != s->hashed_idx[j]);
    const double share = 1 / sqrt((double)pieces);
    for (uint32_t i = first; i < first + words; i++) assert_true(fabs((double)s->hashed_val[i] - share) < 1e-6);
}

static void test_context_is_crossed_with_the_item(void **state)
{
    (void)state;
    struct event ev = shop_behaviour(&shop, 0, NULL, "x", at(1, 0));
    shop_text(&shop, &ev, "device", "phone");
    shop_number(&shop, &ev, "slot", 3);
    const struct feat_candidate c = {.id = STR("x"), .label = NAN, .weight = 1};
    uint32_t n[2];
    for (uint32_t k = 0; k < 2; k++) {
        slate_reset(shop.slate);
        assert_ok(feat_fill(shop.feat, shop.slate, NULL, &c, 1, ev.attrs, k * 2, &e), &e);
        n[k] = shop.slate->hashed_off[1];
    }
    assert_int_equal(n[1], n[0] + 1); /* texts only */
}

static void test_an_empty_request_is_a_slate_of_nothing(void **state)
{
    (void)state;
    slate_reset(shop.slate);
    assert_ok(feat_fill(shop.feat, shop.slate, NULL, NULL, 0, NULL, 0, &e), &e);
    assert_int_equal(shop.slate->n_items, 0);
    assert_true(shop.slate->cold_user);
    assert_int_equal(shop.slate->hashed_off[0], 0);
}

/* What the scorer does: an inline item and an inline history give the numbers that the learner's records give. */
static void test_inline_records_equal_the_learners(void **state)
{
    (void)state;
    struct record_item stand_in = {0};
    struct record_user inline_user = {0};
    goods("a", "red scarf", "wool", "x,y", 7, 0);
    struct event carrier = shop_behaviour(&shop, EVENT_PURCHASE, "ann", "a", at(1, 0));
    shop_text(&shop, &carrier, "title", "red scarf");
    shop_text(&shop, &carrier, "category", "wool");
    shop_list(&shop, &carrier, "tags", "x,y");
    shop_number(&shop, &carrier, "price", 7);
    assert_ok(feat_item_from_attrs(shop.feat, &stand_in, STR("a"), carrier.attrs, carrier.n_attrs, at(1, 0), &e), &e);
    assert_ok(
        feat_user_take(shop.feat, &inline_user, &stand_in, STR("a"), EVENT_PURCHASE, "purchase", NAN, at(1, 0), &e),
        &e);
    shop_take(&shop, EVENT_PURCHASE, "ann", "a", at(1, 0));
    const struct record_user *u = world_find_user(shop.world, STR("ann"));
    assert_true(u->events[0].sentence == inline_user.events[0].sentence);
    assert_true(u->price_sum == inline_user.price_sum);
    const struct feat_candidate c = {.id = STR("a"), .item = &stand_in, .label = NAN, .weight = 1};
    struct str packed[2];
    for (int k = 0; k < 2; k++) {
        slate_reset(shop.slate);
        shop.slate->time_ms = at(2, 0);
        assert_ok(feat_fill(shop.feat, shop.slate, k ? u : &inline_user, &c, 1, NULL, 0, &e), &e);
        packed[k] = shop_slate_bytes(&shop);
    }
    assert_int_equal(packed[0].n, packed[1].n);
    assert_memory_equal(packed[0].p, packed[1].p, packed[0].n);
    assert_true(stand_in.row == FEAT_ROW_NONE);
    is(0, "item.known", 0);
    is(0, "item.price", log1p(7));
    record_item_fini(&stand_in);
    record_user_fini(&inline_user);
}

static enum status with_features(const char *list, struct feat **f)
{
    assert_ok(conf_set(shop.conf, "model.features", list, &e), &e);
    return feat_new(f, shop.conf, shop.vocab, shop.templates, &e);
}

static void test_features_are_chosen_by_name(void **state)
{
    (void)state;
    struct feat *f = NULL;
    assert_ok(with_features("item.price, item.refund.24h,user_item.like.had , item.price", &f), &e);
    assert_int_equal(feat_count(f), 3);
    assert_string_equal(feat_name(f, 0), "item.price");
    assert_string_equal(feat_name(f, 1), "item.refund.24h");
    assert_string_equal(feat_name(f, 2), "user_item.like.had");
    const uint64_t print = feat_fingerprint(f);
    feat_free(f);
    assert_ok(with_features("default,item.like.recency", &f), &e);
    assert_int_equal(feat_count(f), feat_count(shop.feat) + 1);
    assert_true(feat_fingerprint(f) != print);
    feat_free(f);
}

/* What changes no sentence and no name may still change a number. */
static void test_the_recipe_has_all_that_numbers_are_made_by(void **state)
{
    (void)state;
    static const char *const others[][2] = {
        {"history.pairs", "7"},          {"history.events", "7"},          {"model.events", "7"},
        {"model.max_tokens", "9"},       {"model.features", "item.price"}, {"counter.half_lives_hours", "1,2,3,4"},
        {"cooccur.half_life_days", "3"}, {"type.click.label", "negative"}};
    enum { N = sizeof others / sizeof *others };
    uint64_t seen[N + 1];
    for (size_t i = 0; i <= N; i++) {
        struct conf *c;
        struct feat *f;
        assert_ok(conf_new(&c, &e), &e);
        if (i < N) assert_ok(conf_set(c, others[i][0], others[i][1], &e), &e);
        assert_ok(feat_new(&f, c, shop.vocab, shop.templates, &e), &e);
        seen[i] = feat_recipe(f);
        for (size_t k = 0; k < i; k++) assert_true(seen[k] != seen[i]);
        feat_free(f);
        conf_free(c);
    }
}

static void test_unknown_features_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "item.prise", "item.buy.24h", "item.purchase.25h", "item.purchase", "item", "item.price.all", "user.",
        ".",          "history.TYPE"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct feat *f = (struct feat *)&shop;
        assert_int_equal(with_features(wrong[i], &f), STATUS_INVALID);
        assert_null(f);
        assert_non_null(strstr(e.text, "model.features"));
        assert_non_null(strstr(e.text, wrong[i]));
    }
}

static void test_own_types_are_counted_by_default(void **state)
{
    (void)state;
    struct feat *f = NULL;
    bool found = false;
    assert_ok(conf_set(shop.conf, "type.listen.label", "positive", &e), &e);
    assert_ok(with_features("default", &f), &e);
    for (uint32_t i = 0; i < feat_count(f); i++) found = found || strcmp(feat_name(f, i), "item.listen.24h") == 0;
    assert_true(found);
    feat_free(f);
}

static void test_every_feature_is_documented(void **state)
{
    (void)state;
    struct buf b = {0};
    feat_document(&b);
    buf_u8(&b, 0);
    assert_non_null(strstr((const char *)b.p, "`item.TYPE.WINDOW`"));
    assert_non_null(strstr((const char *)b.p, "`history.tags`"));
    assert_non_null(strstr((const char *)b.p, "`item.price_vs_user`"));
    buf_fini(&b);
}

static void test_chinese_titles_are_known_to_a_chinese_vocabulary(void **state)
{
    (void)state;
    static const char *const options[] = {"describe.language=zh", NULL};
    shop_close(&shop);
    shop_open(&shop, "zh", options, NULL);
    goods("a", "红色围巾", "毛线", NULL, -1, 0);
    shop_take(&shop, EVENT_PURCHASE, "小王", "a", at(1, 0));
    shop_show(&shop, "小王", "a", at(2, 0));
    assert_int_equal(feat_tokens_unknown(shop.feat), 0);
    const struct record_event *ev = &world_find_user(shop.world, STR("小王"))->events[0];
    assert_int_equal(ev->n_ids, 2 + 10); /* 我购买了商品红色围巾 */
}

static void test_new_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct feat *f = NULL;
    long met;
    FAIL_EACH_ALLOCATION(met, feat_new(&f, shop.conf, shop.vocab, shop.templates, &e));
    assert_int_equal(met, 3);
    feat_free(f);
}

static void test_filling_survives_each_failing_allocation(void **state)
{
    (void)state;
    goods("a", "red scarf", "wool", "x,y", 7, 0);
    shop_take(&shop, EVENT_PURCHASE, "ann", "a", at(1, 0));
    const struct record_user *u = world_find_user(shop.world, STR("ann"));
    const struct feat_candidate c = {.id = STR("a"), .item = world_find_item(shop.world, STR("a")), .weight = 1};
    for (long n = 0;; n++) {
        struct slate *s = NULL;
        struct feat *f = NULL;
        assert_true(n < 100);
        assert_ok(slate_new(&s, &e), &e);
        assert_ok(feat_new(&f, shop.conf, shop.vocab, shop.templates, &e), &e);
        mem_fail_after(n);
        const enum status st = feat_fill(f, s, u, &c, 1, NULL, 0, &e);
        mem_fail_after(-1);
        slate_free(s);
        feat_free(f);
        if (st == STATUS_OK) break;
        assert_int_equal(st, STATUS_OOM);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_values_of_the_default_features),
        T(test_events_from_the_future_do_not_break_numbers),
        T(test_flags_and_baselines),
        T(test_sentences_are_shared_and_events_newest_first),
        T(test_a_separator_in_a_title_is_plain_text),
        T(test_a_changed_title_takes_effect_for_later_slates),
        T(test_hashed_features_are_distinct_and_positive),
        T(test_context_is_crossed_with_the_item),
        T(test_an_empty_request_is_a_slate_of_nothing),
        T(test_inline_records_equal_the_learners),
        T(test_features_are_chosen_by_name),
        T(test_the_recipe_has_all_that_numbers_are_made_by),
        T(test_unknown_features_are_refused_by_name),
        T(test_own_types_are_counted_by_default),
        T(test_every_feature_is_documented),
        T(test_chinese_titles_are_known_to_a_chinese_vocabulary),
        T(test_new_survives_each_failing_allocation),
        T(test_filling_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
