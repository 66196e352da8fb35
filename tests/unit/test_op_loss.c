/* test_op_loss.c - sparse features and the loss: values, and gradients against central differences. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include <math.h>
#include <string.h>

enum { K = 3, ROWS = 5 };
static const uint32_t off[K + 1] = {0, 3, 3, 5},
                              idx[] = {4, 1, 4, 0, 2}; /* a row twice in one candidate; one without any */
static const float val[] = {0.5f, -2, 1, 3, 1};
static float got_dz[K];

static void keep_dz(void *user, const float *dz, size_t n)
{
    (void)user;
    assert_int_equal(n, K);
    memcpy(got_dz, dz, sizeof got_dz);
}

static void test_sparse_values_and_gradient(void **state)
{
    (void)state;
    const char *const backends[] = {"ref", "cpu"};
    float w[ROWS] = {1, 2, 3, 4, 5};
    for (int i = 0; i < 2; i++) {
        struct kern *k;
        struct tape t;
        assert_int_equal(kern_new(&k, backends[i], NULL), STATUS_OK);
        tape_init(&t, k, true);
        const struct tape_value z = op_sparse(&t, &(struct op_sparse){w, off, idx, val, K, keep_dz, NULL});
        assert_float_equal(z.x[0], 0.5f * 5 - 2 * 2 + 5, 1e-6f);
        assert_float_equal(z.x[1], 0.0f, 0.0f);
        assert_float_equal(z.x[2], 3 * 1 + 3, 1e-6f);
        for (int j = 0; j < K; j++) z.dx[j] = (float)j + 0.5f;
        tape_backward(&t);
        for (int j = 0; j < K; j++) assert_float_equal(got_dz[j], (float)j + 0.5f, 0.0f);
        tape_fini(&t);
        kern_free(k);
    }
}

static const float labels[K] = {1, 0, 1}, weights[K] = {1, 2, 0.5f};

static const float *soft; /* NULL: labels */

static double loss_of(struct kern *k, float *z, float *dz, float share)
{
    struct tape t;
    tape_init(&t, k, true);
    float *loss = tape_zeros(&t, 2);
    op_loss(&t, loss, (struct tape_value){z, dz, K, 1}, &(struct op_loss){labels, weights, soft, share});
    assert_false(t.oom);
    const double out = op_loss_total(loss, share);
    tape_fini(&t);
    return out;
}

static void test_bce_values_and_gradient(void **state)
{
    (void)state;
    const char *const backends[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        struct kern *k;
        float z[K] = {0.3f, -1.2f, 2.0f}, dz[K] = {7, 7, 7};
        assert_int_equal(kern_new(&k, backends[i], NULL), STATUS_OK);
        double want = 0;
        for (int j = 0; j < K; j++) {
            const double p = 1.0 / (1.0 + exp(-(double)z[j]));
            want -= (double)weights[j] * (labels[j] > 0 ? log(p) : log(1 - p));
        }
        assert_float_equal((float)loss_of(k, z, dz, 0), (float)want, 1e-5f);
        for (int j = 0; j < K; j++) {
            const double p = 1.0 / (1.0 + exp(-(double)z[j]));
            assert_float_equal(dz[j] - 7.0f, (float)((double)weights[j] * (p - (double)labels[j])), 1e-5f);
        }
        float far[K] = {80, -80, -90}; /* no overflow far out */
        assert_true(isfinite(loss_of(k, far, dz, 0.5f)));
        kern_free(k);
    }
}

/* The share mixes the two, values and gradients alike. */
static void test_share_mixes_softmax_in(void **state)
{
    (void)state;
    const char *const backends[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        struct kern *k;
        float z[K] = {0.3f, -1.2f, 2.0f}, none[K] = {0}, all[K] = {0}, some[K] = {0};
        assert_int_equal(kern_new(&k, backends[i], NULL), STATUS_OK);
        const double bce = loss_of(k, z, none, 0), softmax = 4.0 * loss_of(k, z, all, 1);
        const double n = 2 * exp(-1.2), each = 3.5 / 1.5; /* one negative of weight 2 */
        const double want = each * (log1p(n / exp(0.3)) + 0.5 * log1p(n / exp(2.0)));
        assert_true(fabs(softmax - want) < 1e-5);
        assert_true(fabs(loss_of(k, z, some, 0.3f) - (0.7 * bce + 0.075 * softmax)) < 1e-5);
        for (int j = 0; j < K; j++) assert_float_equal(some[j], 0.7f * none[j] + 0.3f * all[j], 1e-6f);
        kern_free(k);
    }
}

/* The softmax knows positives and negatives, the cross-entropy where it is to be: gradient (1 - share)*w*(p - soft) of the one. */
static void test_soft_labels_move_the_cross_entropy_alone(void **state)
{
    (void)state;
    const char *const backends[] = {"ref", "cpu"};
    static const float between[K] = {0.8f, 0.3f, 0.6f};
    for (int i = 0; i < 2; i++) {
        struct kern *k;
        float z[K] = {0.3f, -1.2f, 2.0f}, hard[K] = {0}, moved[K] = {0};
        assert_int_equal(kern_new(&k, backends[i], NULL), STATUS_OK);
        (void)loss_of(k, z, hard, 0.5f);
        soft = between;
        (void)loss_of(k, z, moved, 0.5f);
        for (int j = 0; j < K; j++)
            assert_float_equal(moved[j] - hard[j], 0.5f * weights[j] * (labels[j] - between[j]), 1e-6f);
        soft = NULL;
        kern_free(k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sparse_values_and_gradient),
        cmocka_unit_test(test_bce_values_and_gradient),
        cmocka_unit_test(test_soft_labels_move_the_cross_entropy_alone),
        cmocka_unit_test(test_share_mixes_softmax_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
