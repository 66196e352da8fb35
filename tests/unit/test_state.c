/* test_state.c - the frozen-state cache: the same bits however they come, pins and bounds, failures, many threads.
 *
 * labels: quick threads
 */
#include "base/arena.h"
#include "base/bf16.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "model/state.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SENTENCES 64
#define ROOM ((size_t)1 << 20)

static struct kern *kern;
static struct encoder *model;
static int32_t ids[SENTENCES][24];
static struct state_request req[SENTENCES];

static int open_model(void **state)
{
    (void)state;
    char folder[400];
    struct rand r;
    struct err e = {0};
    (void)snprintf(folder, sizeof folder, "%s", files_source("tests/golden/encoder/gelu"));
    assert_ok(kern_new(&kern, "cpu", &e), &e);
    assert_ok(encoder_open(&model, kern, folder, &e), &e);
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    for (size_t i = 0; i < SENTENCES; i++) {
        req[i].ids = ids[i];
        req[i].n = 1 + (uint32_t)rand_below(&r, 24);
        for (uint32_t j = 0; j < req[i].n; j++) ids[i][j] = (int32_t)rand_below(&r, encoder_shape(model)->V);
        req[i].hash = hash_bytes(ids[i], req[i].n * sizeof ids[i][0]);
    }
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    encoder_free(model);
    kern_free(kern);
    return 0;
}

static struct state_cache *new_cache(size_t mid, bool tokens, size_t bytes, unsigned threads)
{
    struct state_cache *c;
    struct err e = {0};
    assert_ok(state_cache_new(&c, model, mid, tokens, bytes, threads, "cpu", &e), &e);
    return c;
}

/* All numbers of an entry, one after the other. */
static size_t numbers(const struct state_entry *s, uint16_t *out)
{
    memcpy(out, s->pooled, s->width * sizeof *out);
    memcpy(out + s->width, s->final, s->width * sizeof *out);
    if (s->n_tokens > 0) memcpy(out + 2 * s->width, s->tokens, s->n_tokens * s->width * sizeof *out);
    return (2 + s->n_tokens) * s->width;
}

/* A sentence alone, among 7, among 64, with one worker and with three, found again: the same bits. */
static void test_same_bits_however_asked(void **state)
{
    (void)state;
    static uint16_t alone[SENTENCES][26 * 32], other[26 * 32];
    size_t n[SENTENCES];
    struct err e = {0};
    const struct state_entry *got[SENTENCES];
    for (size_t i = 0; i < SENTENCES; i++) {
        struct state_cache *c = i == 0 || i == 40 ? new_cache(1, true, ROOM, 1) : NULL;
        static struct state_cache *kept;
        if (c != NULL) state_cache_free(kept), kept = c; /* a fresh one now and then */
        assert_ok(state_acquire(kept, &req[i], 1, got, &e), &e);
        n[i] = numbers(got[0], alone[i]);
        assert_int_equal(got[0]->n_tokens, req[i].n);
        state_release(kept, got, 1);
        if (i == SENTENCES - 1) state_cache_free(kept);
    }
    static const size_t batches[] = {7, 64};
    for (unsigned threads = 1; threads <= 3; threads += 2)
        for (size_t b = 0; b < 2; b++) {
            struct state_cache *c = new_cache(1, true, ROOM, threads);
            for (int twice = 0; twice < 2; twice++) /* fresh, then from the cache */
                for (size_t i = 0; i + batches[b] <= SENTENCES; i += batches[b]) {
                    assert_ok(state_acquire(c, req + i, batches[b], got, &e), &e);
                    for (size_t j = 0; j < batches[b]; j++) {
                        assert_int_equal(numbers(got[j], other), n[i + j]);
                        assert_memory_equal(other, alone[i + j], n[i + j] * sizeof *other);
                    }
                    state_release(c, got, batches[b]);
                }
            state_cache_free(c);
        }
}

