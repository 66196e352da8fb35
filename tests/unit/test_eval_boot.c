/* test_eval_boot.c - Poisson weights, and intervals against what theory says of clustered and of paired figures.
 * labels: quick */
#include "base/hash.h"
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/eval_boot.h"
#include <math.h>
#include <string.h>

static struct eval_boot boot, back;

static uint64_t user_hash(uint64_t u)
{
    return hash_bytes(&u, sizeof u);
}

static void test_weights_are_poisson_and_the_users_own(void **state)
{
    (void)state;
    uint8_t a[EVAL_BOOT], b[EVAL_BOOT];
    double n = 0.0, sum = 0.0, squares = 0.0, none = 0.0;
    eval_boot_weights(7, a);
    eval_boot_weights(7, b);
    assert_memory_equal(a, b, sizeof a);
    eval_boot_weights(8, b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    for (uint64_t u = 0; u < 1000; u++) {
        eval_boot_weights(user_hash(u), a);
        for (int i = 0; i < EVAL_BOOT; i++) {
            n += 1.0;
            sum += a[i];
            squares += (double)a[i] * a[i];
            none += a[i] == 0;
        }
    }
    assert_near(sum / n, 1.0, 0.01);
    assert_near(squares / n - 1.0, 1.0, 0.02);
    assert_near(none / n, exp(-1.0), 0.005);
}

/* 400 users of 5 slates; a user's slates share a shift of deviation 0.1, each adds 0.05 of its own. */
static void test_intervals_know_of_clusters_and_pairs(void **state)
{
    (void)state;
    enum { USERS = 400, EACH = 5 };
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 11, .purpose = RAND_TEST});
    eval_boot_init(&boot, 2);
    for (uint64_t u = 0; u < USERS; u++) {
        const double shift = 0.1 * rand_normal(&r);
        for (int s = 0; s < EACH; s++) {
            struct eval_boot_slate x = {.ranked = true, .examples = 10.0};
            x.auc[0] = 0.8 + shift + 0.05 * rand_normal(&r);
            x.auc[1] = x.auc[0] - 0.02 + 0.01 * rand_normal(&r);
            x.loss[0] = 10.0 * x.auc[0];
            x.loss[1] = 10.0 * x.auc[1];
            eval_boot_add(&boot, user_hash(u), &x);
        }
    }
    const double clustered = sqrt((0.01 + 0.0025 / EACH) / USERS), paired = 0.01 / sqrt(USERS * EACH);
    assert_near(eval_boot_gauc(&boot, 0, -1), clustered, 0.2 * clustered);
    assert_near(eval_boot_gauc(&boot, 0, 1), paired, 0.2 * paired);
    assert_near(eval_boot_loss(&boot, 0, -1), clustered, 0.2 * clustered);
    assert_near(eval_boot_loss(&boot, 1, 0), paired, 0.2 * paired);
    const struct report_interval i = eval_boot_interval(0.5, 0.1);
    assert_true(i.mean == 0.5 && fabs(i.lower - 0.304) < 1e-12 && fabs(i.upper - 0.696) < 1e-12);
}

static void test_undefined_and_unranked(void **state)
{
    (void)state;
    const struct eval_boot_slate unranked = {.loss = {3.0}, .examples = 4.0};
    eval_boot_init(&boot, 1);
    assert_true(isnan(eval_boot_gauc(&boot, 0, -1)) && isnan(eval_boot_loss(&boot, 0, -1)));
    for (uint64_t u = 0; u < 30; u++) eval_boot_add(&boot, user_hash(u), &unranked);
    assert_true(isnan(eval_boot_gauc(&boot, 0, -1)));
    assert_true(eval_boot_loss(&boot, 0, -1) < 1e-12);
}

/* One user's slates agree with themselves in every replicate: nothing says how far another's would be. */
static void test_one_user_alone_has_no_interval(void **state)
{
    (void)state;
    for (uint64_t u = 0; u < 200; u++) {
        eval_boot_init(&boot, 2);
        for (int i = 0; i < 10; i++) {
            const struct eval_boot_slate x = {.ranked = true, .auc = {0.1 * i, 0.5}, .loss = {i, 1.0}, .examples = 4.0};
            eval_boot_add(&boot, user_hash(u), &x);
        }
        assert_true(isnan(eval_boot_gauc(&boot, 0, -1)) && isnan(eval_boot_gauc(&boot, 0, 1)));
        assert_true(isnan(eval_boot_loss(&boot, 0, -1)) && isnan(eval_boot_loss(&boot, 0, 1)));
        const struct eval_boot_slate other = {.ranked = true, .auc = {0.1, 0.5}, .loss = {2.0, 1.0}, .examples = 4.0};
        eval_boot_add(&boot, user_hash(u + 1000), &other);
        assert_true(eval_boot_gauc(&boot, 0, -1) > 0.0 && eval_boot_loss(&boot, 0, 1) > 0.0);
    }
}

static void test_packed_it_is_the_same(void **state)
{
    (void)state;
    struct buf b = {0};
    eval_boot_init(&boot, 3);
    for (uint64_t u = 0; u < 30; u++)
        eval_boot_add(
            &boot, user_hash(u),
            &(struct eval_boot_slate){.auc = {0.1, 0.2, 0.3}, .loss = {1, 2, 3}, .ranked = true, .examples = 4});
    eval_boot_encode(&b, &boot);
    eval_boot_init(&back, 3);
    struct buf_reader r = buf_reader(b.p, b.n);
    eval_boot_decode(&back, &r);
    assert_true(!r.bad && buf_left(&r) == 0);
    assert_memory_equal(&boot, &back, sizeof boot);
    eval_boot_init(&back, 2);
    r = buf_reader(b.p, b.n);
    eval_boot_decode(&back, &r);
    assert_true(r.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_are_poisson_and_the_users_own),
        cmocka_unit_test(test_intervals_know_of_clusters_and_pairs),
        cmocka_unit_test(test_undefined_and_unranked),
        cmocka_unit_test(test_one_user_alone_has_no_interval),
        cmocka_unit_test(test_packed_it_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
