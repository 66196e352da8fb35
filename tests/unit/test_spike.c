/* test_spike.c - a batch far beyond the usual losses is skipped; noise is not, and a lasting change becomes usual. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/spike.h"
#include <math.h>

static struct rand rnd;

static double usual(void) /* skewed, as losses are */
{
    const double z = rand_normal(&rnd);
    return 0.4 * exp(0.3 * z);
}

static void warm(struct spike *s, int n)
{
    rand_init(&rnd, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    *s = (struct spike){0};
    for (int i = 0; i < n; i++) assert_false(spike_is(s, usual(), 20, 20.0));
}

static void test_noise_is_no_spike_and_a_spike_is(void **state)
{
    struct spike s;
    (void)state;
    warm(&s, 200000);
    assert_true(fabs(s.median - 0.4) < 0.04);
    assert_true(fabs(s.deviation - 0.13) < 0.03);
    assert_true(spike_is(&s, 5.0, 20, 20.0));
    assert_true(spike_is(&s, 1e30, 20, 20.0));
    assert_false(spike_is(&s, usual(), 20, 20.0));
    assert_true(fabs(s.median - 0.4) < 0.04 && s.deviation < 0.25); /* wild numbers move little */
}

static void test_it_learns_before_it_judges_and_can_be_off(void **state)
{
    struct spike s;
    (void)state;
    warm(&s, SPIKE_WARMUP - 1);
    assert_false(spike_is(&s, 50.0, 20, 20.0));
    assert_true(spike_is(&s, 50.0, 20, 20.0));
    assert_false(spike_is(&s, 50.0, 20, 0.0));
    assert_false(spike_is(&s, (double)NAN, 20, 20.0));
}

static void test_what_lasts_is_no_spike(void **state)
{
    struct spike s;
    int skipped = 0;
    (void)state;
    warm(&s, 1000);
    for (int i = 0; i < 3000; i++) skipped += spike_is(&s, 10.0 * usual(), 20, 20.0);
    assert_in_range(skipped, 1, 100);
    skipped = 0;
    for (int i = 0; i < 3000; i++) skipped += spike_is(&s, 10.0 * usual(), 20, 20.0);
    assert_int_equal(skipped, 0);
}

/* Lists of which few have a click: a batch's loss is next to nothing, or that of a click. */
static void test_what_is_rare_is_no_spike(void **state)
{
    (void)state;
    const double rates[] = {0.05, 0.02, 0.01, 0.002, 0.0005};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct spike s = {0};
        uint64_t skipped = 0, clicked = 0;
        rand_init(&rnd, (struct rand_key){.seed = 5 + r, .purpose = RAND_TEST});
        for (int batch = 0; batch < 100000; batch++) {
            double loss = 0;
            bool click = false;
            for (int i = 0; i < 20; i++) {
                const double p = rates[r] * exp(0.5 * rand_normal(&rnd));
                const bool y = rand_unit(&rnd) < p;
                loss -= y ? log(p) : log1p(-p);
                click = click || y;
            }
            const bool spike = spike_is(&s, loss / 20, 20, 20.0);
            assert_true(click || !spike);
            skipped += spike;
            clicked += click;
        }
        assert_true(skipped * 50 <= clicked || skipped <= SPIKE_FREE);
        assert_true(skipped == s.skipped);
        assert_true(spike_is(&s, 5.0, 20, 20.0)); /* all of a list */
    }
}

/* Single marks that come late are positives alone: their loss is high, and no spike. */
static void test_a_small_batch_is_not_judged(void **state)
{
    struct spike s;
    (void)state;
    warm(&s, 1000);
    for (int i = 0; i < 10; i++) assert_false(spike_is(&s, 50.0, 2, 20.0));
    assert_true(spike_is(&s, 50.0, 20, 20.0));
}

static void test_state_goes_on_where_it_was(void **state)
{
    struct spike s, copy;
    struct buf b = {0};
    (void)state;
    warm(&s, 1000);
    s.skipped = 5;
    s.examples = 70;
    spike_encode(&b, &s);
    struct buf_reader r = buf_reader(b.p, b.n);
    spike_decode(&copy, &r);
    assert_false(r.bad);
    assert_true(s.median == copy.median && s.deviation == copy.deviation && s.batches == copy.batches);
    assert_true(copy.skipped == 5 && copy.examples == 70);
    r = buf_reader(b.p, 9);
    spike_decode(&copy, &r);
    assert_true(r.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise_is_no_spike_and_a_spike_is),
        cmocka_unit_test(test_it_learns_before_it_judges_and_can_be_off),
        cmocka_unit_test(test_what_lasts_is_no_spike),
        cmocka_unit_test(test_what_is_rare_is_no_spike),
        cmocka_unit_test(test_a_small_batch_is_not_judged),
        cmocka_unit_test(test_state_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
