/* test_optim_forget.c - schedules, forgetting AdaGrad sums, the pull to an anchor, a start anew: against their formulas in
 * double, and through a state. */
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DENSE = 5, LINEAR = 3, ROWS = 200, C = 4, EXAMPLES = 10 };

struct world {
    struct kern *kern;
    struct conf *conf;
    struct param_table t;
    size_t dense_at, linear_at, rows_at;
    struct param_set *p;
    struct optim *o;
    float dense[64];
    uint32_t rows[2];
    float row_grads[2 * C];
    struct model_rows sparse;
    struct model_grads g;
};

static void open_world(struct world *w, const char *const *options)
{
    struct err e;
    *w = (struct world){0};
    assert_ok(kern_new(&w->kern, "cpu", &e), &e);
    assert_ok(conf_new(&w->conf, &e), &e);
    assert_ok(conf_set_option(w->conf, "train.clip_norm=0", &e), &e);
    assert_ok(conf_set_option(w->conf, "train.warmup_steps=0", &e), &e);
    for (; *options != NULL; options++) assert_ok(conf_set_option(w->conf, *options, &e), &e);
    assert_ok(param_table_add(&w->t, "dense", PARAM_ADAMW, 1, (uint32_t[]){DENSE}, 0.01f, 0, &w->dense_at, &e), &e);
    assert_ok(param_table_add(&w->t, "linear", PARAM_ADAGRAD, 1, (uint32_t[]){LINEAR}, 0.1f, 0, &w->linear_at, &e), &e);
    assert_ok(param_table_add(&w->t, "rows", PARAM_SPARSE, 2, (uint32_t[]){ROWS, C}, 0.05f, 0, &w->rows_at, &e), &e);
    assert_ok(param_table_seal(&w->t, &e), &e);
    assert_ok(param_set_new(&w->p, &w->t, &e), &e);
    for (size_t i = 0; i < DENSE; i++) w->p->w[i] = gradient_number(i);
    assert_ok(optim_new(&w->o, &w->t, w->conf, &e), &e);
    w->sparse = (struct model_rows){.rows = w->rows, .grads = w->row_grads, .n = 2};
    w->g = (struct model_grads){.dense = w->dense, .sparse = &w->sparse, .n_sparse = 1};
}

static void close_world(struct world *w)
{
    optim_free(w->o);
    param_set_release(w->p);
    param_table_fini(&w->t);
    conf_free(w->conf);
    kern_free(w->kern);
}

static void set_grads(struct world *w, size_t step)
{
    memset(w->dense, 0, sizeof w->dense);
    for (size_t i = 0; i < DENSE; i++) w->dense[param_at(&w->t, w->dense_at)->offset + i] = 1.0f;
    for (size_t i = 0; i < LINEAR; i++)
        w->dense[param_at(&w->t, w->linear_at)->offset + i] = 2 * gradient_number(70 * step + i);
    w->rows[0] = (uint32_t)(step % 50);
    w->rows[1] = 50 + (uint32_t)(step * 7 % 150);
    for (size_t i = 0; i < 2 * C; i++) w->row_grads[i] = 3 * gradient_number(5000 + 90 * step + i);
}

static void step(struct world *w, size_t i)
{
    struct err e;
    set_grads(w, i);
    assert_ok(optim_step(w->o, w->kern, w->p, &w->g, EXAMPLES, &e), &e);
}

/* The rule written out: G <- 1 + keep (G - 1), then + g^2, for all rows at every step. */
static void check_forgetting(const char *half_life, double examples, size_t steps)
{
    struct world w;
    static double sums[ROWS], rows[ROWS][C];
    double linear_sums[LINEAR], linear[LINEAR] = {0};
    char option[64];
    (void)snprintf(option, sizeof option, "train.half_life_examples=%s", half_life);
    open_world(&w, (const char *const[]){option, NULL});
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < ROWS; i++) sums[i] = 1;
    for (size_t i = 0; i < LINEAR; i++) linear_sums[i] = 1;
    const double keep = exp2(-EXAMPLES / examples);
    for (size_t t = 1; t <= steps; t++) {
        step(&w, t);
        for (size_t i = 0; i < ROWS; i++) sums[i] = 1 + keep * (sums[i] - 1);
        for (size_t k = 0; k < 2; k++) {
            const float *g = w.row_grads + k * C;
            double *sum = &sums[w.rows[k]];
            for (size_t c = 0; c < C; c++) *sum += (double)g[c] * (double)g[c];
            for (size_t c = 0; c < C; c++) rows[w.rows[k]][c] -= 0.05 * (double)g[c] / sqrt(*sum);
        }
        for (size_t i = 0; i < LINEAR; i++) {
            const double g = (double)w.dense[param_at(&w.t, w.linear_at)->offset + i];
            linear_sums[i] = 1 + keep * (linear_sums[i] - 1) + g * g;
            linear[i] -= 0.1 * g / sqrt(linear_sums[i]);
        }
    }
    for (size_t i = 0; i < ROWS; i++)
        for (size_t c = 0; c < C; c++)
            assert_true(fabs((double)w.p->w[param_at(&w.t, w.rows_at)->offset + i * C + c] - rows[i][c]) < 1e-3);
    for (size_t i = 0; i < LINEAR; i++)
        assert_true(fabs((double)w.p->w[param_at(&w.t, w.linear_at)->offset + i] - linear[i]) < 1e-3);
    close_world(&w);
}