/* What an entry means, worked out beside it. */
static void test_numbers_are_what_they_say(void **state)
{
    (void)state;
    const size_t C = encoder_shape(model)->C;
    float mid[24 * 32], final[24 * 32], mean[32], vector[32];
    struct encoder_run *run;
    struct err e = {0};
    const struct state_entry *s;
    struct state_cache *c = new_cache(1, true, ROOM, 2);
    assert_ok(encoder_run_new(&run, model, "cpu", &e), &e);
    assert_ok(state_acquire(c, &req[5], 1, &s, &e), &e);
    assert_ok(encoder_run_sentence(run, req[5].ids, NULL, req[5].n, 1, mid, final, &e), &e);
    double length = 0.0, got_length = 0.0, final_length = 0.0;
    for (size_t i = 0; i < C; i++) {
        double sum = 0.0;
        for (size_t r = 0; r < req[5].n; r++) sum += mid[r * C + i];
        mean[i] = (float)(sum / req[5].n);
        length += (double)mean[i] * mean[i];
    }
    encoder_pool(model, final, req[5].n, vector);
    for (size_t i = 0; i < C; i++) {
        const double want = mean[i] * state_scale(c) / sqrt(length), got = bf16_to(s->pooled[i]);
        assert_true(fabs(got - want) <= fabs(want) / 250.0); /* bf16: 8 bits */
        assert_true(fabs(bf16_to(s->final[i]) - vector[i]) <= fabs((double)vector[i]) / 250.0);
        got_length += got * got;
        final_length += (double)bf16_to(s->final[i]) * bf16_to(s->final[i]);
    }
    assert_true(fabs(sqrt(got_length) - state_scale(c)) < 0.01 * state_scale(c));
    assert_true(fabs(final_length - 1.0) < 0.01);
    for (size_t i = 0; i < req[5].n * C; i++) assert_int_equal(s->tokens[i], bf16_from(mid[i]));
    state_release(c, &s, 1);
    encoder_run_free(run);
    state_cache_free(c);
}

static void test_hits_allocate_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct state_stats stats;
    const struct state_entry *got[SENTENCES];
    struct state_cache *c = new_cache(2, false, ROOM, 2);
    assert_ok(state_acquire(c, req, SENTENCES, got, &e), &e);
    state_release(c, got, SENTENCES);
    const long before = mem_total();
    for (int i = 0; i < 100; i++) {
        assert_ok(state_acquire(c, req, SENTENCES, got, &e), &e);
        state_release(c, got, SENTENCES);
    }
    assert_int_equal(mem_total(), before);
    state_stats(c, &stats);
    assert_int_equal(stats.misses, SENTENCES);
    assert_int_equal(stats.hits, 100 * SENTENCES);
    assert_int_equal(stats.encoded, SENTENCES);
    assert_int_equal(stats.entries, SENTENCES);
    assert_true(stats.bytes <= stats.max_bytes);
    state_cache_free(c);
}

/* Equal sentences in one request share an entry. */
static void test_equal_sentences_share(void **state)
{
    (void)state;
    struct err e = {0};
    struct state_stats stats;
    const struct state_entry *got[3];
    const struct state_request same[3] = {req[0], req[1], req[0]};
    struct state_cache *c = new_cache(0, false, ROOM, 2);
    assert_ok(state_acquire(c, same, 3, got, &e), &e);
    assert_ptr_equal(got[0], got[2]);
    assert_null(got[0]->tokens);
    state_stats(c, &stats);
    assert_int_equal(stats.encoded, 2);
    state_release(c, got, 3);
    assert_ok(state_acquire(c, NULL, 0, NULL, &e), &e);
    state_cache_free(c);
}

static struct state_request numbered(int32_t *id, size_t i)
{
    id[0] = (int32_t)(i % 48), id[1] = (int32_t)(i / 48 % 48), id[2] = (int32_t)(i / 2304);
    return (struct state_request){hash_bytes(id, 3 * sizeof *id), id, 3};
}

