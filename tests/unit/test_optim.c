/* test_optim.c - the optimiser against its formulas in double, clipping, warm-up, refusal, and what a checkpoint
 * keeps. */
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/tmpdir.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { W = 0, B, LINEAR, HASHED, VECTORS, ROWS = 9000, VECTOR_ROWS = 100, C = 48 };

struct world {
    struct kern *kern;
    struct conf *conf;
    struct param_table t;
    size_t at[5];
    struct param_set *p;
    struct optim *o;
    float dense[64];
    uint32_t rows[8], vector_rows[4];
    float row_grads[8], vector_grads[4 * C];
    struct model_rows sparse[2];
    struct model_grads g;
};

static void open_world(struct world *w, const char *clip, const char *warmup)
{
    struct err e;
    *w = (struct world){0};
    assert_ok(kern_new(&w->kern, "cpu", &e), &e);
    assert_ok(conf_new(&w->conf, &e), &e);
    assert_ok(conf_set(w->conf, "train.clip_norm", clip, &e), &e);
    assert_ok(conf_set(w->conf, "train.warmup_steps", warmup, &e), &e);
    assert_ok(param_table_add(&w->t, "w", PARAM_ADAMW, 2, (uint32_t[]){3, 4}, 0.01f, 0.1f, &w->at[W], &e), &e);
    assert_ok(param_table_add(&w->t, "b", PARAM_ADAMW, 1, (uint32_t[]){5}, 0.003f, 0, &w->at[B], &e), &e);
    assert_ok(param_table_add(&w->t, "linear", PARAM_ADAGRAD, 1, (uint32_t[]){6}, 0.1f, 0, &w->at[LINEAR], &e), &e);
    assert_ok(param_table_add(&w->t, "hashed", PARAM_SPARSE, 1, (uint32_t[]){ROWS}, 0.05f, 0, &w->at[HASHED], &e), &e);
    assert_ok(param_table_add(&w->t, "vectors", PARAM_SPARSE, 2, (uint32_t[]){VECTOR_ROWS, C}, 0.02f, 0,
                              &w->at[VECTORS], &e),
              &e);
    assert_ok(param_table_seal(&w->t, &e), &e);
    assert_ok(param_set_new(&w->p, &w->t, &e), &e);
    for (size_t i = 0; i < w->t.n; i++) {
        for (size_t j = 0; j < w->t.params[i].n; j++) w->p->w[w->t.params[i].offset + j] = gradient_number(100 * i + j);
    }
    assert_ok(optim_new(&w->o, &w->t, w->conf, &e), &e);
    w->sparse[0] = (struct model_rows){.rows = w->rows, .grads = w->row_grads};
    w->sparse[1] = (struct model_rows){.rows = w->vector_rows, .grads = w->vector_grads};
    w->g = (struct model_grads){.dense = w->dense, .sparse = w->sparse, .n_sparse = 2};
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
    for (size_t i = 0; i < 3; i++) {
        const struct param *q = param_at(&w->t, w->at[i]);
        for (size_t j = 0; j < q->n; j++)
            w->dense[q->offset + j] = 3.0f * gradient_number(7000 + 50 * step + 17 * i + j);
    }
    w->sparse[0].n = 3;
    for (size_t i = 0; i < 3; i++) {
        w->rows[i] = (uint32_t)(step * 31 + i * 64) % ROWS;
        w->row_grads[i] = gradient_number(9000 + step * 3 + i);
    }
    w->sparse[1].n = 2;
    for (size_t i = 0; i < 2; i++) {
        w->vector_rows[i] = (uint32_t)(step * 7 + i * 3) % VECTOR_ROWS;
        for (size_t c = 0; c < C; c++) w->vector_grads[i * C + c] = gradient_number(11000 + step * 2 * C + i * C + c);
    }
}

/* The same rules in double, written from the papers. */
struct plain {
    double w[17], m[17], v[17]; /* the twelve of w, then the five of b */
    double linear[6], acc[6], hashed[ROWS], hashed_acc[ROWS];
    double vectors[VECTOR_ROWS][C], vector_acc[VECTOR_ROWS];
};

