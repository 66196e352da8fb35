/* test_gate_snapshot.c - a line that is put back goes on in the bits that it would have gone on in; through the store too. */
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/tmpdir.h"
#include "trainer/gate_snapshot.h"
#include <math.h>
#include <string.h>

enum { ROWS = 40000 };
struct world {
    struct kern *kern;
    struct conf *conf;
    struct param_table t;
    struct param_set *p;
    struct optim *o;
    float dense[64];
    uint32_t rows[8];
    float row_grads[8];
    struct model_rows sparse;
    struct model_grads g;
};

static struct gate_line line_of(struct world *w)
{
    return (struct gate_line){&w->t, w->p, w->o, NULL};
}

static void open_world(struct world *w)
{
    struct err e;
    *w = (struct world){0};
    assert_ok(kern_new(&w->kern, "cpu", &e), &e);
    assert_ok(conf_new(&w->conf, &e), &e);
    assert_ok(param_table_add(&w->t, "w", PARAM_ADAMW, 2, (uint32_t[]){3, 4}, 0.01f, 0.1f, NULL, &e), &e);
    assert_ok(param_table_add(&w->t, "linear", PARAM_ADAGRAD, 1, (uint32_t[]){6}, 0.1f, 0, NULL, &e), &e);
    assert_ok(param_table_add(&w->t, "stat", PARAM_STAT, 1, (uint32_t[]){6}, 0, 0, NULL, &e), &e);
    assert_ok(param_table_add(&w->t, "hashed", PARAM_SPARSE, 1, (uint32_t[]){ROWS}, 0.05f, 0, NULL, &e), &e);
    assert_ok(param_table_seal(&w->t, &e), &e);
    assert_ok(param_set_new(&w->p, &w->t, &e), &e);
    assert_ok(optim_new(&w->o, &w->t, w->conf, &e), &e);
    w->sparse = (struct model_rows){.rows = w->rows, .grads = w->row_grads};
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

static void run(struct world *w, size_t from, size_t to)
{
    struct err e;
    for (size_t s = from; s < to; s++) {
        for (size_t i = 0; i < 64; i++) w->dense[i] = gradient_number(7000 + 64 * s + i);
        w->sparse.n = 8;
        for (size_t i = 0; i < 8; i++) {
            w->rows[i] = (uint32_t)(s * 997 + i * 4099) % ROWS;
            w->row_grads[i] = gradient_number(9000 + s * 8 + i);
        }
        assert_ok(optim_step(w->o, w->kern, w->p, &w->g, 4, &e), &e);
    }
}

static void hash_of(struct world *w, char hex[HASH_SHA256_HEX])
{
    struct err e;
    assert_ok(param_sha256(w->p, &e), &e);
    memcpy(hex, w->p->sha256, HASH_SHA256_HEX);
}

static void check_restored(struct world *w, const struct gate_snapshot *s)
{
    struct err e;
    char then[HASH_SHA256_HEX], now[HASH_SHA256_HEX], ahead[HASH_SHA256_HEX];
    struct gate_line line = line_of(w);
    assert_ok(gate_snapshot_restore(s, &line, &e), &e);
    hash_of(w, then);
    run(w, 50, 120);
    hash_of(w, ahead);
    assert_string_not_equal(then, ahead);
    assert_ok(gate_snapshot_restore(s, &line, &e), &e);
    hash_of(w, now);
    assert_string_equal(now, then);
    run(w, 50, 120); /* moments and accumulators too */
    hash_of(w, now);
    assert_string_equal(now, ahead);
}

static void test_a_line_that_is_put_back_goes_on_in_the_same_bits(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    struct gate_snapshot *s;
    char first[HASH_SHA256_HEX], later[HASH_SHA256_HEX];
    open_world(&w);
    struct gate_line line = line_of(&w);
    assert_ok(gate_snapshot_new(&s, &w.t, &e), &e);
    assert_false(gate_snapshot_there(s));
    assert_null(gate_snapshot_params(s));
    assert_int_equal(gate_snapshot_restore(s, &line, &e), STATUS_INVALID);
    run(&w, 0, 50);
    hash_of(&w, first);
    assert_ok(gate_snapshot_take(s, &line, &e), &e);
    run(&w, 50, 120);
    hash_of(&w, later);
    assert_string_not_equal(first, later);
    optim_sparse_saved(w.o);
    assert_ok(gate_snapshot_restore(s, &line, &e), &e);
    size_t dirty = 0;
    for (size_t page = 0; (page = optim_dirty_page(w.o, page)) != SIZE_MAX; page++) dirty++;
    assert_true(dirty > 100 && dirty < optim_pages(w.o)); /* what differs is to be saved, what does not is not */
    assert_int_equal(optim_steps(w.o), 50);
    char now[HASH_SHA256_HEX];
    hash_of(&w, now);
    assert_string_equal(now, first);
    run(&w, 50, 120);
    hash_of(&w, now);
    assert_string_equal(now, later);
    check_restored(&w, s);
    gate_snapshot_drop(s);
    assert_int_equal(gate_snapshot_restore(s, &line, &e), STATUS_INVALID);
    gate_snapshot_free(s);
    close_world(&w);
}

static void save(struct store *store, struct gate_snapshot *s)
{
    struct err e;
    struct store_txn *t;
    enum status st;
    do {
        assert_ok(store_begin(&t, store, true, &e), &e);
        st = gate_snapshot_save(s, t, "blessed", &e);
        if (st == STATUS_OK)
            st = store_commit(t, &e);
        else
            store_abort(t);
    } while (st == STATUS_AGAIN);
    assert_ok(st, &e);
    gate_snapshot_saved(s);
}

static void load(struct store *store, struct gate_snapshot *s, const struct optim *o)
{
    struct err e;
    struct store_txn *t;
    assert_ok(store_begin(&t, store, false, &e), &e);
    assert_ok(gate_snapshot_load(s, t, "blessed", o, &e), &e);
    store_abort(t);
}

static void test_the_store_gives_it_back(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("snapshot");
    struct world w;
    struct err e;
    struct store *store;
    struct gate_snapshot *s, *back;
    open_world(&w);
    struct gate_line line = line_of(&w);
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    assert_ok(gate_snapshot_new(&s, &w.t, &e), &e);
    run(&w, 0, 3); /* a few pages: most records are left out */
    assert_ok(gate_snapshot_take(s, &line, &e), &e);
    save(store, s);
    run(&w, 3, 50);
    assert_ok(gate_snapshot_take(s, &line, &e), &e);
    save(store, s);
    assert_ok(gate_snapshot_new(&back, &w.t, &e), &e);
    load(store, back, w.o);
    assert_true(gate_snapshot_there(back));
    check_restored(&w, back);
    assert_memory_equal(gate_snapshot_params(back)->w, gate_snapshot_params(s)->w, w.t.total * sizeof(float));
    gate_snapshot_drop(s);
    save(store, s);
    load(store, back, w.o);
    assert_false(gate_snapshot_there(back));
    gate_snapshot_free(back);
    gate_snapshot_free(s);
    store_close(store);
    close_world(&w);
    tmpdir_remove(&dir);
}

static void test_two_change_places(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    struct gate_snapshot *a, *b;
    open_world(&w);
    struct gate_line line = line_of(&w);
    assert_ok(gate_snapshot_new(&a, &w.t, &e), &e);
    assert_ok(gate_snapshot_new(&b, &w.t, &e), &e);
    run(&w, 0, 10);
    assert_ok(gate_snapshot_take(a, &line, &e), &e);
    run(&w, 10, 20);
    assert_ok(gate_snapshot_take(b, &line, &e), &e);
    struct param_set *of_b = gate_snapshot_params(b);
    gate_snapshot_exchange(a, b);
    assert_ptr_equal(gate_snapshot_params(a), of_b);
    assert_memory_equal(of_b->w, w.p->w, w.t.total * sizeof *w.p->w);
    assert_memory_not_equal(gate_snapshot_params(b)->w, w.p->w, w.t.total * sizeof *w.p->w);
    gate_snapshot_free(a);
    gate_snapshot_free(b);
    close_world(&w);
}

static enum status take_new(struct world *w, struct err *e)
{
    struct gate_snapshot *s;
    struct gate_line line = line_of(w);
    TRY(gate_snapshot_new(&s, &w->t, e));
    const enum status st = gate_snapshot_take(s, &line, e);
    gate_snapshot_free(s);
    return st;
}

static void test_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    long met;
    open_world(&w);
    run(&w, 0, 2);
    FAIL_EACH_ALLOCATION(met, take_new(&w, &e));
    assert_true(met >= 4);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_that_is_put_back_goes_on_in_the_same_bits),
        cmocka_unit_test(test_the_store_gives_it_back),
        cmocka_unit_test(test_two_change_places),
        cmocka_unit_test(test_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