static void test_bounded_oldest_leaves_first(void **state)
{
    (void)state;
    struct err e = {0};
    struct state_stats stats;
    const struct state_entry *first, *got;
    int32_t id[3];
    struct state_cache *c = new_cache(1, false, 40000, 1);
    const struct state_request pinned = numbered(id, 0);
    assert_ok(state_acquire(c, &pinned, 1, &first, &e), &e);
    for (size_t i = 1; i < 500; i++) {
        int32_t other[3];
        const struct state_request q = numbered(other, i);
        assert_ok(state_acquire(c, &q, 1, &got, &e), &e);
        state_release(c, &got, 1);
        state_stats(c, &stats);
        assert_true(stats.bytes <= 40000);
    }
    assert_true(stats.evicted > 100 && stats.entries > 50);
    assert_int_equal(stats.evicted + stats.entries, 500);
    int32_t other[3];
    assert_true(state_has(c, pinned.hash)); /* in use: stays */
    assert_true(state_has(c, numbered(other, 499).hash));
    assert_false(state_has(c, numbered(other, 1).hash));
    state_release(c, &first, 1);
    state_cache_free(c);
}

/* More than there is room for is served while it is in use, and then leaves; what nobody waits for finds no room meanwhile. */
static void test_more_in_use_than_there_is_room_for(void **state)
{
    (void)state;
    enum { MANY = 500, BOUND = 40000 };
    static int32_t id[MANY + 1][3];
    static struct state_request many[MANY + 1];
    static const struct state_entry *got[MANY], *again[MANY];
    static uint16_t numbers[64];
    struct err e = {0};
    struct state_stats stats;
    for (size_t i = 0; i <= MANY; i++) many[i] = numbered(id[i], i);
    struct state_cache *c = new_cache(1, false, BOUND, 2);
    assert_ok(state_acquire(c, many, MANY, got, &e), &e);
    assert_ok(state_acquire(c, many, MANY, again, &e), &e);
    for (size_t i = 0; i < MANY; i++) assert_true(got[i] == again[i] && got[i]->hash == many[i].hash);
    state_stats(c, &stats);
    assert_true(stats.entries == MANY && stats.bytes > BOUND && stats.evicted == 0);
    state_want(c, many[MANY].hash, many[MANY].ids, many[MANY].n);
    assert_false(state_has(c, many[MANY].hash));
    const struct record_state one = {.width = got[0]->width, .pooled = numbers, .final = numbers};
    assert_true(one.width <= 64);
    assert_int_equal(state_put(c, many[MANY].hash, &one, &e), STATUS_FULL);
    assert_non_null(strstr(e.text, "kernels.cache_bytes"));
    state_release(c, got, MANY);
    state_stats(c, &stats);
    assert_int_equal(stats.entries, MANY); /* the second hand still holds them */
    state_release(c, again, MANY);
    state_stats(c, &stats);
    assert_true(stats.bytes <= BOUND && stats.entries > 20 && stats.entries + stats.evicted == MANY);
    size_t most = 0;
    while (state_fits(c, most + 1, 3 * (most + 1))) most++;
    assert_true(most >= 20 && most < stats.entries);
    assert_ok(state_put(c, many[MANY].hash, &one, &e), &e); /* it goes on */
    state_cache_free(c);
}

static void test_bad_sentences_fail_alone(void **state)
{
    (void)state;
    struct err e = {0};
    int32_t wrong[] = {1, 99999};
    const struct state_entry *got[3] = {(void *)1, (void *)1, (void *)1};
    struct state_cache *c = new_cache(1, false, ROOM, 2);
    const struct state_request bad[3] = {req[0], {7, wrong, 2}, req[1]};
    assert_int_equal(state_acquire(c, bad, 3, got, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "99999"));
    assert_true(got[0] == NULL && got[1] == NULL && got[2] == NULL);
    assert_false(state_has(c, 7));
    const struct state_request empty = {8, wrong, 0};
    assert_int_equal(state_acquire(c, &empty, 1, got, &e), STATUS_INVALID);
    assert_ok(state_acquire(c, req, 2, got, &e), &e);
    state_release(c, got, 2);
    state_cache_free(c);
}

