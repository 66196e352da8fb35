/* test_record.c - users, items and states come back as packed; what is cut off, out of range or of another format does not. */
#include "base/hash.h"
#include "base/rand.h"
#include "schemas/record.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct str own(const char *text)
{
    return (struct str){mem_strdup(text), strlen(text)};
}

static struct record_attr *random_attrs(struct rand *r, uint32_t *n)
{
    *n = (uint32_t)rand_below(r, 5);
    struct record_attr *attrs = mem_calloc(*n, sizeof *attrs);
    for (uint32_t i = 0; i < *n; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "attr%u", i);
        attrs[i] = (struct record_attr){own(name),
                                        own("red\x1f"
                                            "茶"),
                                        rand_below(r, 2) ? NAN : rand_normal(r)};
    }
    return attrs;
}

static struct record_tally *random_tallies(struct rand *r, uint32_t *n)
{
    *n = (uint32_t)rand_below(r, RECORD_TALLY_TYPES + 1);
    struct record_tally *t = mem_calloc(*n, sizeof *t);
    for (uint32_t i = 0; i < *n; i++) {
        t[i].type = (uint8_t)i;
        t[i].time_ms = (int64_t)rand_u64(r);
        t[i].total = rand_normal(r);
        for (int h = 0; h < RECORD_HALF_LIVES; h++) t[i].decayed[h] = rand_normal(r);
    }
    return t;
}

static int32_t *random_ids(struct rand *r, uint16_t *n, uint64_t *hash)
{
    *n = (uint16_t)rand_below(r, 30);
    if (*n == 0) {
        *hash = 0;
        return NULL;
    }
    int32_t *ids = mem_calloc(*n, sizeof *ids);
    for (uint16_t i = 0; i < *n; i++) ids[i] = (int32_t)rand_below(r, 30522);
    *hash = hash_bytes(ids, *n * sizeof *ids);
    return ids;
}

static void random_event(struct record_event *ev, struct rand *r)
{
    ev->item = rand_u64(r);
    ev->time_ms = (int64_t)rand_u64(r);
    ev->ids = random_ids(r, &ev->n_ids, &ev->sentence);
    ev->type = (uint8_t)rand_below(r, EVENT_TYPES_MAX);
    ev->price = rand_below(r, 2) ? NAN : (float)rand_normal(r);
    ev->category = rand_u64(r);
    ev->brand = rand_u64(r);
    if (rand_below(r, 2) == 0) ev->words = own("words");
}

static void random_user(struct record_user *u, uint64_t n)
{
    struct rand dice, *r = &dice;
    rand_init(r, (struct rand_key){.seed = 8, .offset = n, .purpose = RAND_TEST});
    *u = (struct record_user){.id = own("u-1"),
                              .first_ms = (int64_t)rand_u64(r),
                              .last_ms = (int64_t)rand_u64(r),
                              .n_slates = rand_u32(r),
                              .price_sum = rand_normal(r),
                              .price_n = rand_unit(r)};
    u->attrs = random_attrs(r, &u->n_attrs);
    u->tallies = random_tallies(r, &u->n_tallies);
    u->n_events = u->cap_events = (uint32_t)rand_below(r, 6);
    u->events = mem_calloc(u->n_events, sizeof *u->events);
    for (uint32_t i = 0; i < u->n_events; i++) random_event(&u->events[i], r);
    u->n_pairs = u->cap_pairs = (uint32_t)rand_below(r, 6);
    u->pairs = mem_calloc(u->n_pairs, sizeof *u->pairs);
    for (uint32_t i = 0; i < u->n_pairs; i++)
        u->pairs[i] = (struct record_pair){i / 2, (int64_t)rand_u64(r), rand_u32(r), (uint8_t)(i % 2)};
}