static void plain_read(struct plain *x, const struct world *w)
{
    memset(x, 0, sizeof *x);
    for (size_t i = 0; i < 17; i++) x->w[i] = (double)w->p->w[i < 12 ? i : param_at(&w->t, w->at[B])->offset + i - 12];
    for (size_t i = 0; i < 6; i++)
        x->linear[i] = (double)w->p->w[param_at(&w->t, w->at[LINEAR])->offset + i], x->acc[i] = 1;
    for (size_t i = 0; i < ROWS; i++)
        x->hashed[i] = (double)w->p->w[param_at(&w->t, w->at[HASHED])->offset + i], x->hashed_acc[i] = 1;
    for (size_t i = 0; i < VECTOR_ROWS; i++) {
        for (size_t c = 0; c < C; c++)
            x->vectors[i][c] = (double)w->p->w[param_at(&w->t, w->at[VECTORS])->offset + i * C + c];
        x->vector_acc[i] = 1;
    }
}

static void plain_adamw(struct plain *x, const struct world *w, size_t t, double n, double clip, double warmup)
{
    double g[17], norm = 0;
    for (size_t i = 0; i < 17; i++) {
        g[i] = (double)w->dense[i < 12 ? i : param_at(&w->t, w->at[B])->offset + i - 12] / n;
        norm += g[i] * g[i];
    }
    norm = sqrt(norm);
    for (size_t i = 0; i < 17; i++) {
        if (clip > 0 && norm > clip) g[i] *= clip / norm;
        const double lr = (i < 12 ? 0.01 : 0.003) * fmin(1.0, (double)t / warmup), decay = i < 12 ? 0.1 : 0.0;
        x->m[i] = 0.9 * x->m[i] + 0.1 * g[i];
        x->v[i] = 0.999 * x->v[i] + 0.001 * g[i] * g[i];
        const double m = x->m[i] / (1 - pow(0.9, (double)t)), v = x->v[i] / (1 - pow(0.999, (double)t));
        x->w[i] -= lr * (m / (sqrt(v) + 1e-8) + decay * x->w[i]);
    }
}

static void plain_adagrad(struct plain *x, const struct world *w)
{
    for (size_t i = 0; i < 6; i++) {
        const double g = (double)w->dense[param_at(&w->t, w->at[LINEAR])->offset + i];
        x->acc[i] += g * g;
        x->linear[i] -= 0.1 * g / sqrt(x->acc[i]);
    }
    for (size_t i = 0; i < w->sparse[0].n; i++) {
        const double g = (double)w->row_grads[i];
        const uint32_t row = w->rows[i];
        x->hashed_acc[row] += g * g;
        x->hashed[row] -= 0.05 * g / sqrt(x->hashed_acc[row]);
    }
    for (size_t i = 0; i < w->sparse[1].n; i++) {
        const float *g = w->vector_grads + i * C;
        const uint32_t row = w->vector_rows[i];
        for (size_t c = 0; c < C; c++) x->vector_acc[row] += (double)g[c] * (double)g[c];
        for (size_t c = 0; c < C; c++) x->vectors[row][c] -= 0.02 * (double)g[c] / sqrt(x->vector_acc[row]);
    }
}

static void plain_compare(const struct plain *x, const struct world *w)
{
    struct plain now;
    plain_read(&now, w);
    for (size_t i = 0; i < 17; i++) assert_true(fabs(now.w[i] - x->w[i]) < 2e-5);
    for (size_t i = 0; i < 6; i++) assert_true(fabs(now.linear[i] - x->linear[i]) < 1e-5);
    for (size_t i = 0; i < ROWS; i++) assert_true(fabs(now.hashed[i] - x->hashed[i]) < 1e-5);
    for (size_t i = 0; i < VECTOR_ROWS; i++)
        for (size_t c = 0; c < C; c++) assert_true(fabs(now.vectors[i][c] - x->vectors[i][c]) < 1e-5);
}

static void check_against_formulas(const char *clip, const char *warmup)
{
    struct world w;
    struct plain x;
    struct err e;
    open_world(&w, clip, warmup);
    plain_read(&x, &w);
    for (size_t t = 1; t <= 20; t++) {
        const uint64_t before = w.p->generation;
        set_grads(&w, t);
        assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 4, &e), &e);
        plain_adamw(&x, &w, t, 4, atof(clip), fmax(1, atof(warmup)));
        plain_adagrad(&x, &w);
        plain_compare(&x, &w);
        assert_int_not_equal(w.p->generation, before);
    }
    assert_int_equal(optim_steps(w.o), 20);
    close_world(&w);
}