/* Also through many folds of the rows' common scale: 3,000 steps are 3,000 and 150 half-lives. */
static void test_sums_forget_by_the_half_life(void **state)
{
    (void)state;
    check_forgetting("10", 10, 3000);
    check_forgetting("200", 200, 3000);
    check_forgetting("1000000", 1e6, 500);
}

/* AdamW with a constant gradient of one moves by the rate itself: what it moved is the schedule. */
static void check_schedule(const char *name, double (*factor)(double t))
{
    struct world w;
    char option[64];
    (void)snprintf(option, sizeof option, "train.schedule=%s", name);
    open_world(&w, (const char *const[]){option, "train.schedule_steps=20", "train.warmup_steps=5", NULL});
    for (size_t t = 1; t <= 70; t++) {
        const float before = w.p->w[2];
        if (t == 60) optim_restart(w.o);
        step(&w, t);
        const double since = t < 60 ? (double)t : (double)t - 59, warm = since < 5 ? since / 5 : 1;
        assert_true(fabs((double)(before - w.p->w[2]) - 0.01 * warm * factor(since)) < 1e-6);
    }
    close_world(&w);
}

static double constant(double t)
{
    (void)t;
    return 1;
}

static double inverse_sqrt(double t)
{
    return t > 20 ? sqrt(20 / t) : 1;
}

static double cosine_restart(double t)
{
    return 0.1 + 0.9 * 0.5 * (1 + cos(acos(-1.0) * fmod(t, 20) / 20));
}

static void test_schedules_follow_their_formulas(void **state)
{
    (void)state;
    check_schedule("constant", constant);
    check_schedule("inverse_sqrt", inverse_sqrt);
    check_schedule("cosine_restart", cosine_restart);
}

/* A start anew lets AdaGrad take long steps again: sums keep a hundredth of what was beyond 1.  taken: dense moments of before go back
 * in between, which the rows' sums have nothing to do with. */
static void check_restart(bool taken)
{
    struct world w;
    struct err e;
    struct buf kept = {0};
    open_world(&w, (const char *const[]){NULL});
    struct optim_page page;
    const struct param *rows = param_at(&w.t, w.rows_at);
    const size_t at = 3 * C; /* row 3 */
    for (size_t t = 0; t < 40; t++) {
        set_grads(&w, 3);
        assert_ok(optim_step(w.o, w.kern, w.p, &w.g, EXAMPLES, &e), &e);
    }
    double square = 0;
    for (size_t c = 0; c < C; c++) square += (double)w.row_grads[c] * (double)w.row_grads[c];
    optim_page_get(w.o, w.p, 0, &page);
    assert_true(fabs((double)page.acc[at] - (1 + 40 * square)) < 1e-3 * 40 * square);
    optim_encode(&kept, w.o);
    optim_restart(w.o);
    struct buf_reader r = buf_reader(kept.p, kept.n);
    if (taken) assert_ok(optim_decode_dense(w.o, &r, &e), &e);
    const float before = w.p->w[rows->offset + at];
    set_grads(&w, 3);
    assert_ok(optim_step(w.o, w.kern, w.p, &w.g, EXAMPLES, &e), &e);
    const double want = 0.05 * (double)w.row_grads[0] / sqrt(1 + 0.4 * square + square);
    assert_true(fabs((double)(before - w.p->w[rows->offset + at]) - want) < 1e-5);
    buf_fini(&kept);
    close_world(&w);
}

static void test_restart_forgets_most_of_the_sums(void **state)
{
    (void)state;
    check_restart(false);
}

static void test_rows_keep_what_they_forgot_when_dense_moments_go_back(void **state)
{
    (void)state;
    check_restart(true);
}