static void random_item(struct record_item *it, uint64_t n)
{
    struct rand dice, *r = &dice;
    rand_init(r, (struct rand_key){.seed = 9, .offset = n, .purpose = RAND_TEST});
    *it = (struct record_item){.id = own("i-1"),
                               .row = rand_u32(r),
                               .first_ms = (int64_t)rand_u64(r),
                               .last_ms = (int64_t)rand_u64(r),
                               .announced = rand_below(r, 2) != 0,
                               .deleted = rand_below(r, 2) != 0,
                               .positives = rand_u64(r),
                               .sample_weight = rand_u32(r),
                               .category = rand_u64(r),
                               .brand = rand_u64(r),
                               .price = NAN};
    it->hash = hash_str(it->id);
    it->attrs = random_attrs(r, &it->n_attrs);
    it->tallies = random_tallies(r, &it->n_tallies);
    it->ids = random_ids(r, &it->n_ids, &it->sentence);
    for (int k = 0; k < RECORD_RATES; k++)
        if (rand_below(r, 2))
            it->rates[k] = (struct record_rate){(int64_t)rand_u64(r), 0.5f + (float)rand_unit(r), 0.25f};
    it->orders = rand_unit(r);
    it->orders_ms = (int64_t)rand_u64(r);
    it->n_neighbours = (uint32_t)rand_below(r, 5);
    it->neighbours = mem_calloc(it->n_neighbours, sizeof *it->neighbours);
    for (uint32_t i = 0; i < it->n_neighbours; i++)
        it->neighbours[i] = (struct record_neighbour){i * 7, (float)rand_unit(r), (float)rand_unit(r), 5};
}

static void same_attrs(const struct record_attr *a, const struct record_attr *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_true(str_eq(a[i].name, b[i].name) && str_eq(a[i].text, b[i].text));
        assert_true(isnan(a[i].number) ? isnan(b[i].number) : a[i].number == b[i].number);
    }
}

static void same_tallies(const struct record_tally *a, const struct record_tally *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_true(a[i].type == b[i].type && a[i].time_ms == b[i].time_ms && a[i].total == b[i].total);
        assert_memory_equal(a[i].decayed, b[i].decayed, sizeof a[i].decayed);
    }
}

static void same_ids(const int32_t *a, uint16_t na, uint64_t ha, const int32_t *b, uint16_t nb, uint64_t hb)
{
    assert_int_equal(na, nb);
    assert_true(ha == hb);
    if (na > 0) assert_memory_equal(a, b, na * sizeof *a);
}

static void same_user(const struct record_user *a, const struct record_user *b)
{
    assert_true(str_eq(a->id, b->id) && a->first_ms == b->first_ms && a->last_ms == b->last_ms);
    assert_true(a->n_slates == b->n_slates && a->price_sum == b->price_sum && a->price_n == b->price_n);
    assert_true(a->n_attrs == b->n_attrs && a->n_tallies == b->n_tallies);
    assert_true(a->n_events == b->n_events && a->n_pairs == b->n_pairs);
    same_attrs(a->attrs, b->attrs, a->n_attrs);
    same_tallies(a->tallies, b->tallies, a->n_tallies);
    for (uint32_t i = 0; i < a->n_events; i++) {
        const struct record_event *x = &a->events[i], *y = &b->events[i];
        same_ids(x->ids, x->n_ids, x->sentence, y->ids, y->n_ids, y->sentence);
        assert_true(x->item == y->item && x->time_ms == y->time_ms && x->type == y->type &&
                    x->category == y->category && x->brand == y->brand && str_eq(x->words, y->words));
        assert_true(isnan(x->price) ? isnan(y->price) : x->price == y->price);
    }
    for (uint32_t i = 0; i < a->n_pairs; i++) {
        const struct record_pair *x = &a->pairs[i], *y = &b->pairs[i];
        assert_true(x->item == y->item && x->last_ms == y->last_ms && x->count == y->count && x->type == y->type);
    }
}

static void same_item(const struct record_item *a, const struct record_item *b)
{
    assert_true(str_eq(a->id, b->id) && a->hash == b->hash && a->row == b->row && a->first_ms == b->first_ms);
    assert_true(a->last_ms == b->last_ms && a->announced == b->announced && a->deleted == b->deleted);
    assert_true(a->positives == b->positives && a->sample_weight == b->sample_weight && a->category == b->category);
    assert_true(a->brand == b->brand && isnan(b->price) && a->n_attrs == b->n_attrs && a->n_tallies == b->n_tallies);
    same_attrs(a->attrs, b->attrs, a->n_attrs);
    same_tallies(a->tallies, b->tallies, a->n_tallies);
    same_ids(a->ids, a->n_ids, a->sentence, b->ids, b->n_ids, b->sentence);
    for (int k = 0; k < RECORD_RATES; k++)
        assert_true(a->rates[k].time_ms == b->rates[k].time_ms && a->rates[k].shown == b->rates[k].shown &&
                    a->rates[k].taken == b->rates[k].taken);
    assert_true(a->orders == b->orders && a->orders_ms == b->orders_ms && a->n_neighbours == b->n_neighbours);
    for (uint32_t i = 0; i < a->n_neighbours; i++)
        assert_memory_equal(&a->neighbours[i], &b->neighbours[i], sizeof *a->neighbours);
}

