/* test_ranks_grads.c - the gradients of a batch that two ranks share: both have the same bits, which are rank 0's share plus rank
 * 1's; sparse rows in the order of ranks; what cannot be is said by all.
 * labels: quick threads
 */
#include "base/mem.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "tests/support/tmpdir.h"
#include "trainer/ranks_grads.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { RANKS = 2, EACH = 3 };

static const char *const options[] = {"model.parts=text,match,numeric,hashed,idvec,itembias,deep", NULL};
static char address[400];

struct one {
    int rank;
    const char *reduce;
    struct model_world w;
    pthread_t thread;
    enum status st;
    struct err e;
    float *own; /* gradients of its share alone */
    size_t own_rows;
    struct ranks_grads *grads;
};

static enum status learn(struct one *o, const struct model_share *share)
{
    const struct slate *slates[EACH];
    double loss[EACH];
    for (size_t i = 0; i < EACH; i++) slates[i] = o->w.slates[RANKS * i + (size_t)o->rank];
    return model_learn_share(o->w.run, slates, EACH, 1, loss, share, &o->e);
}

static void keep_own(void *user, float *dense, size_t n)
{
    struct one *o = user;
    memcpy(o->own + (dense - model_dense_grads(o->w.run)), dense, n * sizeof *dense);
}

static enum status together(struct one *o, struct ranks *ranks)
{
    static float z[RANKS][512], dz[RANKS][512];
    const struct model_share alone = {z[o->rank], dz[o->rank], keep_own, o};
    struct buf b = {0};
    enum status st;
    TRY_OUT(st, ranks_grads_new(&o->grads, ranks, o->w.run, model_table(o->w.model), o->reduce, &o->e));
    struct ranks_grads *g = o->grads;
    TRY_OUT(st, learn(o, &alone));
    o->own_rows = model_grads(o->w.run)->sparse[0].n;
    model_grads_clear(o->w.run);
    const struct model_share shared = {z[o->rank], dz[o->rank], ranks_grads_ready, g};
    TRY_OUT(st, learn(o, &shared));
    ranks_rows_encode(&b, g);
    TRY_OUT(st, ranks_grads_finish(g, &o->e));
    TRY_OUT(st, ranks_gather(ranks, b.p, b.n, &o->e));
    model_rows_clear(o->w.run);
    for (int k = 0; k < RANKS && st == STATUS_OK; k++) {
        struct buf_reader r = ranks_part(ranks, k);
        st = ranks_rows_add(g, &r, &o->e);
    }
out:
    buf_fini(&b);
    return st;
}

static void *one_main(void *arg)
{
    struct one *o = arg;
    struct ranks *ranks = NULL;
    const struct ranks_setup s = {RANKS, o->rank, address, 20000, {"", 0}};
    o->st = ranks_open(&ranks, &s, &o->e);
    if (o->st == STATUS_OK) o->st = together(o, ranks);
    ranks_close(ranks, o->st != STATUS_OK ? o->e.text : NULL);
    return NULL;
}

static void run(struct one *all, const char *reduce)
{
    for (int k = 0; k < RANKS; k++) {
        all[k] = (struct one){.rank = k, .reduce = reduce};
        model_world_open(&all[k].w, "cpu", "tokens", 2, options);
        model_world_shake(&all[k].w);
        all[k].own = mem_calloc(model_table(all[k].w.model)->group_first[PARAM_STAT], sizeof *all[k].own);
    }
    for (int k = 0; k < RANKS; k++) assert_int_equal(pthread_create(&all[k].thread, NULL, one_main, &all[k]), 0);
    for (int k = 0; k < RANKS; k++) assert_int_equal(pthread_join(all[k].thread, NULL), 0);
}

static void close_all(struct one *all)
{
    for (int k = 0; k < RANKS; k++) {
        mem_free(all[k].own);
        ranks_grads_free(all[k].grads);
        model_world_close(&all[k].w);
    }
}

static void test_both_have_the_sum_of_both_shares(void **state)
{
    struct one all[RANKS];
    (void)state;
    run(all, "auto");
    for (int k = 0; k < RANKS; k++) assert_ok(all[k].st, &all[k].e);
    const struct param_table *t = model_table(all[0].w.model);
    const struct model_grads *a = model_grads(all[0].w.run), *b = model_grads(all[1].w.run);
    size_t not_zero = 0;
    for (size_t i = 0; i < t->group_first[PARAM_STAT]; i++) {
        const float want = all[0].own[i] + all[1].own[i];
        assert_memory_equal(&a->dense[i], &want, sizeof want);
        assert_memory_equal(&b->dense[i], &want, sizeof want);
        not_zero += want != 0.0f;
    }
    assert_true(not_zero > t->group_first[PARAM_STAT] / 8);
    for (size_t i = 0; i < a->n_sparse; i++) {
        const struct model_rows *x = &a->sparse[i], *y = &b->sparse[i];
        assert_int_equal(x->n, y->n);
        assert_memory_equal(x->rows, y->rows, x->n * sizeof *x->rows);
        assert_memory_equal(x->grads, y->grads, x->n * param_width(param_sparse(t, i)) * sizeof *x->grads);
    }
    assert_true(a->sparse[0].n >= all[0].own_rows && a->sparse[0].n <= all[0].own_rows + all[1].own_rows);
    assert_true(all[0].own_rows > 0 && all[1].own_rows > 0);
    close_all(all);
}

static void test_nccl_without_a_device_is_refused_on_all(void **state)
{
    struct one all[RANKS];
    (void)state;
    run(all, "nccl");
    for (int k = 0; k < RANKS; k++) {
        assert_int_equal(all[k].st, STATUS_UNSUPPORTED);
        assert_non_null(strstr(all[k].e.text, "train.ranks_reduce = nccl: rank 0 cannot: its backend is cpu"));
    }
    close_all(all);
}

static enum status add_rows(struct one *o, const struct buf *b)
{
    struct buf_reader r = buf_reader(b->p, b->n);
    return ranks_rows_add(o->grads, &r, &o->e);
}

/* More rows than any before of the first tensor, none of the others.  A rank without memory for them must not go on without. */
static void test_no_memory_for_rows_is_an_error(void **state)
{
    enum { N = 1 << 14 };
    struct one all[RANKS];
    struct buf b = {0};
    long met;
    (void)state;
    run(all, "auto");
    const struct param_table *t = model_table(all[0].w.model);
    buf_varint(&b, N);
    for (size_t i = 0; i < N * (1 + param_width(param_sparse(t, 0))); i++) buf_u32(&b, 0);
    for (size_t i = 1; i < param_sparse_count(t); i++) buf_varint(&b, 0);
    FAIL_EACH_ALLOCATION(met, add_rows(&all[0], &b));
    assert_true(met > 2);
    buf_fini(&b);
    close_all(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_have_the_sum_of_both_shares),
        cmocka_unit_test(test_nccl_without_a_device_is_refused_on_all),
        cmocka_unit_test(test_no_memory_for_rows_is_an_error),
    };
    const struct tmpdir dir = tmpdir_make("ranks_grads");
    (void)snprintf(address, sizeof address, "unix:%s/meet", dir.path);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tmpdir_remove(&dir);
    return failed;
}
