/* test_ope.c - off-policy estimates against the simulator's truth: unbiased, covered by their intervals, DR the tightest.
 * labels: quick
 * timeout: 120 */
#include "model/policy.h"
#include "simulate/shop.h"
#include "tests/support/check.h"
#include "trainer/ope.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SLATE = 5 };

/* What the target earns of one list, over all its orders: the truth is known, so no label is needed. */
static double worth(const float *logits, const double *p, double temperature, unsigned used, int k)
{
    double sum = 0.0, value = 0.0;
    if (k == SLATE) return 0.0;
    for (int i = 0; i < SLATE; i++)
        if ((used >> i & 1) == 0) sum += exp((double)logits[i] / temperature);
    for (int i = 0; i < SLATE; i++) {
        if ((used >> i & 1) != 0) continue;
        const double next = exp((double)logits[i] / temperature) / sum;
        value += next * (p[i] / log2(2.0 + k) + worth(logits, p, temperature, used | 1u << i, k + 1));
    }
    return value;
}

/* Orders the shop's list by noisy logits as a scorer would, and draws its labels from the truth. */
static void serve(struct slate *s, const struct shop_list *l, const float *ranked_by, double temperature,
                  struct rand *r, uint32_t order[SLATE])
{
    double keys[SLATE], propensities[SLATE];
    float sorted[SLATE];
    policy_gumbel(ranked_by, SLATE, temperature, r, keys);
    for (uint32_t i = 0; i < SLATE; i++) order[i] = i;
    for (int i = 0; i < SLATE; i++)
        for (int k = i + 1; k < SLATE; k++)
            if (keys[order[k]] > keys[order[i]]) {
                const uint32_t t = order[i];
                order[i] = order[k], order[k] = t;
            }
    for (int i = 0; i < SLATE; i++) sorted[i] = ranked_by[order[i]];
    policy_propensities(sorted, SLATE, -INFINITY, temperature, propensities);
    for (int i = 0; i < SLATE; i++) {
        s->items[i].propensity = (float)propensities[i];
        s->items[i].label = rand_unit(r) < l->p[order[i]] ? 1.0f : 0.0f;
    }
}

struct run {
    struct ope ope;
    double truth, logged_truth;
};

/* 20,000 lists of the shop, logged by a poor ranking, evaluated for one that knows more. */
static void run_shop(struct run *x, uint64_t seed)
{
    struct shop *shop;
    struct shop_options o;
    struct err e;
    struct rand r;
    static struct shop_list l;
    enum { LISTS = 20000 };
    memset(x, 0, sizeof *x);
    shop_defaults(&o);
    o.seed = seed;
    o.slate = SLATE;
    o.users = 300;
    o.items = 200;
    o.drift = 0.0;
    o.bias = 0.5; /* where labels are rare, what is not known of them is all noise */
    assert_ok(shop_new(&shop, &o, &e), &e);
    rand_init(&r, (struct rand_key){seed, 0, 0, 0, RAND_TEST});
    for (int i = 0; i < LISTS; i++) {
        struct slate_item items[SLATE] = {0};
        struct slate s = {.source = SLATE_IMPRESSION, .n_items = SLATE, .items = items};
        float poor[SLATE], better[SLATE], listed[SLATE];
        uint32_t order[SLATE];
        char user[20];
        shop_next(shop, &l);
        for (int k = 0; k < SLATE; k++) {
            const double z = log(l.p[k] / (1.0 - l.p[k]));
            poor[k] = (float)(0.2 * z + 0.5 * rand_normal(&r));
            better[k] = (float)(0.8 * z + 0.3 * rand_normal(&r));
        }
        (void)snprintf(user, sizeof user, "u%u", l.user);
        s.user = str_from(user);
        serve(&s, &l, poor, 1.0, &r, order);
        for (int k = 0; k < SLATE; k++) listed[k] = better[order[k]];
        ope_list(&x->ope, &s, listed, 1.0);
        x->truth += worth(better, l.p, 1.0, 0, 0) / LISTS;
        x->logged_truth += worth(poor, l.p, 1.0, 0, 0) / LISTS;
    }
    shop_free(shop);
}