static void test_random_users_round_trip(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    for (uint64_t n = 0; n < 300; n++) {
        struct record_user u, back = {0};
        random_user(&u, n);
        buf_clear(&b);
        record_user_encode(&b, &u);
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_ok(record_user_decode(&back, &r, &e), &e);
        assert_int_equal(buf_left(&r), 0);
        same_user(&u, &back);
        record_user_fini(&u);
        record_user_fini(&back);
    }
    buf_fini(&b);
    assert_int_equal(mem_live(), 0);
}

/* A record at rest opens as it was, byte for byte when packed; token ids beyond two bytes, too. */
static void test_users_at_rest_open_as_they_were(void **state)
{
    (void)state;
    struct buf b = {0}, again = {0};
    struct arena scratch;
    arena_init(&scratch, 0);
    for (uint64_t n = 0; n < 300; n++) {
        struct record_user u, open = {.scratch = &scratch};
        random_user(&u, n);
        if (n % 3 == 0 && u.n_events > 0 && u.events[0].n_ids > 0) {
            u.events[0].ids[0] = 250000;
            u.events[0].sentence = hash_bytes(u.events[0].ids, u.events[0].n_ids * sizeof *u.events[0].ids);
        }
        const size_t bytes = record_user_rest_bytes(&u);
        void *block = mem_calloc(bytes, 1);
        assert_non_null(block);
        assert_int_equal(record_user_rest(block, &u), bytes);
        assert_true(str_eq(record_user_rest_id(block), u.id));
        arena_reset(&scratch);
        assert_true(record_user_open(&open, block));
        same_user(&u, &open);
        buf_clear(&b);
        buf_clear(&again);
        record_user_encode(&b, &u);
        record_user_encode(&again, &open);
        assert_int_equal(b.n, again.n);
        assert_memory_equal(b.p, again.p, b.n);
        assert_true(b.n < 100 || bytes < 2 * b.n);
        record_user_fini(&open);
        assert_ptr_equal(open.scratch, &scratch);
        mem_free(block);
        record_user_fini(&u);
    }
    buf_fini(&b);
    buf_fini(&again);
    arena_fini(&scratch);
    assert_int_equal(mem_live(), 0);
}

static void test_random_items_round_trip(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    for (uint64_t n = 0; n < 300; n++) {
        struct record_item it, back = {0};
        random_item(&it, n);
        buf_clear(&b);
        record_item_encode(&b, &it);
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_ok(record_item_decode(&back, &r, &e), &e);
        assert_int_equal(buf_left(&r), 0);
        same_item(&it, &back);
        assert_true(record_attr(back.attrs, back.n_attrs, "no such") == NULL);
        if (back.n_attrs > 1) assert_ptr_equal(record_attr(back.attrs, back.n_attrs, "attr1"), &back.attrs[1]);
        record_item_fini(&it);
        record_item_fini(&back);
    }
    buf_fini(&b);
    assert_int_equal(mem_live(), 0);
}

static enum status user_from(const void *p, size_t n, struct err *e)
{
    struct record_user u = {0};
    struct buf_reader r = buf_reader(p, n);
    const enum status st = record_user_decode(&u, &r, e);
    if (st == STATUS_OK)
        record_user_fini(&u);
    else
        assert_true(u.id.p == NULL && u.n_events == 0 && u.events == NULL);
    return st;
}

static enum status item_from(const void *p, size_t n, struct err *e)
{
    struct record_item it = {0};
    struct buf_reader r = buf_reader(p, n);
    const enum status st = record_item_decode(&it, &r, e);
    if (st == STATUS_OK)
        record_item_fini(&it);
    else
        assert_true(it.id.p == NULL && it.attrs == NULL);
    return st;
}

