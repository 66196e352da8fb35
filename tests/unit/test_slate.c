/* test_slate.c - random slates come back bit for bit; damaged ones are refused; reuse allocates nothing. */
#include "base/hash.h"
#include "base/rand.h"
#include "schemas/slate.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct str random_id(struct arena *a, struct rand *r)
{
    char text[EVENT_ID_MAX];
    const size_t n = 1 + rand_below(r, 20);
    for (size_t i = 0; i < n; i++) text[i] = (char)rand_u32(r);
    return arena_str(a, (struct str){text, n});
}

static float unit(struct rand *r)
{
    return (float)rand_normal(r);
}

static uint32_t random_sentence(struct slate *s, struct rand *r)
{
    int32_t ids[40];
    const uint32_t n = (uint32_t)rand_below(r, 40);
    for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)rand_below(r, 30522);
    const uint32_t at = slate_add_sentence(s, ids, n);
    assert_true(at < s->n_sentences);
    return at;
}

static void random_features(struct slate *s, struct rand *r)
{
    s->n_segments = (uint32_t)rand_below(r, 3);
    s->segments = arena_alloc(s->arena, (size_t)s->n_segments * s->n_items, sizeof *s->segments);
    for (uint32_t i = 0; i < s->n_segments * s->n_items; i++) s->segments[i] = (uint16_t)rand_below(r, 3);
    s->n_numeric = (uint32_t)rand_below(r, 8);
    s->numeric = arena_alloc(s->arena, (size_t)s->n_numeric * s->n_items, sizeof *s->numeric);
    for (uint32_t i = 0; i < s->n_numeric * s->n_items; i++) s->numeric[i] = unit(r);
    if (rand_below(r, 4) == 0) return; /* no hashed features at all */
    s->hashed_off = arena_alloc(s->arena, s->n_items + 1, sizeof *s->hashed_off);
    for (uint32_t k = 0; k < s->n_items; k++) s->hashed_off[k + 1] = s->hashed_off[k] + (uint32_t)rand_below(r, 5);
    const uint32_t n = s->hashed_off[s->n_items];
    s->hashed_idx = arena_alloc(s->arena, n, sizeof *s->hashed_idx);
    s->hashed_val = arena_alloc(s->arena, n, sizeof *s->hashed_val);
    for (uint32_t i = 0; i < n; i++) {
        s->hashed_idx[i] = rand_u32(r);
        s->hashed_val[i] = unit(r);
    }
}

