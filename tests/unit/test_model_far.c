/* test_model_far.c - what a step of learning asks of a device, counted on the emulated one: how often the host waits, what is
 * launched and copied, and that a warm step makes no room.
 */
#include "tests/cuda/emulate.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 20, WARM = 4 };

static const struct emulated_counts *(*asked)(void);

static int find_plugin(void **state)
{
    (void)state;
    char path[600];
    const char *plugins = getenv("FRESHET_PLUGINS"), *folder = plugins != NULL ? plugins : "tests";
    (void)snprintf(path, sizeof path, "%s/fake_cublaslt.so", folder);
    (void)setenv("FRESHET_CUBLASLT", path, 1);
    (void)snprintf(path, sizeof path, "%s/freshet_cuda_emulated.so", folder);
    (void)setenv("FRESHET_KERNELS_PLUGIN", path, 1);
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) return 0; /* not built with sanitizers */
    *(void **)&asked = dlsym(plugin, "emulated_asked");
    return asked != NULL ? 0 : -1;
}

static const char *const options[] = {"model.parts=text,match,numeric,cooccur,hashed,idvec,itembias,deep",
                                      "model.idvec_bits=6", NULL};

struct steps {
    struct model_world w;
    struct optim *optim;
    struct slate *slates[MOST];
    double losses[MOST];
};

static void open_steps(struct steps *s)
{
    struct err e;
    model_world_open(&s->w, "cuda", "pooled", 2, options);
    model_world_shake(&s->w);
    assert_ok(model_bind(s->w.run, s->w.p, &e), &e);
    assert_ok(optim_new(&s->optim, model_table(s->w.model), s->w.conf, &e), &e);
    for (uint32_t i = 0; i < MOST; i++) s->slates[i] = model_world_slate(&s->w, 3 + i % 5, i % 6);
}

static void close_steps(struct steps *s)
{
    for (size_t i = 0; i < MOST; i++) slate_free(s->slates[i]);
    optim_free(s->optim);
    model_world_close(&s->w);
}

static void step(struct steps *s, size_t n)
{
    struct err e;
    uint64_t examples = 0;
    for (size_t i = 0; i < n; i++) examples += s->slates[i]->n_items;
    assert_ok(model_learn_many(s->w.run, (const struct slate *const *)s->slates, n, 1, s->losses, &e), &e);
    assert_ok(optim_step(s->optim, model_run_kern(s->w.run), s->w.p, model_grads(s->w.run), examples, &e), &e);
    model_apply_stats(s->w.run, s->w.p);
    assert_ok(model_stepped(s->w.run, s->w.p, &e), &e);
    model_grads_clear(s->w.run);
}

static struct emulated_counts since(const struct emulated_counts *b)
{
    const struct emulated_counts *a = asked();
    return (struct emulated_counts){.waits = a->waits - b->waits,
                                    .launches = a->launches - b->launches,
                                    .plays = a->plays - b->plays,
                                    .recordings = a->recordings - b->recordings,
                                    .up = a->up - b->up,
                                    .down = a->down - b->down,
                                    .between = a->between - b->between,
                                    .device_rooms = a->device_rooms - b->device_rooms,
                                    .pinned_rooms = a->pinned_rooms - b->pinned_rooms};
}

/* Of the same shapes as others, whatever is in them. */
static void test_a_step_waits_once_and_is_played(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, MOST};
    struct steps s;
    if (asked == NULL) skip();
    open_steps(&s);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct emulated_counts first = *asked();
        step(&s, sizes[i]);
        const struct emulated_counts one = since(&first);
        for (int warm = 0; warm < WARM; warm++) step(&s, sizes[i]);
        s.slates[0]->numeric[0] += 0.5f;
        const struct emulated_counts before = *asked();
        step(&s, sizes[i]);
        const struct emulated_counts c = since(&before);
        print_message(
            "%zu slates: at first %zu launches, %zu up, %zu between; then %zu, %zu, %zu, %zu played, %zu waits\n",
            sizes[i], one.launches, one.up, one.between, c.launches, c.up, c.between, c.plays, c.waits);
        assert_int_equal(c.waits, 1);
        assert_int_equal(c.plays, 3); /* there and back; AdamW; what is cleared, and sparse rows */
        assert_int_equal(c.launches + c.between + c.recordings + c.device_rooms + c.pinned_rooms, 0);
        assert_int_equal(c.down, 1);
        assert_true(c.up <= 3);
    }
    close_steps(&s);
}

static void learnt(float *w, size_t n)
{
    struct steps s;
    open_steps(&s);
    for (size_t i = 0; i < 8; i++) {
        for (uint32_t k = 0; k < s.slates[0]->n_items; k++) s.slates[0]->items[k].label = (i + k) % 3 == 0;
        s.slates[1]->numeric[1] = 0.3f * (float)i;
        step(&s, i == 5 ? 3 : 2);
    }
    param_here(s.w.p);
    assert_true(n <= s.w.p->n);
    memcpy(w, s.w.p->w, n * sizeof *w);
    close_steps(&s);
}

