/* test_kern_loss.c - binary cross-entropy and late interaction: against ref, against differences, at their edges. */
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>
#include <string.h>

static struct kern *backend_or_ref(size_t j)
{
    return j == 0 ? kernels_ref() : kernels_backend(j - 1);
}

static void test_bce_values(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        const float z[] = {0.0f, 2.0f, -2.0f, 200.0f, -200.0f, 5.0f}, y[] = {1, 1, 0, 0, 0, 1},
                    w[] = {1, 2, 1, 1, 1, 0};
        float loss = 10.0f, dz[6] = {1, 1, 1, 1, 1, 1};
        k->ops->bce(k, &loss, dz, z, y, w, 0.5f, 6);
        const double two = log1p(exp(-2.0)), p = 1.0 / (1.0 + exp(-2.0));
        assert_true(fabs(loss - (10.0 + log(2.0) + 2 * two + two + 200.0)) < 1e-4);
        const double want[] = {1 - 0.25, 1 + (p - 1), 1 + 0.5 * (1 - p), 1.5, 1.0, 1.0};
        for (size_t i = 0; i < 6; i++) assert_true(fabs(dz[i] - want[i]) < 1e-6);
        k->ops->bce(k, &loss, dz, z, y, w, 1.0f, 0);
    }
}

struct bce {
    float *z, *y, *w;
    size_t n;
};

static double bce_loss(void *user)
{
    struct bce *b = user;
    float loss = 0.0f, *dz = kernels_zeros(b->n);
    double sum = 0.0; /* element by element: one float32 total would hide small steps */
    for (size_t i = 0; i < b->n; i++, loss = 0.0f) {
        kernels_ref()->ops->bce(kernels_ref(), &loss, dz, b->z + i, b->y + i, b->w + i, 1.0f, 1);
        sum += loss;
    }
    return sum;
}

static void test_bce_gradient_is_a_slope(void **state)
{
    (void)state;
    struct bce b = {.n = 12};
    float loss = 0.0f, dz[12];
    b.z = kernels_random(12, 1);
    b.y = kernels_zeros(12);
    b.w = kernels_random(12, 2);
    for (size_t i = 0; i < 12; i++) b.y[i] = (float)(i % 3 == 0), b.w[i] = fabsf(b.w[i]), dz[i] = 2.0f;
    kernels_ref()->ops->bce(kernels_ref(), &loss, dz, b.z, b.y, b.w, 1.0f, 12);
    kernels_slope("z", bce_loss, &b, b.z, 12, dz, 2.0f, 2e-4);
    kernels_reset();
}

static void test_slate_softmax_values(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        const float z[] = {1.0f, 2.0f, -1.0f, 0.5f, 9.0f}, y[] = {1, 0, 1, 0, 0}, w[] = {1, 1, 2, 3, 0};
        float loss = 10.0f, dz[5] = {1, 1, 1, 1, 1};
        k->ops->slate_softmax(k, &loss, dz, z, y, w, 0.5f, 5);
        const double n = exp(2.0) + 3 * exp(0.5), each = 7.0 / 3.0; /* W = 7, P = 3 */
        const double want = log((exp(1.0) + n) / exp(1.0)) + 2 * log((exp(-1.0) + n) / exp(-1.0));
        assert_true(fabs(loss - (10.0 + each * want)) < 1e-4);
        const double p0 = n / (exp(1.0) + n), p2 = n / (exp(-1.0) + n);
        assert_true(fabs(dz[0] - (1 - 0.5 * each * p0)) < 1e-6);
        assert_true(fabs(dz[2] - (1 - 0.5 * each * 2 * p2)) < 1e-6);
        assert_true(fabs(dz[1] - (1 + 0.5 * each * (p0 + 2 * p2) * exp(2.0) / n)) < 1e-6);
        assert_true(dz[4] == 1.0f); /* weighs nothing */
        const float sum = dz[0] + dz[1] + dz[2] + dz[3] + dz[4];
        assert_true(fabs((double)sum - 5.0) < 1e-5); /* it does not care for the level */
    }
}