static void random_slate(struct slate *s, struct rand *r)
{
    s->id = rand_u64(r);
    s->source = (enum slate_source)rand_below(r, SLATE_SOURCES);
    s->at = (struct event_position){rand_u32(r), rand_u32(r), rand_u64(r)};
    s->time_ms = (int64_t)rand_u64(r);
    s->settled_ms = (int64_t)rand_u64(r);
    s->user = random_id(s->arena, r);
    if (rand_below(r, 2) == 0) s->request = random_id(s->arena, r);
    if (rand_below(r, 2) == 0) s->version = random_id(s->arena, r);
    if (rand_below(r, 2) == 0) s->variant = random_id(s->arena, r);
    s->cold_user = rand_below(r, 2) != 0;
    s->n_events = (uint32_t)rand_below(r, 10);
    s->events = arena_alloc(s->arena, s->n_events, sizeof *s->events);
    for (uint32_t i = 0; i < s->n_events; i++)
        s->events[i] = (struct slate_event){.sentence = random_sentence(s, r),
                                            .item = rand_u64(r),
                                            .time_ms = (int64_t)rand_u64(r),
                                            .age_minutes = fabsf(unit(r)),
                                            .type = (uint8_t)rand_below(r, EVENT_TYPES_MAX)};
    s->n_items = (uint32_t)rand_below(r, 10);
    s->items = arena_alloc(s->arena, s->n_items, sizeof *s->items);
    static const float labels[] = {0.0f, 1.0f, NAN};
    for (uint32_t i = 0; i < s->n_items; i++) {
        struct slate_item *it = &s->items[i];
        *it = (struct slate_item){.id = random_id(s->arena, r),
                                  .sentence = random_sentence(s, r),
                                  .label = labels[rand_below(r, 3)],
                                  .examples = unit(r) < 0.5f ? 0.0f : 1.5f,
                                  .weight = fabsf(unit(r)),
                                  .log_kq = unit(r),
                                  .flags = (uint32_t)rand_below(r, 16),
                                  .popularity = unit(r),
                                  .repeat = unit(r),
                                  .age_days = unit(r),
                                  .cooccur = {unit(r), unit(r)},
                                  .propensity = rand_below(r, 2) == 0 ? 0.0f : 0.25f,
                                  .position = (uint32_t)rand_below(r, 1000),
                                  .tasks = rand_u32(r),
                                  .category = rand_u32(r),
                                  .served = 0.5f};
        it->item = hash_str(it->id);
    }
    s->type = (uint8_t)rand_below(r, EVENT_TYPES_MAX + 1);
    s->copy = (enum slate_copy)rand_below(r, SLATE_COPIES);
    for (uint32_t i = 0; s->copy > SLATE_EARLY && i < s->n_items; i++) s->items[i].apart = unit(r);
    s->spread = unit(r);
    if (rand_below(r, 2) == 0) {
        s->ranks = arena_alloc(s->arena, SLATE_RANKS * s->n_items + 1, sizeof *s->ranks);
        s->n_ranked = rand_u32(r);
        for (uint32_t i = 0; i < SLATE_RANKS * s->n_items; i++) s->ranks[i] = rand_u32(r);
    }
    random_features(s, r);
}

static void same_items(const struct slate *a, const struct slate *b)
{
    for (uint32_t i = 0; i < a->n_items; i++) {
        const struct slate_item *x = &a->items[i], *y = &b->items[i];
        assert_true(str_eq(x->id, y->id) && x->item == y->item && x->sentence == y->sentence && x->flags == y->flags);
        const float fx[] = {x->weight, x->log_kq, x->popularity, x->repeat, x->age_days, x->cooccur[0], x->cooccur[1]};
        const float fy[] = {y->weight, y->log_kq, y->popularity, y->repeat, y->age_days, y->cooccur[0], y->cooccur[1]};
        assert_memory_equal(fx, fy, sizeof fx);
        assert_true(isnan(x->label) ? isnan(y->label) : x->label == y->label);
        assert_true(x->examples == y->examples && x->apart == y->apart);
        assert_true(x->propensity == y->propensity && x->position == y->position && x->tasks == y->tasks &&
                    x->category == y->category && x->served == y->served);
    }
}

static void same_arrays(const struct slate *a, const struct slate *b)
{
    assert_int_equal(a->n_sentences, b->n_sentences);
    assert_int_equal(a->n_tokens, b->n_tokens);
    for (uint32_t i = 0; i < a->n_sentences; i++) {
        assert_true(a->sentences[i].hash == b->sentences[i].hash);
        assert_int_equal(a->sentences[i].first, b->sentences[i].first);
        assert_int_equal(a->sentences[i].n, b->sentences[i].n);
    }
    if (a->n_tokens > 0) assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
    for (uint32_t i = 0; i < a->n_events; i++) {
        const struct slate_event *x = &a->events[i], *y = &b->events[i];
        assert_true(x->sentence == y->sentence && x->item == y->item && x->time_ms == y->time_ms &&
                    x->age_minutes == y->age_minutes && x->type == y->type);
    }
    const size_t n = (size_t)a->n_items * a->n_numeric;
    if (n > 0) assert_memory_equal(a->numeric, b->numeric, n * sizeof *a->numeric);
    assert_true((a->hashed_off == NULL) == (b->hashed_off == NULL));
    if (a->hashed_off == NULL) return;
    assert_memory_equal(a->hashed_off, b->hashed_off, (a->n_items + 1) * sizeof *a->hashed_off);
    const uint32_t h = a->hashed_off[a->n_items];
    if (h > 0) assert_memory_equal(a->hashed_idx, b->hashed_idx, h * sizeof *a->hashed_idx);
    if (h > 0) assert_memory_equal(a->hashed_val, b->hashed_val, h * sizeof *a->hashed_val);
}