static void test_step_follows_the_formulas(void **state)
{
    (void)state;
    check_against_formulas("0", "0");
    check_against_formulas("1", "0");
    check_against_formulas("0.5", "10");
    check_against_formulas("1000", "7");
}

static void test_step_refuses_what_is_not_finite(void **state)
{
    (void)state;
    struct world w;
    struct plain x;
    struct err e;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    open_world(&w, "1", "0");
    plain_read(&x, &w);
    for (int i = 0; i < 3; i++) {
        set_grads(&w, 1);
        w.dense[param_at(&w.t, w.at[i])->offset + 1] = bad[i];
        assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 4, &e), &e);
        set_grads(&w, 1);
        w.row_grads[i] = bad[i];
        assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 4, &e), &e);
        set_grads(&w, 1);
        w.vector_grads[C + i] = bad[i];
        assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 4, &e), &e);
    }
    assert_int_equal(optim_refused(w.o), 9);
    assert_int_equal(optim_steps(w.o), 0);
    assert_int_equal(optim_dirty_page(w.o, 0), SIZE_MAX);
    plain_compare(&x, &w);
    set_grads(&w, 1);
    assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 0, &e), &e); /* no examples: nothing */
    plain_compare(&x, &w);
    close_world(&w);
}

static void test_dirty_pages(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    open_world(&w, "1", "0");
    assert_int_equal(optim_pages(w.o), 216); /* 9000 rows and padding to 9008, then 100 of 48 numbers */
    assert_int_equal(optim_dirty_page(w.o, 0), SIZE_MAX);
    w.sparse[0].n = 5;
    w.rows[0] = 63, w.rows[1] = 8999, w.rows[2] = 5, w.rows[3] = 40 * 64, w.rows[4] = 100 * 64;
    w.sparse[1].n = 2;
    w.vector_rows[0] = 1, w.vector_rows[1] = 99; /* numbers 9056 … 9103, and 13760 … 13807 */
    const size_t dirty[] = {0, 40, 100, 140, 141, 142, 215};
    size_t page_no = 0;
    assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 1, &e), &e);
    for (size_t i = 0; i < 7; i++) {
        page_no = optim_dirty_page(w.o, i == 0 ? 0 : page_no + 1);
        assert_int_equal(page_no, dirty[i]);
    }
    assert_int_equal(optim_dirty_page(w.o, 216), SIZE_MAX);
    optim_sparse_saved(w.o);
    assert_int_equal(optim_dirty_page(w.o, 0), SIZE_MAX);
    struct optim_page page;
    optim_page_get(w.o, w.p, 140, &page);
    assert_float_equal(page.w[39], w.p->w[w.t.group_first[PARAM_SPARSE] + 8999], 0.0f);
    assert_float_equal(page.w[40], 0.0f, 0.0f); /* padding, and row 0 of the vectors after it */
    assert_float_equal(page.acc[40], 1.0f, 0.0f);
    assert_float_equal(page.w[48], w.p->w[param_at(&w.t, w.at[VECTORS])->offset], 0.0f);
    optim_page_get(w.o, w.p, 215, &page);
    assert_float_equal(page.w[47], w.p->w[w.t.total - 1], 0.0f);
    assert_float_equal(page.w[48], 0.0f, 0.0f);
    assert_float_equal(page.acc[48], 1.0f, 0.0f);
    assert_int_equal(optim_page_put(w.o, w.p, 216, &page, &e), STATUS_INVALID);
    page.acc[2] = 0.5f;
    assert_int_equal(optim_page_put(w.o, w.p, 3, &page, &e), STATUS_CORRUPT);
    page.acc[2] = NAN;
    assert_int_equal(optim_page_put(w.o, w.p, 3, &page, &e), STATUS_CORRUPT);
    close_world(&w);
}

/* A page's record has an accumulator for each row in it, and gives the page back; another length is refused. */
static void test_page_records_keep_one_accumulator_a_row(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    struct optim_page page, back;
    unsigned char bytes[OPTIM_PAGE_BYTES + 4];
    open_world(&w, "1", "0");
    set_grads(&w, 1);
    assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 1, &e), &e);
    const struct {
        size_t page, accumulators;
    } expected[] = {{0, 64}, {140, 40 + 8 + 1}, {141, 2}, {142, 2}, {215, 1 + 16}};
    for (size_t i = 0; i < 5; i++) {
        optim_page_get(w.o, w.p, expected[i].page, &page);
        const size_t n = optim_page_encode(w.o, expected[i].page, &page, bytes);
        assert_int_equal(n, 4 * (64 + expected[i].accumulators));
        assert_ok(optim_page_decode(w.o, expected[i].page, bytes, n, &back, &e), &e);
        assert_memory_equal(&page, &back, sizeof page);
        assert_int_equal(optim_page_decode(w.o, expected[i].page, bytes, n - 4, &back, &e), STATUS_CORRUPT);
        assert_int_equal(optim_page_decode(w.o, expected[i].page, bytes, n + 4, &back, &e), STATUS_CORRUPT);
    }
    close_world(&w);
}

