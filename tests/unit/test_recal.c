/* test_recal.c - sampling correction and recalibration: what they do to logits, what they learn, what a checkpoint keeps. */
#include "base/mem.h"
#include "base/rand.h"
#include "model/recal.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

enum { K = 20 };

struct fixture {
    struct conf *conf;
    struct param_table table;
    struct param_set *p;
    struct model_recal recal;
    struct model_recal_run run;
    struct slate slate;
    struct slate_item items[K];
};

static void fixture_open_with(struct fixture *f, const char *correction, const char *recalibration, const char *more)
{
    struct err e;
    const uint32_t one[1] = {1};
    memset(f, 0, sizeof *f);
    assert_ok(conf_new(&f->conf, &e), &e);
    assert_ok(conf_set(f->conf, "train.sampling_correction", correction, &e), &e);
    assert_ok(conf_set(f->conf, "train.recalibration", recalibration, &e), &e);
    if (more != NULL) assert_ok(conf_set_option(f->conf, more, &e), &e);
    assert_ok(param_table_add(&f->table, "before", PARAM_STAT, 1, one, 0, 0, NULL, &e), &e);
    assert_ok(model_recal_declare(&f->recal, f->conf, &f->table, &e), &e);
    assert_ok(param_table_seal(&f->table, &e), &e);
    assert_ok(param_set_new(&f->p, &f->table, &e), &e);
    model_recal_bind(&f->run, &f->recal, &f->table, f->p->w);
    f->slate = (struct slate){.source = SLATE_ORGANIC, .items = f->items, .n_items = K};
    for (uint32_t i = 0; i < K; i++)
        f->items[i] = (struct slate_item){.age_days = 30, .popularity = 5, .weight = 1, .examples = 1};
}

static void fixture_open(struct fixture *f, const char *correction, const char *recalibration)
{
    fixture_open_with(f, correction, recalibration, NULL);
}

static void fixture_close(struct fixture *f)
{
    param_set_release(f->p);
    param_table_fini(&f->table);
    conf_free(f->conf);
}

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

/* An organic slate's logits are of its labels: minus log_kq about its mean; a request and a recorded list have s. */
static void test_correction_is_of_sampled_slates_alone(void **state)
{
    (void)state;
    struct fixture f;
    float z[K], shift[K];
    fixture_open(&f, "true", "false");
    for (uint32_t i = 0; i < K; i++) f.items[i].log_kq = (float)i - 12.0f, z[i] = 0.5f;
    model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, z, NULL, 0); /* nothing learnt: about the slate's own mean */
    for (uint32_t i = 0; i < K; i++) assert_float_equal(z[i], 0.5f - (float)i + 9.5f, 1e-5f);
    model_recal_learnt(&f.run, &f.slate, SLATE_ORGANIC, z);
    for (uint32_t i = 0; i < K; i++) f.items[i].log_kq = -5.0f;
    model_recal_learnt(&f.run, &f.slate, SLATE_ORGANIC, z);
    model_recal_apply(&f.run, &f.table, f.p->w); /* the centre is the mean of -2.5 and -5 */
    assert_true(model_recal_shift(&f.run, &f.slate, SLATE_ORGANIC, shift));
    assert_float_equal(shift[3], -3.75f + 5.0f, 1e-5f);
    assert_false(model_recal_shift(&f.run, &f.slate, SLATE_IMPRESSION, shift));
    f.slate.source = SLATE_REQUEST;
    for (uint32_t i = 0; i < K; i++) f.items[i].log_kq = 0, z[i] = 0.5f;
    model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, z, NULL, 0);
    assert_float_equal(z[7], 0.5f - 3.75f, 1e-5f); /* served: s, on the scale of log-odds of being taken */
    z[7] = 0.5f;
    model_recal_logits(&f.run, &f.slate, SLATE_IMPRESSION, z, NULL, 0);
    assert_true(z[7] == 0.5f);
    fixture_close(&f);
}

static void test_nothing_learnt_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "false", "true");
    float z[K], parts[2 * K];
    for (uint32_t i = 0; i < K; i++) z[i] = 0.1f * (float)i, parts[i] = z[i], parts[K + i] = -1.0f / 3;
    f.items[3].log_kq = 4.0f; /* not asked for */
    model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, z, parts, 2);
    for (uint32_t i = 0; i < K; i++)
        assert_true(z[i] == 0.1f * (float)i && parts[i] == z[i] && parts[K + i] == -1.0f / 3);
    fixture_close(&f);
}

/* Slates with logits of deviation 2 whose truth is half of them, one lower where an item is cold. */
static void learn_of(struct fixture *f, struct rand *r, float weight, int source)
{
    float raw[K];
    for (uint32_t i = 0; i < K; i++) {
        const bool cold = i % 4 == 0;
        raw[i] = (float)(2.0 * rand_normal(r));
        f->items[i].flags = cold ? SLATE_ITEM_COLD : 0;
        f->items[i].label = rand_unit(r) < sigmoid(0.5 * (double)raw[i] - (cold ? 1.0 : 0.0));
        f->items[i].weight = f->items[i].label > 0.5f ? weight : 1.0f;
    }
    model_recal_learnt(&f->run, &f->slate, source, raw);
    model_recal_apply(&f->run, &f->table, f->p->w);
}