static void same(const struct slate *a, const struct slate *b)
{
    assert_true(a->id == b->id && a->source == b->source && a->time_ms == b->time_ms && a->settled_ms == b->settled_ms &&
                a->copy == b->copy);
    assert_memory_equal(&a->at, &b->at, sizeof a->at);
    assert_true(a->type == b->type && a->n_segments == b->n_segments && a->n_ranked == b->n_ranked &&
                a->spread == b->spread);
    assert_true((a->ranks == NULL) == (b->ranks == NULL));
    for (uint32_t i = 0; i < a->n_segments * a->n_items; i++) assert_int_equal(a->segments[i], b->segments[i]);
    for (uint32_t i = 0; a->ranks != NULL && i < SLATE_RANKS * a->n_items; i++)
        assert_int_equal(a->ranks[i], b->ranks[i]);
    assert_true(str_eq(a->user, b->user) && str_eq(a->request, b->request) && a->cold_user == b->cold_user);
    assert_true(str_eq(a->version, b->version) && str_eq(a->variant, b->variant));
    assert_true((a->request.p == NULL) == (b->request.p == NULL));
    assert_true(a->n_events == b->n_events && a->n_items == b->n_items && a->n_numeric == b->n_numeric);
    same_items(a, b);
    same_arrays(a, b);
}

static struct rand dice(uint64_t n)
{
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 11, .offset = n, .purpose = RAND_TEST});
    return r;
}

static void test_random_slates_round_trip(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *a = NULL, *b = NULL;
    struct buf buf = {0}, again = {0};
    assert_ok(slate_new(&a, &e), &e);
    assert_ok(slate_new(&b, &e), &e);
    for (uint64_t n = 0; n < 500; n++) {
        struct rand r = dice(n);
        slate_reset(a);
        buf_clear(&buf);
        buf_clear(&again);
        random_slate(a, &r);
        slate_encode(&buf, a);
        struct buf_reader reader = buf_reader(buf.p, buf.n);
        assert_ok(slate_decode(b, &reader, &e), &e);
        assert_int_equal(buf_left(&reader), 0);
        same(a, b);
        slate_encode(&again, b);
        assert_int_equal(buf.n, again.n);
        assert_memory_equal(buf.p, again.p, buf.n);
    }
    slate_free(a);
    slate_free(b);
    buf_fini(&buf);
    buf_fini(&again);
    assert_int_equal(mem_live(), 0);
}