/* Far out nothing overflows; where there is nothing to compare nothing happens. */
static void test_slate_softmax_edges(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        const float far[] = {-900.0f, 900.0f}, y[] = {1, 0}, one[] = {1, 1}, none[] = {0, 0};
        float loss = 0.0f, dz[2] = {0, 0};
        k->ops->slate_softmax(k, &loss, dz, far, y, one, 1.0f, 2);
        assert_true(fabs(loss - 2 * 1800.0) < 1e-2 && fabs(dz[0] + 2.0) < 1e-6 && fabs(dz[1] - 2.0) < 1e-6);
        loss = dz[0] = dz[1] = 0.0f;
        k->ops->slate_softmax(k, &loss, dz, far, one, one, 1.0f, 2);  /* no negative */
        k->ops->slate_softmax(k, &loss, dz, far, none, one, 1.0f, 2); /* no positive */
        k->ops->slate_softmax(k, &loss, dz, far, y, none, 1.0f, 2);   /* no weight */
        k->ops->slate_softmax(k, &loss, dz, far, y, one, 1.0f, 0);
        assert_true(loss == 0.0f && dz[0] == 0.0f && dz[1] == 0.0f);
    }
}

static double softmax_loss(void *user)
{
    struct bce *b = user;
    float loss = 0.0f, *dz = kernels_zeros(b->n);
    kernels_ref()->ops->slate_softmax(kernels_ref(), &loss, dz, b->z, b->y, b->w, 1.0f, b->n);
    return loss;
}

static void test_slate_softmax_gradient_is_a_slope(void **state)
{
    (void)state;
    struct bce b = {.n = 7};
    float loss = 0.0f, dz[7];
    b.z = kernels_random(7, 3);
    b.y = kernels_zeros(7);
    b.w = kernels_random(7, 4);
    for (size_t i = 0; i < 7; i++) b.y[i] = (float)(i % 3 == 0), b.w[i] = 0.1f + fabsf(b.w[i]), dz[i] = 2.0f;
    kernels_ref()->ops->slate_softmax(kernels_ref(), &loss, dz, b.z, b.y, b.w, 1.0f, 7);
    kernels_slope("z", softmax_loss, &b, b.z, 7, dz, 2.0f, 1e-3);
    kernels_reset();
}

static void test_task_bce_values(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        const float s[] = {0.5f, -1.0f}, h[] = {1.0f, -2.0f, 0.3f, 4.0f}, y[] = {1, 0, 0, 1};
        const uint8_t chained[] = {1, 0};
        float loss = 3.0f, ds[2] = {1, 1}, dh[4] = {1, 1, 1, 1};
        k->ops->task_bce(k, &loss, ds, dh, s, h, y, chained, 2, 2);
        const double p0 = 1 / (1 + exp(-0.5)) / (1 + exp(-1.0)), p1 = 1 / (1 + exp(1.0)) / (1 + exp(-0.3));
        const double q0 = 1 / (1 + exp(2.0)), q1 = 1 / (1 + exp(-4.0));
        assert_true(fabs(loss - (3 - log(p0) - log(1 - q0) - log(1 - p1) - log(q1))) < 1e-5);
        assert_true(fabs(ds[0] - (1 - 1 / (1 + exp(0.5)))) < 1e-6);
        assert_true(fabs(ds[1] - (1 + p1 / (1 - p1) / (1 + exp(-1.0)))) < 1e-6);
        assert_true(fabs(dh[1] - (1 + q0)) < 1e-6 && fabs(dh[3] - (1 + q1 - 1)) < 1e-6);
        const float far[] = {600.0f, -600.0f}, away[] = {700.0f, -900.0f};
        const float zero[] = {0, 1};
        loss = 0;
        k->ops->task_bce(k, &loss, ds, dh, far, away, zero, chained, 2, 1);
        assert_true(isfinite(loss) && fabs(loss - (600.0 + 1500.0)) < 1e-1 && isfinite(ds[0]) && isfinite(dh[1]));
    }
}

struct tasks {
    float *s, *h, *y;
    uint8_t chained[3];
};