static void learn_slate(struct fixture *f, struct rand *r, float weight)
{
    learn_of(f, r, weight, SLATE_ORGANIC);
}

/* Where the parts see none of it: whatever keeps them from the settled labels' own answer. */
static void slope_and_offset_are_found(const char *apart)
{
    struct fixture f;
    struct rand r;
    fixture_open_with(&f, "false", "true", apart);
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_INIT});
    learn_slate(&f, &r, 1.0f);
    const float *w = f.p->w + param_at(&f.table, f.recal.weights)->offset + SLATE_ORGANIC * RECAL_N;
    for (int i = 0; i < RECAL_N; i++) assert_true(fabsf(w[i]) < 1.5f); /* one slate moves nothing far */
    for (int n = 0; n < 1500; n++) learn_slate(&f, &r, 5.0f);          /* weights do not enter */
    assert_true(fabs(exp((double)w[RECAL_SLOPE]) - 0.5) < 0.05);
    float z[2] = {1, 1};
    f.slate.n_items = 2; /* a cold one and another */
    f.items[0].flags = SLATE_ITEM_COLD;
    f.items[1].flags = 0;
    model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, z, NULL, 0);
    assert_true(fabs((double)z[0] + 0.5) < 0.15);
    assert_true(fabs((double)z[1] - 0.5) < 0.15);
    for (int i = 0; i < RECAL_N; i++) assert_true((w - RECAL_N)[i] == 0); /* recorded lists have their own */
    fixture_close(&f);
}

static void test_slope_and_offset_are_found(void **state)
{
    (void)state;
    static const char *const apart[] = {"train.softmax_share=1", "train.distill=0.5", "train.replay_share=0.1",
                                        "type.click.weight=2"};
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) slope_and_offset_are_found(apart[i]);
}

/* The offsets are part of what labels are compared with, and a scale is left to the parts. */
static void test_parts_learn_beside_the_offsets(void **state)
{
    (void)state;
    struct fixture f;
    struct rand r;
    float shift[K], zero[K] = {0};
    fixture_open(&f, "true", "true");
    assert_false(model_recal_shift(&f.run, &f.slate, SLATE_ORGANIC, shift)); /* nothing learnt, nothing drawn */
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_INIT});
    for (int n = 0; n < 500; n++) learn_slate(&f, &r, 1.0f);
    const float *w = f.p->w + param_at(&f.table, f.recal.weights)->offset + SLATE_ORGANIC * RECAL_N;
    assert_true(w[RECAL_SLOPE] == 0.0f);
    for (uint32_t i = 0; i < K; i++) f.items[i].log_kq = -0.25f * (float)i;
    assert_true(model_recal_shift(&f.run, &f.slate, SLATE_ORGANIC, shift));
    model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, zero, NULL, 0);
    for (uint32_t i = 0; i < K; i++) assert_float_equal(shift[i], zero[i], 1e-6f); /* as it is served */
    assert_true(shift[1] - shift[0] > 0.5f && shift[5] - shift[4] > 0.5f);         /* the cold ones are lower */
    for (int n = 0; n < 500; n++) learn_of(&f, &r, 1.0f, SLATE_IMPRESSION);        /* of a recorded list they are not */
    for (uint32_t i = 0; i < K; i++) f.items[i].log_kq = 0;
    assert_false(model_recal_shift(&f.run, &f.slate, SLATE_IMPRESSION, shift));
    assert_true(w[RECAL_SLOPE] == 0.0f && (w - RECAL_N)[RECAL_SLOPE] < -0.5f);
    fixture_close(&f);
}

/* A catalogue announced at one time grows into a slice that has seen nothing all at once: nothing steps, there and beyond. */
static void test_unlearnt_age_is_as_its_younger_neighbour(void **state)
{
    (void)state;
    const float ages[] = {0.5f, 2, 5, 10, 20, 40, 80, 300};
    struct fixture f;
    struct rand r;
    float raw[K] = {0}, young, old;
    fixture_open(&f, "false", "true");
    rand_init(&r, (struct rand_key){.seed = 7, .purpose = RAND_INIT});
    for (size_t a = 0; a + 1 < sizeof ages / sizeof *ages; a++) {
        for (int n = 0; n < 200; n++) {
            for (uint32_t i = 0; i < K; i++) f.items[i].age_days = ages[a], f.items[i].label = rand_unit(&r) < 0.05f;
            model_recal_learnt(&f.run, &f.slate, SLATE_ORGANIC, raw);
            model_recal_apply(&f.run, &f.table, f.p->w);
        }
        f.slate.n_items = 1;
        young = old = 0;
        model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, &young, NULL, 0);
        assert_true(fabs((double)young + 2.94) < 0.3);
        for (size_t b = a + 1; b < sizeof ages / sizeof *ages; b++, old = 0) {
            f.items[0].age_days = ages[b];
            model_recal_logits(&f.run, &f.slate, SLATE_ORGANIC, &old, NULL, 0);
            assert_float_equal(old, young, 1e-3f);
        }
        f.slate.n_items = K;
    }
    fixture_close(&f);
}