static void test_what_is_played_has_the_bits_of_what_is_launched(void **state)
{
    (void)state;
    enum { N = 4000 };
    static float played[N], launched[N];
    if (asked == NULL) skip();
    const struct emulated_counts first = *asked();
    learnt(played, N);
    const struct emulated_counts one = since(&first);
    (void)setenv("FRESHET_EMULATED_FAULT", "capture", 1);
    learnt(launched, N);
    (void)unsetenv("FRESHET_EMULATED_FAULT");
    const struct emulated_counts both = since(&first);
    assert_true(one.plays > 8 && one.launches < both.launches - one.launches);
    assert_int_equal(both.plays, one.plays);
    assert_memory_equal(played, launched, sizeof played);
}

static void test_a_pass_of_scores_waits_once(void **state)
{
    (void)state;
    enum { N = 3 };
    struct steps s;
    struct err e;
    float logits[N][8], *at[N] = {logits[0], logits[1], logits[2]};
    if (asked == NULL) skip();
    open_steps(&s);
    for (uint32_t top = 0; top < 3;
         top += 2) { /* all candidates, or the best two by the cheap parts, are for part text */
        const uint32_t tops[N] = {top, top, top};
        for (int i = 0; i < WARM; i++)
            assert_ok(model_score_many(s.w.run, (const struct slate *const *)s.slates, N, tops, at, NULL, &e), &e);
        const struct emulated_counts before = *asked();
        assert_ok(model_score_many(s.w.run, (const struct slate *const *)s.slates, N, tops, at, NULL, &e), &e);
        const struct emulated_counts c = since(&before);
        assert_int_equal(c.waits, top == 0 ? 1 : 2);
        assert_int_equal(c.device_rooms + c.pinned_rooms, 0);
    }
    close_steps(&s);
}

/* The sums of a step whose loss is no number have not reached what comes after it. */
static void test_a_loss_that_is_no_number_leaves_nothing(void **state)
{
    (void)state;
    enum { BAD = 3, N = 5 };
    struct steps s;
    struct err e;
    if (asked == NULL) skip();
    open_steps(&s);
    struct kern *k = model_run_kern(s.w.run);
    const size_t dense = model_table(s.w.model)->group_first[PARAM_STAT];
    float *want = mem_calloc(dense, sizeof *want), *got = mem_calloc(dense, sizeof *got);
    for (uint32_t i = 0; i < s.slates[BAD]->n_items; i++)
        s.slates[BAD]->items[i].weight = 3e38f; /* together beyond a float */
    for (size_t i = 0; i < N; i++)
        if (i != BAD) assert_ok(model_learn(s.w.run, s.slates[i], 1, &s.losses[i], &e), &e);
    k->ops->download(k, want, model_grads(s.w.run)->dense, dense * sizeof *want);
    model_grads_clear(s.w.run);
    assert_ok(model_learn_many(s.w.run, (const struct slate *const *)s.slates, N, 1, s.losses, &e), &e);
    k->ops->download(k, got, model_grads(s.w.run)->dense, dense * sizeof *got);
    assert_true(isnan(s.losses[BAD]) && isfinite(s.losses[BAD - 1]) && isfinite(s.losses[BAD + 1]));
    assert_memory_equal(got, want, dense * sizeof *got);
    mem_free(want);
    mem_free(got);
    close_steps(&s);
}

struct small_steps {
    struct steps *s;
    float *dense;
    size_t n, calls;
};

/* What the quick tensors have to step with is finite, and waited for once; nothing is changed. */
static enum status look(void *user, size_t at, size_t n, bool *taken, struct err *e)
{
    struct small_steps *q = user;
    const struct param_table *t = model_table(q->s->w.model);
    struct kern *k = model_run_kern(q->s->w.run);
    (void)at, (void)n, (void)e;
    k->ops->download(k, q->dense, model_grads(q->s->w.run)->dense, q->n * sizeof *q->dense);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->offset < q->n && !p->slow) assert_int_equal(param_first_not_finite(q->dense + p->offset, p->n), p->n);
    }
    q->calls++;
    *taken = true;
    model_grads_clear(q->s->w.run);
    return STATUS_OK;
}

static void test_a_small_step_that_is_no_number_leaves_nothing(void **state)
{
    (void)state;
    enum { BAD = 2, N = 6, SIZE = 2 };
    struct steps s;
    struct err e;
    if (asked == NULL) skip();
    open_steps(&s);
    struct small_steps q = {&s, NULL, model_table(s.w.model)->group_first[PARAM_STAT], 0};
    const struct model_steps how = {SIZE, look, &q};
    q.dense = mem_calloc(q.n, sizeof *q.dense);
    for (uint32_t i = 0; i < s.slates[BAD]->n_items; i++) s.slates[BAD]->items[i].weight = 3e38f;
    assert_ok(model_learn_steps(s.w.run, (const struct slate *const *)s.slates, N, 1, s.losses, &how, &e), &e);
    assert_int_equal(q.calls, N / SIZE); /* the other one of its step alone */
    for (size_t i = 0; i < N; i++) assert_true(isnan(s.losses[i]) == (i == BAD));
    mem_free(q.dense);
    close_steps(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_waits_once_and_is_played),
        cmocka_unit_test(test_what_is_played_has_the_bits_of_what_is_launched),
        cmocka_unit_test(test_a_pass_of_scores_waits_once),
        cmocka_unit_test(test_a_loss_that_is_no_number_leaves_nothing),
        cmocka_unit_test(test_a_small_step_that_is_no_number_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, find_plugin, NULL);
}