/* Without a gradient the distance to the anchor shrinks by rate * l2_sp a step; another anchor is another place. */
static void test_weights_are_pulled_to_the_anchor(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    open_world(&w, (const char *const[]){"train.l2_sp=20", NULL}); /* a fifth of the distance a step */
    float start[DENSE];
    memcpy(start, w.p->w, sizeof start);
    optim_anchor(w.o, w.p);
    for (size_t i = 0; i < DENSE; i++) w.p->w[i] += 1.0f;
    memset(w.dense, 0, sizeof w.dense);
    w.sparse.n = 0;
    for (size_t t = 1; t <= 10; t++) {
        assert_ok(optim_step(w.o, w.kern, w.p, &w.g, EXAMPLES, &e), &e);
        for (size_t i = 0; i < DENSE; i++)
            assert_true(fabs((double)(w.p->w[i] - start[i]) - pow(0.8, (double)t)) < 1e-5);
    }
    float here[DENSE];
    optim_blessed(w.o, w.p); /* not asked for: the anchor stays */
    const float before = w.p->w[0];
    assert_ok(optim_step(w.o, w.kern, w.p, &w.g, EXAMPLES, &e), &e);
    assert_true(fabsf(w.p->w[0] - before) > 1e-3f);
    close_world(&w);
    open_world(&w, (const char *const[]){"train.l2_sp=20", "train.l2_sp_anchor=blessed", NULL});
    memset(w.dense, 0, sizeof w.dense);
    w.sparse.n = 0;
    optim_anchor(w.o, w.p);
    for (size_t i = 0; i < DENSE; i++) w.p->w[i] += 1.0f;
    optim_blessed(w.o, w.p);
    memcpy(here, w.p->w, sizeof here);
    for (size_t t = 0; t < 10; t++) assert_ok(optim_step(w.o, w.kern, w.p, &w.g, EXAMPLES, &e), &e);
    assert_memory_equal(w.p->w, here, sizeof here);
    close_world(&w);
}

/* State in the middle of all of it, with the pages: the same bits afterwards; cut short it is refused, and what a version
 * without any of it wrote is still read. */
static void test_goes_on_from_its_state_in_the_same_bits(void **state)
{
    (void)state;
    static const char *const options[] = {"train.half_life_examples=15", "train.schedule=cosine_restart",
                                          "train.schedule_steps=7", "train.l2_sp=3", NULL};
    struct world a, b;
    struct err e;
    struct buf kept = {0};
    open_world(&a, options);
    open_world(&b, options);
    optim_anchor(a.o, a.p);
    for (size_t t = 1; t <= 30; t++) {
        if (t == 12) optim_restart(a.o);
        step(&a, t);
    }
    optim_encode(&kept, a.o);
    struct buf_reader r = buf_reader(kept.p, kept.n);
    assert_ok(optim_decode(b.o, &r, &e), &e);
    memcpy(b.p->w, a.p->w, a.p->n * sizeof(float));
    for (size_t page = 0; page < optim_pages(a.o); page++) {
        struct optim_page x;
        optim_page_get(a.o, a.p, page, &x);
        assert_ok(optim_page_put(b.o, b.p, page, &x, &e), &e);
    }
    for (size_t t = 31; t <= 80; t++) step(&a, t), step(&b, t);
    assert_memory_equal(a.p->w, b.p->w, a.p->n * sizeof(float));
    for (size_t cut = 0; cut < kept.n; cut++) {
        r = buf_reader(kept.p, cut);
        assert_int_equal(optim_decode(b.o, &r, &e), STATUS_CORRUPT);
    }
    kept.p[0] = 1; /* format 1 ends after the moments */
    r = buf_reader(kept.p, 4 + 4 * 8 + (2 * 16 + 16) * sizeof(float));
    assert_ok(optim_decode(b.o, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    kept.p[0] = 4;
    r = buf_reader(kept.p, kept.n);
    assert_int_equal(optim_decode(b.o, &r, &e), STATUS_CORRUPT);
    buf_fini(&kept);
    close_world(&a);
    close_world(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_forget_by_the_half_life),
        cmocka_unit_test(test_schedules_follow_their_formulas),
        cmocka_unit_test(test_restart_forgets_most_of_the_sums),
        cmocka_unit_test(test_rows_keep_what_they_forgot_when_dense_moments_go_back),
        cmocka_unit_test(test_weights_are_pulled_to_the_anchor),
        cmocka_unit_test(test_goes_on_from_its_state_in_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
