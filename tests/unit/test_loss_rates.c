/* test_loss_rates.c - labels that come late are learnt without bias: a simulated shop whose rates are known, every join.loss,
 * down-sampled negatives, lists read from above.
 *
 * A click is long in coming beside the time between published versions (5 s) and beside join.wait_ms.  What was predicted when
 * a list was shown is held against the truth: the simulator's rates, times clicks over expected clicks in this log, as no learner
 * can know that a segment was lucky.  By segment: groups of items, and rates, true ones for losses that are not recalibrated
 * (what is learnt is the truth and noise), predicted ones where it is (who knows the truth only with noise does best to predict
 * nearer to the mean).  The table says too how early each loss knows something.
 *
 * FRESHET_RATES_LINES=400000 is the long form (3 minutes of a core): all arms, and 1 % is the limit.  The short
 * form ends while counters of days are still young: all predict too little, and what is far off is found.
 * labels: long
 * timeout: 600 */
#include "base/mem.h"
#include "job/learner.h"
#include "simulate/shop.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLATE = 8, LINES = 60000, LONG = 400000, EARLY_FROM = 5, EARLY_TO = 15, OPTIONS = 4 }; /* minutes */
#define SHORT_WITHIN 0.08
enum { ALL, LOW, MIDDLE, HIGH, GROUP, SEGMENTS = GROUP + 3 };
static const char *const segment_names[SEGMENTS] = {"all", "low", "middle", "high", "groups 1", "groups 2", "groups 3"};

struct truth { /* of one list */
    int64_t time_ms;
    float p[SLATE]; /* of a click inside the window, when looked at */
    uint8_t group[SLATE];
};
struct arm {
    const char *name;
    double within; /* of the truth in the long form; 0: 1 % */
    const char *options[OPTIONS];
    double predicted[SEGMENTS], expected[SEGMENTS], early_loss, loss;
    uint64_t early, examples, learnt;
    bool early_copies; /* not recalibrated */
};
static struct truth *truth;
static double luck[SEGMENTS];
static uint64_t n_lists, lines;
static struct learner_world world;

static struct shop_options shop_of(double stop)
{
    struct shop_options o;
    shop_defaults(&o);
    o.events = lines;
    o.users = 200;
    o.items = 60;
    o.slate = SLATE;
    o.new_items = o.drift = o.buy = 0.0;
    o.word_taste = 0.0; /* all users are alike: the items' rates are what there is to learn */
    o.item_quality = 0.8;
    o.bias = -1.0;
    o.lists_per_s = 2.0;
    o.delay_ms = 120000.0;
    o.window_ms = 900000;
    o.stop = stop;
    return o;
}

static int rate_segment(double p)
{
    return p < 0.2 ? LOW : p < 0.35 ? MIDDLE : HIGH;
}

/* Clicks that the joiner can see among what was certainly looked at, over what the rates expect of that. */
static void note_luck(const struct shop_options *o, const struct shop_list *l, const struct truth *t,
                      double clicks[SEGMENTS], double expected[SEGMENTS])
{
    const uint32_t n = shop_looked(o, l);
    for (uint32_t k = 0; k < n; k++) {
        const int segments[] = {ALL, rate_segment((double)t->p[k]), GROUP + t->group[k]};
        for (int s = 0; s < 3; s++) {
            clicks[segments[s]] += shop_clicked(o, l, k);
            expected[segments[s]] += (double)t->p[k];
        }
    }
}

static void note_truth(const struct shop_options *o)
{
    double clicks[SEGMENTS] = {0}, expected[SEGMENTS] = {0};
    struct shop *s;
    struct shop_list l;
    struct err e;
    const double in_time = 1.0 - exp(-(double)o->window_ms / o->delay_ms);
    truth = mem_calloc(n_lists, sizeof *truth);
    assert_non_null(truth);
    assert_ok(shop_new(&s, o, &e), &e);
    for (uint64_t i = 0; i < n_lists; i++) {
        shop_next(s, &l);
        truth[i].time_ms = l.time_ms - o->start_ms;
        for (uint32_t k = 0; k < SLATE; k++) {
            truth[i].p[k] = (float)(l.p[k] * in_time);
            truth[i].group[k] = (uint8_t)(shop_item(s, l.items[k])->noun / (SHOP_NOUNS / 3));
        }
        note_luck(o, &l, &truth[i], clicks, expected);
    }
    for (int k = 0; k < SEGMENTS; k++) luck[k] = clicks[k] / expected[k];
    shop_free(s);
}

static void open_shop(double stop)
{
    struct err e;
    const struct shop_options o = shop_of(stop);
    n_lists = learner_world_open_shop(&world, &o);
    note_truth(&o);
    assert_ok(conf_set(world.conf, "model.parts", "numeric,hashed", &e), &e);
    assert_ok(conf_set(world.conf, "join.window_ms", "900000", &e), &e);
    assert_ok(conf_set(world.conf, "join.wait_ms", "60000", &e), &e);
    /* the bias of losses is measured, not the noise of steps */
    assert_ok(conf_set(world.conf, "train.hashed_rate", "0.05", &e), &e);
    assert_ok(conf_set(world.conf, "gate.share", "0", &e), &e); /* what is learnt, and nothing else */
}

static void close_shop(void)
{
    learner_world_close(&world);
    mem_free(truth);
}

static void add(struct arm *a, int segment, double predicted, double expected)
{
    a->predicted[segment] += predicted;
    a->expected[segment] += expected;
}