static void near(const struct report_interval *x, double truth)
{
    const double se = (x->upper - x->lower) / (2.0 * CLUSTER_Z);
    if (fabs(x->mean - truth) > 4.0 * se || !(se < 0.05 * truth))
        fail_msg("%g, the truth is %g, se %g", x->mean, truth, se);
}

static void test_estimates_find_the_truth(void **state)
{
    (void)state;
    static struct run x;
    struct report_ope r = {0};
    int covered = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        run_shop(&x, seed);
        ope_report(&x.ope, &r);
        near(&r.logged, x.logged_truth);
        near(&r.ips, x.truth);
        near(&r.snips, x.truth);
        near(&r.dr, x.truth);
        assert_true(x.truth > 1.02 * x.logged_truth); /* or there would be nothing to find */
        assert_true(r.dr.lower > x.logged_truth);
        covered += r.dr.lower <= x.truth && x.truth <= r.dr.upper;
        assert_true(r.dr.upper - r.dr.lower < r.ips.upper - r.ips.lower);
        assert_int_equal(r.lists, 20000);
        assert_true(r.effective > 2000.0 && r.effective < 20000.0);
    }
    assert_true(covered >= 7);
}

static void test_what_was_not_drawn_or_not_whole_is_passed_over(void **state)
{
    (void)state;
    static struct ope o;
    struct slate_item items[3] = {{.propensity = 0.4f, .label = 1.0f}, {.propensity = 0.5f}, {.propensity = 0.7f}};
    struct slate s = {.source = SLATE_IMPRESSION, .n_items = 3, .items = items};
    const float z[3] = {0.1f, 0.2f, 0.3f};
    ope_list(&o, &s, z, 1.0);
    assert_int_equal(o.partial, 1);
    items[2].propensity = 1.0f;
    ope_list(&o, &s, z, 1.0);
    assert_int_equal(o.lists, 1);
    items[1].propensity = 0.0f;
    ope_list(&o, &s, z, 1.0);
    s.source = SLATE_ORGANIC;
    ope_list(&o, &s, z, 1.0);
    assert_int_equal(o.lists + o.partial, 2);
}

static void test_nothing_taken_is_no_certainty(void **state)
{
    (void)state;
    static struct ope o;
    struct report_ope r = {0};
    struct slate_item items[2] = {{.propensity = 0.4f}, {.propensity = 1.0f}};
    struct slate s = {.source = SLATE_IMPRESSION, .n_items = 2, .items = items};
    const float z[2] = {0.1f, 0.2f};
    for (int i = 0; i < 100; i++) {
        char user[20];
        (void)snprintf(user, sizeof user, "u%d", i);
        s.user = str_from(user);
        ope_list(&o, &s, z, 1.0);
    }
    ope_report(&o, &r);
    assert_true(r.ips.mean == 0.0 && isnan(r.ips.lower) && isnan(r.logged.upper));
    assert_true(isfinite(r.dr.mean));
}

static void test_state_goes_out_and_back(void **state)
{
    (void)state;
    static struct run x;
    static struct ope back;
    struct err e;
    struct buf b = {0};
    run_shop(&x, 3);
    ope_encode(&b, &x.ope);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(ope_decode(&back, &r, &e), &e);
    assert_memory_equal(&back, &x.ope, sizeof back);
    r = buf_reader(b.p, b.n - 1);
    assert_int_equal(ope_decode(&back, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_estimates_find_the_truth),
        cmocka_unit_test(test_what_was_not_drawn_or_not_whole_is_passed_over),
        cmocka_unit_test(test_nothing_taken_is_no_certainty),
        cmocka_unit_test(test_state_goes_out_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
