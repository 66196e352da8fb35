/* test_eval_behind.c - slates that wait for a worker come to the same bits as slates that are evaluated at once.
 * labels: quick threads
 * timeout: 60 */
#include "tests/support/check.h"

#include "base/mem.h"
#include "base/rand.h"
#include "trainer/eval.h"
#include <string.h>

enum { SLATES = 600, K = 12, PARTS = 2, TASKS = 1 };
static const struct eval_setup setup = {.n_parts = PARTS, .n_tasks = TASKS, .n_segments = 1, .warmup = {.slates = 50}};

static void *room(struct slate *s, size_t n, size_t size)
{
    void *p = arena_alloc(s->arena, n, size);
    assert_non_null(p);
    return p;
}

/* All that the evaluator reads, drawn by the slate's number. */
static void fill(struct slate *s, uint64_t id, float *z, float *parts, float *frozen)
{
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = id, .purpose = RAND_TEST});
    slate_reset(s);
    s->id = id;
    s->time_ms = (int64_t)id * 100000;
    s->settled_ms = s->time_ms + 1000;
    s->source = id % 3 == 0 ? SLATE_ORGANIC : SLATE_IMPRESSION;
    s->type = EVENT_TYPES_MAX;
    s->user = arena_str(s->arena, id % 5 ? STR("one user") : STR("another"));
    s->version = arena_str(s->arena, id % 2 ? STR("12") : STR("13"));
    s->n_items = 2 + (uint32_t)(id % (K - 1));
    s->items = room(s, s->n_items, sizeof *s->items);
    s->segments = room(s, s->n_items, sizeof *s->segments);
    s->n_segments = 1;
    s->ranks = id % 7 == 0 ? room(s, SLATE_RANKS * (size_t)s->n_items, sizeof *s->ranks) : NULL;
    s->n_ranked = 40;
    for (uint32_t i = 0; i < s->n_items; i++) {
        s->items[i] = (struct slate_item){.item = rand_u64(&r) % 50,
                                          .label = rand_u64(&r) % 4 == 0 ? 1.0f : 0.0f,
                                          .popularity = (float)(rand_u64(&r) % 9),
                                          .position = i + 1,
                                          .tasks = (uint32_t)(rand_u64(&r) % 2),
                                          .served = 0.3f};
        s->segments[i] = (uint16_t)(id % 2);
        frozen[i] = (float)rand_normal(&r);
    }
    for (uint32_t i = 0; i < (PARTS + TASKS) * s->n_items; i++) parts[i] = (float)rand_normal(&r);
    for (uint32_t i = 0; i < s->n_items; i++) z[i] = parts[i] + parts[s->n_items + i];
}

static void work(void *user, size_t i)
{
    ((double *)user)[i] += 1.0;
}

/* The evaluator's state after all slates; the pool has runs in between, and figures are read once. */
static void evaluate(struct pool *p, struct buf *out)
{
    struct eval_setup with = setup;
    struct eval *ev;
    struct slate *s;
    struct report_figures f;
    struct err e = {0};
    double tasks[8] = {0};
    float z[K + 1], parts[(PARTS + TASKS) * (K + 1)], frozen[K + 1];
    with.pool = p;
    assert_ok(eval_new(&ev, &with, &e), &e);
    assert_ok(slate_new(&s, &e), &e);
    for (uint64_t id = 1; id <= SLATES; id++) {
        fill(s, id, z, parts, frozen);
        assert_ok(eval_slate(ev, s, z, parts, frozen, 0, &e), &e);
        if (id % 4 == 0) pool_run(p, work, tasks, 8);
        if (id == SLATES / 2) {
            eval_recent(ev, &f);
            assert_int_equal(f.slates > 0, 1);
            eval_recent_clear(ev);
        }
    }
    eval_encode(out, ev);
    assert_ok(buf_status(out, &e), &e);
    slate_free(s);
    eval_free(ev);
}

static void test_the_same_bits_whoever_evaluates(void **state)
{
    (void)state;
    struct buf at_once = {0}, behind = {0};
    struct err e = {0};
    evaluate(NULL, &at_once);
    for (unsigned threads = 2; threads <= 4; threads++) {
        struct pool *p;
        assert_ok(pool_new(&p, threads, false, &e), &e);
        buf_clear(&behind);
        evaluate(p, &behind);
        assert_int_equal(behind.n, at_once.n);
        assert_memory_equal(behind.p, at_once.p, at_once.n);
        pool_free(p);
    }
    buf_fini(&at_once);
    buf_fini(&behind);
}

/* So few that nobody was woken for them, and so many that somebody was: what waits is dropped with the evaluator. */
static void test_free_with_slates_that_wait(void **state)
{
    (void)state;
    struct pool *p;
    struct err e = {0};
    float z[K + 1], parts[(PARTS + TASKS) * (K + 1)], frozen[K + 1];
    assert_ok(pool_new(&p, 2, false, &e), &e);
    const long before = mem_live();
    for (uint64_t n = 1; n <= 60; n++) {
        struct eval_setup with = setup;
        struct eval *ev;
        struct slate *s;
        with.pool = p;
        assert_ok(eval_new(&ev, &with, &e), &e);
        assert_ok(slate_new(&s, &e), &e);
        for (uint64_t id = 1; id <= n; id++) {
            fill(s, id, z, parts, frozen);
            assert_ok(eval_slate(ev, s, z, parts, frozen, 0, &e), &e);
        }
        slate_free(s);
        eval_free(ev);
    }
    assert_int_equal(mem_live(), before);
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits_whoever_evaluates),
        cmocka_unit_test(test_free_with_slates_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