static double log_loss(double z, bool y)
{
    const double s = y ? -z : z;
    return fmax(s, 0.0) + log1p(exp(-fabs(s)));
}

/* Rates are compared over the last third of the log. */
static enum status seen(void *user, const struct learner_seen *s, struct err *e)
{
    struct arm *a = user;
    const uint64_t list = strtoull(s->slate->request.p + 1, NULL, 10) - 1;
    (void)e;
    assert_true(list < n_lists);
    for (uint32_t i = 0; i < s->slate->n_items; i++) {
        const double z = (double)s->logits[i], loss = log_loss(z, s->slate->items[i].label > 0.5f);
        const double p = (double)truth[list].p[i], predicted = 1.0 / (1.0 + exp(-z));
        const int64_t minute = truth[list].time_ms / 60000;
        const bool early = minute >= EARLY_FROM && minute < EARLY_TO;
        a->early_loss += early ? loss : 0.0;
        a->early += early;
        a->loss += loss;
        a->examples++;
        if (list < n_lists / 3 * 2) continue;
        const int group = GROUP + truth[list].group[i];
        add(a, ALL, predicted, p * luck[ALL]);
        add(a, rate_segment(a->early_copies ? p : predicted), predicted, p * luck[rate_segment(p)]);
        add(a, group, predicted, p * luck[group]);
    }
    return STATUS_OK;
}

static void run(struct arm *a)
{
    static struct report report;
    struct err e;
    struct learner *l;
    for (int i = 0; i < OPTIONS && a->options[i] != NULL; i++)
        assert_ok(conf_set_option(world.conf, a->options[i], &e), &e);
    assert_ok(conf_check(world.conf, &e), &e);
    a->early_copies = strcmp(world.conf->join_loss, "wait") != 0;
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    learner_world_rewind(&world);
    learner_on_seen(l, seen, a);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    a->learnt = learner_learnt(l)->learnt_examples;
    learner_report(l, &report);
    assert_int_equal(report.unmatched, 0);
    learner_free(l);
}

static double bias_of(const struct arm *a, int segment)
{
    return a->predicted[segment] / a->expected[segment] - 1.0;
}

static void print_head(void)
{
    printf("%-26s %10s %9s %10s ", "", "min. 5-14", "log-loss", "learnt");
    for (int k = 0; k < SEGMENTS; k++) printf(" %8s", segment_names[k]);
    printf("   (predicted over true mean, last third)\n");
}

static void print(const struct arm *a)
{
    printf("%-26s %10.4f %9.4f %10llu ", a->name, a->early_loss / (double)a->early, a->loss / (double)a->examples,
           (unsigned long long)a->learnt);
    for (int k = 0; k < SEGMENTS; k++) printf(" %+7.2f%%", 100.0 * bias_of(a, k));
    printf("\n");
    (void)fflush(stdout);
}

static void check(const struct arm *a)
{
    for (int k = 0; k < SEGMENTS; k++) {
        const double bias = bias_of(a, k);
        assert_true(a->expected[k] > (double)lines / 400.0);
        const double within = (a->within > 0.0 ? a->within : 0.01);
        const double limit = lines < LONG ? SHORT_WITHIN : within;
        if (!(fabs(bias) <= limit)) fail_msg("%s, %s: predicted %+.2f %%", a->name, segment_names[k], 100.0 * bias);
    }
}

static void run_arms(struct arm *arms, size_t n)
{
    print_head();
    for (size_t i = 0; i < n; i++) {
        run(&arms[i]);
        print(&arms[i]);
    }
    for (size_t i = 0; i < n; i++) check(&arms[i]);
}

static void test_every_loss_learns_the_true_rates(void **state)
{
    (void)state;
    /* Both at once learn from the fewest, and are +1.5 % off where rates are high (with all negatives: within 0.9 %). */
    struct arm arms[] = {
        {.name = "wait", .options = {"join.loss=wait", "join.negative_rate=1"}},
        {.name = "fnw", .options = {"join.loss=fnw"}},
        {.name = "importance", .options = {"join.loss=importance"}},
        {.name = "wait, half of the negatives", .options = {"join.loss=wait", "join.negative_rate=0.5"}},
        {.name = "fnw, half", .within = 0.02, .options = {"join.loss=fnw"}},
        {.name = "importance, half", .within = 0.02, .options = {"join.loss=importance"}},
    };
    const size_t n = lines < LONG ? 3 : sizeof arms / sizeof *arms;
    open_shop(0.0);
    run_arms(arms, n);
    close_shop();
    for (int i = 1; i < 3; i++) { /* freshness pays, early and on the whole */
        assert_true(arms[i].early_loss < 0.9 * arms[0].early_loss);
        assert_true(arms[i].loss / (double)arms[i].examples < arms[0].loss / (double)arms[0].examples);
    }
    if (n > 3) assert_true(arms[3].learnt < arms[0].learnt * 3 / 4);
}

static void test_lists_that_are_read_from_above(void **state)
{
    (void)state;
    struct arm arms[] = {
        {.name = "cascade", .options = {"join.cascade=true"}},
        {.name = "cascade, half", .options = {"join.cascade=true", "join.negative_rate=0.5"}},
    };
    if (lines < LONG) skip();
    open_shop(1.0);
    run_arms(arms, sizeof arms / sizeof *arms);
    close_shop();
}

int main(void)
{
    lines = getenv("FRESHET_RATES_LINES") != NULL ? strtoull(getenv("FRESHET_RATES_LINES"), NULL, 10) : LINES;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_loss_learns_the_true_rates),
        cmocka_unit_test(test_lists_that_are_read_from_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