/* A record as the version before format 2 wrote it. */
static void test_format_1_is_still_read(void **state)
{
    (void)state;
    static const float numbers[] = {1, 1, 0.5f}; /* label, weight, log_kq */
    struct err e = {0};
    struct slate *s = NULL;
    struct buf b = {0};
    assert_ok(slate_new(&s, &e), &e);
    buf_u8(&b, 1);
    buf_varint(&b, 7); /* id */
    buf_u8(&b, SLATE_ORGANIC);
    for (int i = 0; i < 3; i++) buf_varint(&b, 0); /* position */
    buf_i64(&b, 1000);
    buf_i64(&b, 2000);
    buf_str(&b, STR("u"));
    buf_str(&b, STR("o"));
    buf_u8(&b, 1); /* cold user */
    buf_varint(&b, 1);
    buf_varint(&b, 1); /* a sentence of one token */
    buf_varint(&b, 101);
    buf_varint(&b, 0); /* events */
    buf_varint(&b, 1);
    buf_str(&b, STR("i"));
    buf_varint(&b, 0);
    for (int i = 0; i < 3; i++) buf_f32(&b, numbers[i]);
    buf_varint(&b, SLATE_ITEM_COLD);
    for (int i = 0; i < 3; i++) buf_f32(&b, 2); /* popularity, repeat, age */
    buf_varint(&b, 0);                          /* numeric features */
    buf_u8(&b, 0);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(slate_decode(s, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    assert_true(s->id == 7 && s->cold_user && s->settled_ms == 2000 && !str_has(s->variant) && !str_has(s->version));
    const struct slate_item *i = &s->items[0];
    assert_true(i->label == 1 && i->log_kq == 0.5f && i->age_days == 2 && i->examples == 1 &&
                i->flags == SLATE_ITEM_COLD);
    assert_true(i->cooccur[0] == 0 && i->cooccur[1] == 0 && i->propensity == 0 && i->position == 0 && i->tasks == 0);
    slate_free(s);
    buf_fini(&b);
}

static void same_hashed(const struct slate *a, uint32_t i, const struct slate *b, uint32_t k)
{
    const uint32_t n = a->hashed_off[i + 1] - a->hashed_off[i];
    assert_int_equal(n, b->hashed_off[k + 1] - b->hashed_off[k]);
    if (n == 0) return;
    assert_memory_equal(a->hashed_idx + a->hashed_off[i], b->hashed_idx + b->hashed_off[k], n * sizeof *a->hashed_idx);
    assert_memory_equal(a->hashed_val + a->hashed_off[i], b->hashed_val + b->hashed_off[k], n * sizeof *a->hashed_val);
}

/* Candidates that stay are what they were, features too. */
static void test_keeping_some_candidates(void **state)
{
    (void)state;
    struct err e = {0};
    struct rand r;
    struct slate *s = NULL, *whole = NULL;
    struct buf b = {0};
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    assert_ok(slate_new(&s, &e), &e);
    assert_ok(slate_new(&whole, &e), &e);
    for (int round = 0; round < 300; round++) {
        slate_reset(s);
        random_slate(s, &r);
        buf_clear(&b);
        slate_encode(&b, s);
        struct buf_reader rd = buf_reader(b.p, b.n);
        assert_ok(slate_decode(whole, &rd, &e), &e);
        uint8_t *keep = arena_alloc(whole->arena, whole->n_items + 1, 1);
        for (uint32_t i = 0; i < whole->n_items; i++) keep[i] = rand_below(&r, 3) != 0;
        slate_keep(s, keep);
        const uint32_t kept = s->n_items;
        uint32_t n = 0;
        for (uint32_t i = 0; i < whole->n_items; i++) {
            if (!keep[i]) continue;
            assert_true(s->items[n].item == whole->items[i].item && s->items[n].sentence == whole->items[i].sentence);
            for (uint32_t f = 0; f < s->n_numeric; f++)
                assert_true(s->numeric[n * s->n_numeric + f] == whole->numeric[i * s->n_numeric + f]);
            for (uint32_t g = 0; s->ranks != NULL && g < SLATE_RANKS; g++)
                assert_int_equal(s->ranks[g * s->n_items + n], whole->ranks[g * whole->n_items + i]);
            for (uint32_t g = 0; g < s->n_segments; g++)
                assert_int_equal(s->segments[g * kept + n], whole->segments[g * whole->n_items + i]);
            if (whole->hashed_off != NULL) same_hashed(s, n, whole, i);
            n++;
        }
        assert_int_equal(s->n_items, n);
        buf_clear(&b);
        slate_encode(&b, s); /* offsets agree with each other */
        rd = buf_reader(b.p, b.n);
        assert_ok(slate_decode(whole, &rd, &e), &e);
    }
    slate_free(s);
    slate_free(whole);
    buf_fini(&b);
}

static void test_every_truncation_is_corrupt(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *a = NULL;
    struct buf buf = {0};
    assert_ok(slate_new(&a, &e), &e);
    for (uint64_t n = 0; n < 20; n++) {
        struct rand r = dice(1000 + n);
        slate_reset(a);
        buf_clear(&buf);
        random_slate(a, &r);
        slate_encode(&buf, a);
        for (size_t cut = 0; cut < buf.n; cut++) {
            void *copy = mem_strndup((const char *)buf.p, cut); /* its own block: a read past the end is seen */
            struct buf_reader reader = buf_reader(copy, cut);
            assert_int_equal(slate_decode(a, &reader, &e), STATUS_CORRUPT);
            assert_int_equal(a->n_items, 0);
            mem_free(copy);
        }
    }
    slate_free(a);
    buf_fini(&buf);
}

/* A flipped bit may give another valid slate, never a crash, and what is accepted has its indices in range. */
static void test_flipped_bits_never_break_the_invariants(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *a = NULL;
    struct buf buf = {0};
    assert_ok(slate_new(&a, &e), &e);
    struct rand r = dice(7);
    random_slate(a, &r);
    slate_encode(&buf, a);
    for (size_t bit = 0; bit < buf.n * 8; bit++) {
        buf.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        struct buf_reader reader = buf_reader(buf.p, buf.n);
        const enum status st = slate_decode(a, &reader, &e);
        assert_true(st == STATUS_OK || st == STATUS_CORRUPT);
        for (uint32_t i = 0; i < a->n_items; i++) assert_true(a->items[i].sentence < a->n_sentences);
        for (uint32_t i = 0; i < a->n_events; i++) assert_true(a->events[i].sentence < a->n_sentences);
        for (uint32_t i = 0; i < a->n_items * a->n_numeric; i++) assert_true(isfinite(a->numeric[i]));
        buf.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    slate_free(a);
    buf_fini(&buf);
}

static void refuse(struct slate *s, const char *why)
{
    struct buf b = {0};
    struct err e = {0};
    struct slate *to = NULL;
    assert_ok(slate_new(&to, &e), &e);
    slate_encode(&b, s);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_int_equal(slate_decode(to, &r, &e), STATUS_CORRUPT);
    if (strstr(e.text, why) == NULL) fail_msg("'%s' does not say '%s'", e.text, why);
    slate_free(to);
    buf_fini(&b);
}

static void test_wrong_values_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *s = NULL;
    assert_ok(slate_new(&s, &e), &e);
    int32_t ids[2] = {101, 102};
    struct slate_item item = {.id = STR("a"), .sentence = slate_add_sentence(s, ids, 2), .label = 1, .weight = 1};
    struct slate_event event = {.sentence = 0, .age_minutes = 1};
    float numeric[1] = {0};
    s->items = &item;
    s->n_items = 1;
    s->events = &event;
    s->n_events = 1;
    s->numeric = numeric;
    s->n_numeric = 1;
    item.label = 0.5f;
    refuse(s, "an item");
    item.label = 1;
    item.sentence = 1;
    refuse(s, "an item");
    item.sentence = 0;
    item.weight = -1;
    refuse(s, "an item");
    item.weight = NAN;
    refuse(s, "an item");
    item.weight = INFINITY;
    refuse(s, "an item");
    item.weight = 1;
    item.flags = 16;
    refuse(s, "an item");
    item.flags = 0;
    event.sentence = 1;
    refuse(s, "an event");
    event.sentence = 0;
    event.age_minutes = -1;
    refuse(s, "an event");
    event.age_minutes = 1;
    event.type = EVENT_TYPES_MAX;
    refuse(s, "an event");
    event.type = 0;
    numeric[0] = NAN;
    refuse(s, "numeric feature");
    numeric[0] = 0;
    s->tokens[0] = -1;
    refuse(s, "token id");
    slate_free(s);
}

/* A count that the bytes cannot hold is seen before anything of that size is asked for. */
static void test_lying_counts_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *s = NULL;
    struct buf b = {0};
    uint32_t off[2] = {0, 0};
    assert_ok(slate_new(&s, &e), &e);
    struct slate_item item = {.id = STR("a"), .sentence = slate_add_sentence(s, NULL, 0), .label = 1, .weight = 1};
    s->items = &item;
    s->n_items = 1;
    s->hashed_off = off;
    slate_encode(&b, s);
    b.n--; /* the count of the item's hashed features: none */
    buf_varint(&b, UINT32_MAX);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_int_equal(slate_decode(s, &r, &e), STATUS_CORRUPT);
    assert_true(arena_bytes(s->arena) < 1 << 20);
    slate_free(s);
    buf_fini(&b);
}

static void test_equal_sentences_are_kept_once(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *s = NULL;
    assert_ok(slate_new(&s, &e), &e);
    for (int round = 0; round < 3; round++) {
        for (int32_t i = 0; i < 1000; i++) {
            const int32_t ids[3] = {101, i, 102};
            assert_int_equal(slate_add_sentence(s, ids, 3), i);
        }
        assert_int_equal(s->n_sentences, 1000);
        assert_int_equal(s->n_tokens, 3000);
    }
    assert_int_equal(s->tokens[s->sentences[999].first + 1], 999);
    assert_int_equal(slate_add_sentence(s, NULL, 0), 1000);
    assert_int_equal(slate_add_sentence(s, NULL, 0), 1000);
    slate_free(s);
}

static void test_reuse_allocates_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *s = NULL;
    struct buf b = {0};
    long total = 0;
    assert_ok(slate_new(&s, &e), &e);
    for (int round = 0; round < 1000; round++) {
        struct rand r = dice((uint64_t)round % 50);
        slate_reset(s);
        random_slate(s, &r);
        buf_clear(&b);
        slate_encode(&b, s);
        struct buf_reader reader = buf_reader(b.p, b.n);
        assert_ok(slate_decode(s, &reader, &e), &e);
        if (round == 50) total = mem_total();
        if (round > 50) assert_int_equal(mem_total(), total);
    }
    slate_free(s);
    buf_fini(&b);
}