static void steps(struct world *w, size_t from, size_t to)
{
    struct err e;
    for (size_t t = from; t < to; t++) {
        set_grads(w, t);
        assert_ok(optim_step(w->o, w->kern, w->p, &w->g, 4, &e), &e);
    }
}

static void save(struct world *w, struct store *s, struct buf *dense)
{
    struct store_txn *t;
    struct err e;
    enum status st;
    do {
        assert_ok(store_begin(&t, s, true, &e), &e);
        st = optim_sparse_save(w->o, w->p, STR(""), t, &e);
        if (st == STATUS_OK)
            st = store_commit(t, &e);
        else
            store_abort(t);
    } while (st == STATUS_AGAIN);
    assert_ok(st, &e);
    optim_sparse_saved(w->o);
    buf_clear(dense);
    optim_encode(dense, w->o);
    assert_ok(buf_status(dense, &e), &e);
}

/* Saved in the middle (twice: only what changed the second time), loaded into an empty one, gone on: the same bits. */
static void test_checkpoint_goes_on_in_the_same_bits(void **state)
{
    (void)state;
    if (!FRESHET_WITH_LMDB) skip();
    struct world a, b;
    struct store *s;
    struct store_txn *t;
    struct buf dense = {0};
    struct err e;
    const struct tmpdir dir = tmpdir_make("optim");
    open_world(&a, "0.5", "10");
    open_world(&b, "0.5", "10");
    assert_ok(store_open(&s, dir.path, false, &e), &e);
    steps(&a, 1, 4);
    save(&a, s, &dense);
    steps(&a, 4, 6);
    save(&a, s, &dense);
    struct buf_reader r = buf_reader(dense.p, dense.n);
    assert_ok(optim_decode(b.o, &r, &e), &e);
    memcpy(b.p->w, a.p->w, a.t.group_first[PARAM_SPARSE] * sizeof(float));
    assert_ok(store_begin(&t, s, false, &e), &e);
    assert_ok(optim_sparse_load(b.o, b.p, STR(""), t, &e), &e);
    store_abort(t);
    assert_memory_equal(a.p->w, b.p->w, a.p->n * sizeof(float));
    steps(&a, 6, 16);
    steps(&b, 6, 16);
    assert_memory_equal(a.p->w, b.p->w, a.p->n * sizeof(float));
    assert_int_equal(optim_steps(b.o), 15);
    r = buf_reader(dense.p, dense.n - 1);
    assert_int_equal(optim_decode(b.o, &r, &e), STATUS_CORRUPT);
    store_close(s);
    buf_fini(&dense);
    close_world(&a);
    close_world(&b);
    tmpdir_remove(&dir);
}

static enum status make_and_drop(const struct world *w)
{
    struct optim *o;
    const enum status st = optim_new(&o, &w->t, w->conf, NULL);
    if (st != STATUS_OK) assert_null(o);
    optim_free(o);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    long met;
    open_world(&w, "1", "0");
    FAIL_EACH_ALLOCATION(met, make_and_drop(&w));
    assert_int_equal(met, 4);
    set_grads(&w, 1);
    mem_fail_after(0); /* the sparse accumulators */
    assert_int_equal(optim_step(w.o, w.kern, w.p, &w.g, 4, &e), STATUS_OOM);
    assert_int_equal(optim_steps(w.o), 0);
    mem_fail_after(-1);
    assert_ok(optim_step(w.o, w.kern, w.p, &w.g, 4, &e), &e);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_follows_the_formulas),
        cmocka_unit_test(test_step_refuses_what_is_not_finite),
        cmocka_unit_test(test_dirty_pages),
        cmocka_unit_test(test_page_records_keep_one_accumulator_a_row),
        cmocka_unit_test(test_checkpoint_goes_on_in_the_same_bits),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