static double task_loss(void *user)
{
    struct tasks *t = user;
    float loss = 0.0f, *ds = kernels_zeros(5), *dh = kernels_zeros(15);
    kernels_ref()->ops->task_bce(kernels_ref(), &loss, ds, dh, t->s, t->h, t->y, t->chained, 5, 3);
    return loss;
}

static void test_task_bce_gradients_are_slopes(void **state)
{
    (void)state;
    struct tasks t = {.chained = {1, 0, 1}};
    float loss = 0.0f, ds[5], dh[15];
    t.s = kernels_random(5, 5);
    t.h = kernels_random(15, 6);
    t.y = kernels_zeros(15);
    for (size_t i = 0; i < 15; i++) t.y[i] = (float)(i % 4 == 0), dh[i] = 2.0f;
    for (size_t i = 0; i < 5; i++) ds[i] = 3.0f;
    kernels_ref()->ops->task_bce(kernels_ref(), &loss, ds, dh, t.s, t.h, t.y, t.chained, 5, 3);
    kernels_slope("s", task_loss, &t, t.s, 5, ds, 3.0f, 1e-3);
    kernels_slope("h", task_loss, &t, t.h, 15, dh, 2.0f, 1e-3);
    kernels_reset();
}

struct match {
    struct kern_match m;
    float *s, *b, *tau, *feat, *keep, *dfeat;
    uint8_t self[64 * 32];
};

static void make_match(struct match *m, size_t K, size_t E, size_t T)
{
    m->s = kernels_random(K * E, 1);
    for (size_t i = 0; i < K * E; i++) m->s[i] = 0.3f * m->s[i];
    m->b = kernels_random(E, 2);
    m->tau = kernels_zeros(T);
    for (size_t t = 0; t < T; t++) m->tau[t] = 8.0f + 3.0f * (float)t;
    m->feat = kernels_random(K * (T + 2), 3);
    m->keep = kernels_random(K * (T + 1) * E, 4);
    m->dfeat = kernels_random(K * (T + 2), 5);
    for (size_t k = 0; k < K; k++)
        for (size_t e = 0; e < E; e++) m->self[k * E + e] = k == 1 || (k + e) % 7 == 0; /* 1: nothing else is left */
    m->m = (struct kern_match){.s = m->s, .b = m->b, .tau = m->tau, .self = m->self, .K = K, .E = E, .T = T};
}

static const struct {
    size_t K, E, T;
} shapes[] = {{0, 3, 2}, {3, 0, 2}, {3, 1, 1}, {5, 20, 2}, {64, 17, 2}, {4, 32, 3}, {2, 5, 0}};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void test_match_agrees(void **state)
{
    (void)state;
    struct match m;
    struct kern *k;
    for (size_t i = 0; i < N_SHAPES; i++) {
        const size_t K = shapes[i].K, E = shapes[i].E, T = shapes[i].T;
        make_match(&m, K, E, T);
        float *ds = kernels_random(K * E, 6), *db = kernels_random(E, 7), *dtau = kernels_random(T, 8);
        const float *ds0 = kernels_copy(ds, K * E), *db0 = kernels_copy(db, E), *dtau0 = kernels_copy(dtau, T);
        k = kernels_ref();
        k->ops->match(k, m.feat, m.keep, &m.m);
        k->ops->match_backward(k, ds, db, dtau, m.dfeat, m.keep, &m.m);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *feat = kernels_random(K * (T + 2), 9), *keep = kernels_random(K * (T + 1) * E, 9);
            float *gs = kernels_copy(ds0, K * E), *gb = kernels_copy(db0, E), *gtau = kernels_copy(dtau0, T);
            k->ops->match(k, feat, keep, &m.m);
            kernels_close("feat", feat, m.feat, K * (T + 2), 1e-5, 1e-5);
            kernels_close("keep", keep, m.keep, K * (T + 1) * E, 1e-5, 1e-5);
            k->ops->match_backward(k, gs, gb, gtau, m.dfeat, m.keep, &m.m);
            kernels_close("ds", gs, ds, K * E, 1e-5, 1e-5);
            kernels_close("db", gb, db, E, 2e-5, 1e-5); /* sums over K */
            kernels_close("dtau", gtau, dtau, T, 2e-5, 1e-5);
        }
        kernels_reset();
    }
}