static void hurt(enum status (*from)(const void *, size_t, struct err *), struct buf *b)
{
    struct err e = {0};
    const long live = mem_live();
    for (size_t cut = 0; cut < b->n; cut++) {
        char *copy = mem_strndup((const char *)b->p, cut);
        assert_int_equal(from(copy, cut, &e), STATUS_CORRUPT);
        mem_free(copy);
        assert_int_equal(mem_live(), live);
    }
    for (size_t bit = 0; bit < b->n * 8; bit++) {
        b->p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_equal(from(b->p, b->n, &e), STATUS_CORRUPT);
        assert_int_equal(mem_live(), live);
        b->p[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

static void test_cut_and_flipped_records_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    for (uint64_t n = 0; n < 10; n++) {
        struct record_user u;
        struct record_item it;
        random_user(&u, n);
        buf_clear(&b);
        record_user_encode(&b, &u);
        record_user_fini(&u);
        hurt(user_from, &b);
        random_item(&it, n);
        buf_clear(&b);
        record_item_encode(&b, &it);
        record_item_fini(&it);
        hurt(item_from, &b);
    }
    buf_fini(&b);
}

static void make_unchecked(struct buf *b)
{
    b->p[0] = RECORD_FORMAT_UNCHECKED;
    b->n -= 8;
}

/* What items of formats 1 and 2 did not have: rates, orders and neighbours, here none. */
static void make_alone(struct record_item *it, struct buf *b)
{
    mem_free(it->neighbours);
    it->neighbours = NULL;
    it->n_neighbours = 0;
    it->orders = 0;
    it->orders_ms = 0;
    memset(it->rates, 0, sizeof it->rates);
    record_item_encode(b, it);
    b->n -= 8 + 1 + (8 + 8 + 1);
    b->p[0] = RECORD_FORMAT_ALONE;
    buf_u64(b, hash_bytes(b->p, b->n));
}

static void test_items_without_neighbours_are_read(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    struct record_item it, item = {0};
    random_item(&it, 3);
    make_alone(&it, &b);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(record_item_decode(&item, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    same_item(&it, &item);
    record_item_fini(&it), record_item_fini(&item);
    buf_fini(&b);
}

/* Format 1 had no check at its end: state folders of that time are still read. */
static void test_records_without_a_check_are_read(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    struct record_user u, user = {0};
    struct record_item it, item = {0};
    random_user(&u, 3);
    record_user_encode(&b, &u);
    make_unchecked(&b);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(record_user_decode(&user, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    same_user(&u, &user);
    buf_clear(&b);
    random_item(&it, 3);
    make_alone(&it, &b);
    make_unchecked(&b);
    r = buf_reader(b.p, b.n);
    assert_ok(record_item_decode(&item, &r, &e), &e);
    same_item(&it, &item);
    record_user_fini(&u), record_user_fini(&user);
    record_item_fini(&it), record_item_fini(&item);
    buf_fini(&b);
}

static void test_neighbours_out_of_order_are_refused(void **state)
{
    (void)state;
    struct record_neighbour list[2] = {{.item = 1}, {.item = 2}};
    const struct record_item it = {.id = STR("i"), .neighbours = list, .n_neighbours = 2};
    struct buf b = {0};
    struct err e = {0};
    record_item_encode(&b, &it);
    assert_ok(item_from(b.p, b.n, &e), &e);
    for (int turn = 0; turn < 3; turn++) {
        list[1].item = turn == 0 ? 1 : 2;
        list[0].together = turn == 1 ? NAN : 0;
        list[1].orders = turn == 2 ? -1 : 0;
        buf_clear(&b);
        record_item_encode(&b, &it);
        assert_int_equal(item_from(b.p, b.n, &e), STATUS_CORRUPT);
        assert_non_null(strstr(e.text, "neighbour"));
    }
    buf_fini(&b);
}

static void refuse_user(const struct record_user *u, const char *why)
{
    struct buf b = {0};
    struct err e = {0};
    record_user_encode(&b, u);
    assert_int_equal(user_from(b.p, b.n, &e), STATUS_CORRUPT);
    if (strstr(e.text, why) == NULL) fail_msg("'%s' does not say '%s'", e.text, why);
    buf_fini(&b);
}

static void test_wrong_values_are_refused(void **state)
{
    (void)state;
    struct record_tally tallies[2] = {{.type = 1}, {.type = 1}};
    struct record_pair pairs[2] = {{.item = 2}, {.item = 1}};
    struct record_event event = {.price = NAN, .type = EVENT_TYPES_MAX};
    struct record_user u = {.id = STR("")};
    refuse_user(&u, "no id");
    u.id = STR("u");
    u.price_sum = NAN;
    refuse_user(&u, "head");
    u.price_sum = 0;
    u.tallies = tallies;
    u.n_tallies = 2;
    refuse_user(&u, "twice");
    tallies[1].type = 2;
    tallies[1].decayed[3] = INFINITY;
    refuse_user(&u, "not finite");
    u.n_tallies = 1;
    u.pairs = pairs;
    u.n_pairs = 2;
    refuse_user(&u, "out of order");
    pairs[1].item = 2;
    refuse_user(&u, "out of order");
    u.n_pairs = 1;
    u.events = &event;
    u.n_events = 1;
    refuse_user(&u, "an event");
}

static void test_states_round_trip(void **state)
{
    (void)state;
    uint16_t pooled[6], final[6], tokens[3 * 6];
    struct err e = {0};
    for (uint16_t i = 0; i < 18; i++) tokens[i] = (uint16_t)(i * 1000);
    memcpy(pooled, tokens + 3, sizeof pooled);
    memcpy(final, tokens + 7, sizeof final);
    for (uint32_t n = 0; n <= 3; n += 3) {
        const struct record_state s = {
            .n_tokens = n, .width = 6, .pooled = pooled, .final = final, .tokens = n > 0 ? tokens : NULL};
        struct record_state back;
        struct buf b = {0};
        record_state_encode(&b, &s);
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_ok(record_state_decode(&back, &r, &e), &e);
        assert_int_equal(buf_left(&r), 0);
        assert_int_equal(back.width, 6);
        assert_int_equal(back.n_tokens, n);
        assert_memory_equal(back.pooled, pooled, sizeof pooled);
        assert_memory_equal(back.final, final, sizeof final);
        if (n > 0)
            assert_memory_equal(back.tokens, tokens, sizeof tokens);
        else
            assert_null(back.tokens);
        for (size_t cut = 0; cut < b.n; cut++) {
            r = buf_reader(b.p, cut);
            assert_int_equal(record_state_decode(&back, &r, &e), STATUS_CORRUPT);
        }
        for (size_t bit = 0; bit < b.n * 8; bit++) {
            b.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
            r = buf_reader(b.p, b.n);
            assert_int_equal(record_state_decode(&back, &r, &e), STATUS_CORRUPT);
            b.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        buf_fini(&b);
    }
}

static struct buf packed_user, packed_item;
static enum status decode_both(void)
{
    struct err e = {0};
    const enum status st = user_from(packed_user.p, packed_user.n, &e);
    return st != STATUS_OK ? st : item_from(packed_item.p, packed_item.n, &e);
}

static void test_failing_allocations_leave_nothing(void **state)
{
    (void)state;
    struct record_user u = {0};
    struct record_item it = {0};
    long n;
    uint64_t i = 0;
    do {
        record_user_fini(&u);
        record_item_fini(&it);
        random_user(&u, i);
        random_item(&it, i++);
    } while (u.n_events < 2 || u.n_pairs == 0 || u.n_attrs == 0 || it.n_ids == 0 || u.n_tallies == 0);
    record_user_encode(&packed_user, &u);
    record_item_encode(&packed_item, &it);
    record_user_fini(&u);
    record_item_fini(&it);
    FAIL_EACH_ALLOCATION(n, decode_both());
    assert_true(n > 8);
    buf_fini(&packed_user);
    buf_fini(&packed_item);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_users_round_trip),
        cmocka_unit_test(test_users_at_rest_open_as_they_were),
        cmocka_unit_test(test_random_items_round_trip),
        cmocka_unit_test(test_cut_and_flipped_records_are_refused),
        cmocka_unit_test(test_records_without_a_check_are_read),
        cmocka_unit_test(test_items_without_neighbours_are_read),
        cmocka_unit_test(test_neighbours_out_of_order_are_refused),
        cmocka_unit_test(test_wrong_values_are_refused),
        cmocka_unit_test(test_states_round_trip),
        cmocka_unit_test(test_failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
