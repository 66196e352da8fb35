/* test_param.c - layout of the table, identity of a block, and the way through a weight file and back. */
#include "base/arena.h"
#include "model/param.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

/* Added out of group order; sorted by group, order kept inside. */
static enum status build(struct param_table *t, size_t index[5], struct err *e)
{
    TRY(param_table_add(t, "hashed", PARAM_SPARSE, 1, (uint32_t[]){20}, 0.05f, 0, &index[0], e));
    TRY(param_table_add(t, "w", PARAM_ADAMW, 2, (uint32_t[]){3, 7}, 1e-4f, 0.01f, &index[1], e));
    TRY(param_table_add(t, "mean", PARAM_STAT, 1, (uint32_t[]){5}, 0, 0, &index[2], e));
    TRY(param_table_add(t, "linear", PARAM_ADAGRAD, 1, (uint32_t[]){16}, 0.1f, 0, &index[3], e));
    TRY(param_table_add(t, "b", PARAM_ADAMW, 1, (uint32_t[]){3}, 1e-4f, 0, &index[4], e));
    return param_table_seal(t, e);
}

static void test_layout_by_group_and_aligned(void **state)
{
    (void)state;
    struct param_table t = {0};
    struct err e;
    size_t at[5];
    assert_ok(build(&t, at, &e), &e);
    const char *const order[] = {"w", "b", "linear", "mean", "hashed"};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(t.params[i].name, order[i]);
        assert_int_equal(t.params[i].offset % PARAM_ALIGN, 0);
    }
    assert_string_equal(param_at(&t, at[0])->name, "hashed");
    assert_string_equal(param_at(&t, at[4])->name, "b");
    assert_int_equal(param_at(&t, at[1])->n, 21);
    assert_int_equal(t.group_first[PARAM_ADAMW], 0);
    assert_int_equal(t.group_first[PARAM_ADAGRAD], 32 + 16);
    assert_int_equal(t.group_first[PARAM_STAT], 64);
    assert_int_equal(t.group_first[PARAM_SPARSE], 80);
    assert_int_equal(t.total, 112);
    param_table_fini(&t);
}

static void test_add_refuses(void **state)
{
    (void)state;
    struct param_table t = {0};
    struct err e;
    char name[WEIGHTS_NAME_MAX + 1];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    const uint32_t one[4] = {1}, zero[4] = {0}, big[4] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, 2};
    assert_ok(param_table_add(&t, "a", PARAM_ADAMW, 1, one, 0, 0, NULL, &e), &e);
    assert_int_equal(param_table_add(&t, "a", PARAM_ADAMW, 1, one, 0, 0, NULL, &e), STATUS_INVALID);
    assert_int_equal(param_table_add(&t, "", PARAM_ADAMW, 1, one, 0, 0, NULL, &e), STATUS_INVALID);
    assert_int_equal(param_table_add(&t, name, PARAM_ADAMW, 1, one, 0, 0, NULL, &e), STATUS_INVALID);
    assert_int_equal(param_table_add(&t, "b", PARAM_ADAMW, 1, zero, 0, 0, NULL, &e), STATUS_INVALID);
    assert_int_equal(param_table_add(&t, "b", PARAM_ADAMW, 4, big, 0, 0, NULL, &e), STATUS_INVALID);
    assert_int_equal(param_table_add(&t, "b", PARAM_ADAMW, 5, one, 0, 0, NULL, &e), STATUS_INVALID);
    assert_ok(param_table_seal(&t, &e), &e);
    assert_int_equal(param_table_seal(&t, &e), STATUS_INVALID);
    assert_int_equal(param_table_add(&t, "b", PARAM_ADAMW, 1, one, 0, 0, NULL, &e), STATUS_INVALID);
    assert_int_equal(t.n, 1);
    param_table_fini(&t);
}

static enum status make_and_drop(void)
{
    struct param_table t = {0};
    struct param_set *p = NULL;
    struct err e;
    size_t at[5];
    enum status st = build(&t, at, &e);
    if (st == STATUS_OK) st = param_set_new(&p, &t, &e);
    if (st != STATUS_OK) assert_null(p);
    param_set_release(p);
    param_table_fini(&t);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, make_and_drop());
    assert_true(met >= 4);
}