static void test_match_by_hand(void **state)
{
    (void)state;
    struct kern *k;
    const float s[] = {0.5f, -0.25f, 0.5f, -0.25f}, b[] = {0.0f, 0.0f}, tau[] = {4.0f};
    const uint8_t self[] = {0, 0, 1, 1};
    const struct kern_match m = {.s = s, .b = b, .tau = tau, .self = self, .K = 2, .E = 2, .T = 1};
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        float feat[6], keep[8];
        k->ops->match(k, feat, keep, &m);
        const double r = 1.0 / (1.0 + exp(-4.0 * 0.75));
        assert_true(fabs(feat[0] - 0.125) < 1e-6);
        assert_true(fabs(feat[1] - (r * 0.5 + (1 - r) * -0.25)) < 1e-6);
        assert_true(feat[2] == 1.0f);
        assert_true(fabs(feat[3] - 0.125) < 1e-6 && feat[4] == 0.0f && feat[5] == 0.0f);
    }
}

/* What is written is what was read: the same on all. */
static void test_match_fixed_is_exact(void **state)
{
    (void)state;
    struct match m;
    struct kern *k;
    for (size_t i = 0; i < N_SHAPES; i++) {
        const size_t K = shapes[i].K, E = shapes[i].E;
        make_match(&m, K, E, 1);
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            float *out = kernels_random(3 * K, 9);
            k->ops->match_fixed(k, out, m.dfeat, m.s, m.self, K, E);
            for (size_t c = 0; c < K; c++) {
                float best = -2.0f;
                for (size_t e = 0; e < E; e++)
                    best = m.self[c * E + e] || m.s[c * E + e] < best ? best : m.s[c * E + e];
                assert_true(out[3 * c] == m.dfeat[c] && out[3 * c + 1] == (best < -1.0f ? 0.0f : best));
                assert_true(out[3 * c + 2] == (E > 0 ? 1.0f : 0.0f));
            }
        }
        kernels_reset();
    }
}

static double match_loss(void *user)
{
    struct match *m = user;
    kernels_ref()->ops->match(kernels_ref(), m->feat, m->keep, &m->m);
    return kernels_weigh(m->feat, m->dfeat, m->m.K * (m->m.T + 2));
}

static void test_match_gradients_are_slopes(void **state)
{
    (void)state;
    enum { K = 4, E = 5, T = 2 };
    struct match m;
    float ds[K * E], db[E], dtau[T];
    make_match(&m, K, E, T);
    for (size_t t = 0; t < T; t++) m.tau[t] = 1.0f + (float)t; /* gentle: the step's own error grows with tau^3 */
    for (size_t i = 0; i < K * E; i++) ds[i] = 4.0f;
    for (size_t i = 0; i < E; i++) db[i] = 4.0f;
    for (size_t i = 0; i < T; i++) dtau[i] = 4.0f;
    (void)match_loss(&m);
    kernels_ref()->ops->match_backward(kernels_ref(), ds, db, dtau, m.dfeat, m.keep, &m.m);
    kernels_slope("s", match_loss, &m, m.s, K * E, ds, 4.0f, 2e-4);
    kernels_slope("b", match_loss, &m, m.b, E, db, 4.0f, 2e-4);
    kernels_slope("tau", match_loss, &m, m.tau, T, dtau, 4.0f, 2e-4);
    kernels_reset();
}

static int done(void **state)
{
    (void)state;
    kernels_close_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bce_values),
        cmocka_unit_test(test_bce_gradient_is_a_slope),
        cmocka_unit_test(test_slate_softmax_values),
        cmocka_unit_test(test_slate_softmax_edges),
        cmocka_unit_test(test_slate_softmax_gradient_is_a_slope),
        cmocka_unit_test(test_task_bce_values),
        cmocka_unit_test(test_task_bce_gradients_are_slopes),
        cmocka_unit_test(test_match_agrees),
        cmocka_unit_test(test_match_by_hand),
        cmocka_unit_test(test_match_fixed_is_exact),
        cmocka_unit_test(test_match_gradients_are_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