/* A copy counts as the examples that it stands for: n of 1, or one of n; what stands for none leaves all as it was. */
static void test_examples_count_and_what_is_learnt_again_does_not(void **state)
{
    (void)state;
    struct fixture a, b;
    const float raw[K] = {1, -1, 0.5f};
    fixture_open(&a, "true", "true");
    fixture_open(&b, "true", "true");
    for (uint32_t i = 0; i < K; i++) a.items[i].label = b.items[i].label = i % 3 == 0;
    for (uint32_t i = 0; i < K; i++) b.items[i].examples = 0, b.items[i].log_kq = -3;
    model_recal_learnt(&b.run, &b.slate, SLATE_ORGANIC, raw);
    model_recal_apply(&b.run, &b.table, b.p->w);
    for (size_t i = 0; i < b.p->n; i++) assert_true(b.p->w[i] == 0.0f);
    for (uint32_t i = 0; i < K; i++) b.items[i].examples = 3, b.items[i].log_kq = 0;
    for (int n = 0; n < 3; n++) model_recal_learnt(&a.run, &a.slate, SLATE_ORGANIC, raw);
    model_recal_learnt(&b.run, &b.slate, SLATE_ORGANIC, raw);
    model_recal_apply(&a.run, &a.table, a.p->w);
    model_recal_apply(&b.run, &b.table, b.p->w);
    const float *w = a.p->w + param_at(&a.table, a.recal.weights)->offset + SLATE_ORGANIC * RECAL_N;
    const float *u = b.p->w + param_at(&b.table, b.recal.weights)->offset + SLATE_ORGANIC * RECAL_N;
    assert_true(fabsf(w[RECAL_INTERCEPT]) > 1e-3f);
    for (int i = 0; i < RECAL_N; i++) assert_float_equal(u[i], w[i], 1e-5f);
    fixture_close(&a);
    fixture_close(&b);
}

static void test_resumed_goes_on_in_the_same_bits(void **state)
{
    (void)state;
    struct fixture a, b;
    struct rand ra, rb;
    struct buf buf = {0};
    struct err e;
    fixture_open(&a, "true", "true");
    fixture_open(&b, "true", "true");
    rand_init(&ra, (struct rand_key){.seed = 6, .purpose = RAND_INIT});
    for (int n = 0; n < 50; n++) learn_slate(&a, &ra, 1.0f);
    model_recal_encode(&buf, &a.run);
    struct buf_reader in = buf_reader(buf.p, buf.n);
    assert_ok(model_recal_decode(&b.run, &in, &e), &e);
    assert_int_equal(buf_left(&in), 0);
    memcpy(b.p->w, a.p->w, a.p->n * sizeof *a.p->w);
    rb = ra;
    for (int n = 0; n < 20; n++) learn_slate(&a, &ra, 1.0f), learn_slate(&b, &rb, 1.0f);
    assert_memory_equal(a.p->w, b.p->w, a.p->n * sizeof *a.p->w);
    for (size_t n = 0; n < buf.n; n += 97) {
        in = buf_reader(buf.p, n);
        assert_int_equal(model_recal_decode(&b.run, &in, &e), STATUS_CORRUPT);
    }
    buf_fini(&buf);
    fixture_close(&a);
    fixture_close(&b);
}

/* Recorded lists whose labels are not settled when they are learnt stay as they are; orders are settled at once. */
static void test_early_labels_recalibrate_nothing(void **state)
{
    (void)state;
    struct fixture f;
    const float raw[K] = {2, 2, 2};
    fixture_open(&f, "false", "true");
    f.recal.early = true;
    const float *w = f.p->w + param_at(&f.table, f.recal.weights)->offset;
    model_recal_learnt(&f.run, &f.slate, SLATE_IMPRESSION, raw);
    model_recal_apply(&f.run, &f.table, f.p->w);
    for (int i = 0; i < RECAL_N; i++) assert_true(w[i] == 0.0f);
    model_recal_learnt(&f.run, &f.slate, SLATE_ORGANIC, raw);
    model_recal_apply(&f.run, &f.table, f.p->w);
    assert_true(w[RECAL_N + RECAL_INTERCEPT] < -0.1f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correction_is_of_sampled_slates_alone),
        cmocka_unit_test(test_nothing_learnt_changes_nothing),
        cmocka_unit_test(test_slope_and_offset_are_found),
        cmocka_unit_test(test_parts_learn_beside_the_offsets),
        cmocka_unit_test(test_unlearnt_age_is_as_its_younger_neighbour),
        cmocka_unit_test(test_examples_count_and_what_is_learnt_again_does_not),
        cmocka_unit_test(test_early_labels_recalibrate_nothing),
        cmocka_unit_test(test_resumed_goes_on_in_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