static struct buf packed;
static enum status decode_once(void)
{
    struct slate *s = NULL;
    struct err e = {0};
    enum status st = slate_new(&s, &e);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    if (st == STATUS_OK) st = slate_decode(s, &r, &e);
    slate_free(s);
    return st;
}

static void test_failing_allocations_leave_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct slate *s = NULL;
    long n;
    assert_ok(slate_new(&s, &e), &e);
    for (int32_t i = 0; i < 20000; i++) { /* several arena blocks */
        const int32_t ids[2] = {i, 1};
        assert_int_equal(slate_add_sentence(s, ids, 2), i);
    }
    struct slate_item item = {.id = STR("a"), .label = NAN, .weight = 1};
    s->items = &item;
    s->n_items = 1;
    slate_encode(&packed, s);
    FAIL_EACH_ALLOCATION(n, decode_once());
    assert_true(n >= 4);
    mem_fail_after(0);
    uint32_t at = 0;
    for (int32_t i = 20000; i < 200000 && at != UINT32_MAX; i++) {
        const int32_t ids[2] = {i, 2};
        at = slate_add_sentence(s, ids, 2);
    }
    mem_fail_after(-1);
    assert_int_equal(at, UINT32_MAX);
    slate_free(s);
    buf_fini(&packed);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_slates_round_trip),
        cmocka_unit_test(test_format_1_is_still_read),
        cmocka_unit_test(test_keeping_some_candidates),
        cmocka_unit_test(test_every_truncation_is_corrupt),
        cmocka_unit_test(test_flipped_bits_never_break_the_invariants),
        cmocka_unit_test(test_wrong_values_are_refused),
        cmocka_unit_test(test_lying_counts_are_refused),
        cmocka_unit_test(test_equal_sentences_are_kept_once),
        cmocka_unit_test(test_reuse_allocates_nothing),
        cmocka_unit_test(test_failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