static void test_put_keeps_what_was_fetched(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b = {0};
    static uint16_t before[26 * 32], after[26 * 32];
    const struct state_entry *s;
    struct state_cache *from = new_cache(1, true, ROOM, 1), *to = new_cache(1, true, ROOM, 1);
    assert_int_equal(state_key(from, req[9].hash), state_key(to, req[9].hash));
    assert_ok(state_acquire(from, &req[9], 1, &s, &e), &e);
    const struct record_state r = state_record(s);
    record_state_encode(&b, &r);
    struct buf_reader rd = buf_reader(b.p, b.n);
    struct record_state back;
    assert_ok(record_state_decode(&back, &rd, &e), &e);
    assert_ok(state_put(to, req[9].hash, &back, &e), &e);
    assert_ok(state_put(to, req[9].hash, &back, &e), &e); /* there already: nothing happens */
    const size_t n = numbers(s, before);
    state_release(from, &s, 1);
    assert_ok(state_acquire(to, &req[9], 1, &s, &e), &e);
    assert_int_equal(numbers(s, after), n);
    assert_memory_equal(before, after, n * sizeof *after);
    struct state_stats stats;
    state_stats(to, &stats);
    assert_true(stats.put == 1 && stats.encoded == 0 && stats.hits == 1);
    state_release(to, &s, 1);
    buf_fini(&b);
    state_cache_free(from);
    state_cache_free(to);
}

static void test_put_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct err e = {0};
    uint16_t x[64] = {0};
    struct state_cache *plain = new_cache(1, false, ROOM, 1), *tokens = new_cache(1, true, ROOM, 1);
    struct record_state r = {.n_tokens = 0, .width = 31, .pooled = x, .final = x};
    assert_int_equal(state_put(plain, 1, &r, &e), STATUS_INVALID);
    r.width = 32;
    assert_int_equal(state_put(tokens, 1, &r, &e), STATUS_INVALID);
    x[5] = 0x7f80;
    assert_int_equal(state_put(plain, 1, &r, &e), STATUS_INVALID);
    x[5] = 0x7fc1;
    assert_int_equal(state_put(plain, 1, &r, &e), STATUS_INVALID);
    x[5] = 0xbf80;
    assert_ok(state_put(plain, 1, &r, &e), &e);
    assert_true(state_key(plain, 1) != state_key(tokens, 1)); /* other contents, other name */
    state_cache_free(plain);
    state_cache_free(tokens);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    struct state_cache *c = (void *)1;
    struct err e = {0};
    assert_int_equal(state_cache_new(&c, model, 3, false, ROOM, 1, "cpu", &e), STATUS_INVALID);
    assert_null(c);
    assert_int_equal(state_cache_new(&c, model, 1, false, 5000, 1, "cpu", &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "kernels.cache_bytes"));
    assert_int_equal(state_cache_new(&c, model, 1, false, ROOM, 0, "cpu", &e), STATUS_INVALID);
    assert_int_equal(state_cache_new(&c, model, 1, false, ROOM, 1, "ref", &e), STATUS_INVALID); /* packed by cpu */
    state_cache_free(NULL);
}

static enum status make(void)
{
    struct state_cache *c;
    struct err e = {0};
    const enum status st = state_cache_new(&c, model, 1, false, ROOM, 2, "cpu", &e);
    if (st == STATUS_OK)
        state_cache_free(c);
    else
        assert_null(c);
    return st;
}

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, make());
    assert_true(met >= 8);
    struct err e = {0};
    const struct state_entry *got[4];
    struct state_cache *c = new_cache(1, false, ROOM, 1);
    FAIL_EACH_ALLOCATION(met, state_acquire(c, req, 1, got, &e)); /* one entry is one allocation */
    assert_int_equal(met, 1);
    state_release(c, got, 1);
    state_cache_free(c);
}

struct shopper {
    struct state_cache *c;
    unsigned seed;
    bool ok;
};

static void *shop(void *arg)
{
    struct shopper *s = arg;
    struct rand r;
    struct err e = {0};
    const struct state_entry *got[16];
    struct state_request some[16];
    rand_init(&r, (struct rand_key){.seed = s->seed, .purpose = RAND_TEST});
    s->ok = true;
    for (int i = 0; i < 200 && s->ok; i++) {
        const size_t n = 1 + rand_below(&r, 16);
        for (size_t j = 0; j < n; j++) some[j] = req[rand_below(&r, SENTENCES)];
        s->ok = state_acquire(s->c, some, n, got, &e) == STATUS_OK;
        for (size_t j = 0; s->ok && j < n; j++) s->ok = got[j]->hash == some[j].hash && got[j]->width == 32;
        if (s->ok) state_release(s->c, got, n);
    }
    return NULL;
}