static void test_set_is_counted_and_named(void **state)
{
    (void)state;
    struct param_table t = {0};
    struct param_set *p, *q;
    struct err e;
    size_t at[5];
    assert_ok(build(&t, at, &e), &e);
    assert_ok(param_set_new(&p, &t, &e), &e);
    assert_ok(param_set_new(&q, &t, &e), &e);
    assert_int_equal((uintptr_t)p->w % 64, 0);
    assert_int_not_equal(p->generation, q->generation);
    assert_ok(param_sha256(p, &e), &e);
    assert_ok(param_sha256(q, &e), &e);
    assert_string_equal(p->sha256, q->sha256);
    q->w[111] = 1; /* padding counts */
    const uint64_t before = q->generation;
    param_touch(q);
    assert_int_not_equal(q->generation, before);
    assert_string_equal(q->sha256, "");
    assert_ok(param_sha256(q, &e), &e);
    assert_string_not_equal(p->sha256, q->sha256);
    const long live = mem_live();
    param_set_acquire(q);
    param_set_release(q);
    assert_int_equal(mem_live(), live);
    param_set_release(q);
    assert_int_equal(mem_live(), live - 2);
    param_set_release(p);
    param_set_release(NULL);
    param_table_fini(&t);
}

struct file {
    struct param_table t;
    struct param_set *p, *q;
    struct buf b;
    struct arena a;
    struct weights_view v;
};

/* p, numbered, encoded and decoded again into v. */
static void through_a_file(struct file *f)
{
    struct err e;
    size_t at[5];
    assert_ok(build(&f->t, at, &e), &e);
    assert_ok(param_set_new(&f->p, &f->t, &e), &e);
    assert_ok(param_set_new(&f->q, &f->t, &e), &e);
    for (size_t i = 0; i < f->p->n; i++) f->p->w[i] = (float)i * 0.5f;
    f->p->version = 12;
    assert_ok(param_sha256(f->p, &e), &e);
    struct weights_view v;
    assert_ok(param_view(&f->t, f->p, 77, &f->a, &v, &e), &e);
    assert_ok(weights_encode(&f->b, &v, &e), &e);
    assert_ok(weights_decode(&f->v, f->b.p, f->b.n, true, &f->a, &e), &e);
}

static void drop(struct file *f)
{
    param_set_release(f->p);
    param_set_release(f->q);
    param_table_fini(&f->t);
    buf_fini(&f->b);
    arena_fini(&f->a);
}

static void test_weight_file_round_trip(void **state)
{
    (void)state;
    struct file f = {0};
    struct err e;
    through_a_file(&f);
    assert_ok(param_from_view(&f.t, &f.v, 77, f.q, &e), &e);
    assert_memory_equal(f.p->w, f.q->w, f.p->n * sizeof(float));
    assert_int_equal(f.q->version, 12);
    assert_string_equal(f.q->sha256, f.p->sha256);
    drop(&f);
}

static void test_from_view_refuses_what_differs(void **state)
{
    (void)state;
    struct file f = {0};
    struct err e;
    through_a_file(&f);
    assert_int_equal(param_from_view(&f.t, &f.v, 78, f.q, &e), STATUS_CONFLICT);
    f.v.tensors[1].name = "other";
    assert_int_equal(param_from_view(&f.t, &f.v, 77, f.q, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "other"));
    f.v.tensors[1].name = "b";
    f.v.tensors[0].shape[1]++;
    assert_int_equal(param_from_view(&f.t, &f.v, 77, f.q, &e), STATUS_INVALID);
    f.v.tensors[0].shape[1]--;
    f.v.tensors[2].offset += 16;
    assert_int_equal(param_from_view(&f.t, &f.v, 77, f.q, &e), STATUS_INVALID);
    f.v.tensors[2].offset -= 16;
    f.v.n_tensors--;
    assert_int_equal(param_from_view(&f.t, &f.v, 77, f.q, &e), STATUS_INVALID);
    f.v.n_tensors++;
    float bad[112];
    memcpy(bad, f.p->w, sizeof bad);
    bad[50] = NAN;
    f.v.params = bad;
    assert_int_equal(param_from_view(&f.t, &f.v, 77, f.q, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "50"));
    for (size_t i = 0; i < f.q->n; i++) assert_float_equal(f.q->w[i], 0.0f, 0.0f); /* never touched */
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_by_group_and_aligned),      cmocka_unit_test(test_add_refuses),
        cmocka_unit_test(test_survives_each_failing_allocation), cmocka_unit_test(test_set_is_counted_and_named),
        cmocka_unit_test(test_weight_file_round_trip),           cmocka_unit_test(test_from_view_refuses_what_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