/* Four request threads on two workers, with room for less than all sentences. */
static void test_many_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    struct shopper s[4];
    struct state_stats stats;
    struct state_cache *c = new_cache(1, false, 66 * 320, 2);
    for (unsigned i = 0; i < 4; i++) {
        s[i] = (struct shopper){.c = c, .seed = i};
        assert_int_equal(pthread_create(&t[i], NULL, shop, &s[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        assert_true(s[i].ok);
    }
    state_stats(c, &stats);
    assert_int_equal(stats.encoded, stats.misses);
    assert_true(stats.bytes <= stats.max_bytes);
    state_cache_free(c);
}

/* What was wanted is there when it is asked for, with the same bits; too many at once are dropped, none is lost. */
static void test_wanted_is_computed_ahead(void **state)
{
    (void)state;
    enum { MANY = 600 };
    struct state_cache *ahead = NULL, *plain = NULL;
    struct state_stats stats;
    struct err e = {0};
    assert_ok(state_cache_new(&ahead, model, 1, false, 8 << 20, 2, "cpu", &e), &e);
    assert_ok(state_cache_new(&plain, model, 1, false, 8 << 20, 1, "cpu", &e), &e);
    for (int32_t i = 0; i < MANY; i++) {
        const int32_t own[] = {2, i % 47, i / 47, 3};
        state_want(ahead, hash_bytes(own, sizeof own), own, 4);
        state_want(ahead, hash_bytes(own, sizeof own), own, 4); /* again: nothing */
    }
    for (int32_t i = 0; i < MANY; i++) {
        const int32_t own[] = {2, i % 47, i / 47, 3};
        const struct state_request q = {hash_bytes(own, sizeof own), own, 4};
        const struct state_entry *got, *want;
        assert_ok(state_acquire(ahead, &q, 1, &got, &e), &e);
        assert_ok(state_acquire(plain, &q, 1, &want, &e), &e);
        assert_memory_equal(got->pooled, want->pooled, 2 * got->width * sizeof *got->pooled);
        state_release(ahead, &got, 1);
        state_release(plain, &want, 1);
    }
    state_stats(ahead, &stats);
    assert_true(stats.wanted > 0 && stats.wanted <= MANY);
    assert_int_equal(stats.encoded, MANY);
    assert_int_equal(stats.hits + stats.misses, MANY);
    assert_int_equal(stats.misses, MANY - stats.wanted);
    state_cache_free(plain);
    state_cache_free(ahead);
}

/* A cache that is closed with work left does not do it first, and loses no memory. */
static void test_closing_leaves_what_is_only_wanted(void **state)
{
    (void)state;
    struct err e = {0};
    const long live = mem_live();
    struct state_cache *c = NULL;
    assert_ok(state_cache_new(&c, model, 1, false, 8 << 20, 1, "cpu", &e), &e);
    for (int32_t i = 0; i < 40; i++) {
        const int32_t own[] = {2, i, 3};
        state_want(c, hash_bytes(own, sizeof own), own, 3);
    }
    state_cache_free(c);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_however_asked),
        cmocka_unit_test(test_numbers_are_what_they_say),
        cmocka_unit_test(test_hits_allocate_nothing),
        cmocka_unit_test(test_wanted_is_computed_ahead),
        cmocka_unit_test(test_closing_leaves_what_is_only_wanted),
        cmocka_unit_test(test_equal_sentences_share),
        cmocka_unit_test(test_bounded_oldest_leaves_first),
        cmocka_unit_test(test_more_in_use_than_there_is_room_for),
        cmocka_unit_test(test_bad_sentences_fail_alone),
        cmocka_unit_test(test_put_keeps_what_was_fetched),
        cmocka_unit_test(test_put_refuses_what_does_not_fit),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
