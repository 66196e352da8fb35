/* test_line_gate.c - a line that turns bad goes back to its blessed version, rests, and goes on; all of it is part of the state.
 * labels: long
 * timeout: 400 */
#include "job/checkpoint.h"
#include "job/verdict.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct learner_world world;

static struct learner *new_learner(struct checkpoint *cp)
{
    struct learner *l;
    struct err e;
    world.in.store = cp != NULL ? checkpoint_store(cp) : NULL;
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    return l;
}

static struct checkpoint *open_folder(const struct tmpdir *dir)
{
    struct checkpoint *cp;
    struct err e;
    assert_ok(checkpoint_open(&cp, world.conf, dir->path, (struct checkpoint_options){0}, &e), &e);
    return cp;
}

static void figures(const struct learner *l, struct report_gate *g)
{
    static struct report r;
    learner_report(l, &r);
    *g = r.gate;
}

/* As a fault that comes again and again would: linear weights that mean nothing. */
static void spoil_line(struct line *l)
{
    const size_t *first = model_table(l->model)->group_first;
    for (size_t i = first[PARAM_ADAGRAD]; i < first[PARAM_STAT]; i++)
        l->params->w[i] = (i * 2654435761u & 65536) ? 2.0f : -2.0f;
    param_touch(l->params);
}

static void spoil(struct learner *l)
{
    spoil_line(learner_line(l));
}

static void hash_of(struct learner *l, char hex[HASH_SHA256_HEX])
{
    struct err e;
    assert_ok(param_sha256(learner_params(l), &e), &e);
    memcpy(hex, learner_params(l)->sha256, HASH_SHA256_HEX);
}

/* Record by record until the gate has blessed, or gone back once; how many records that took.  While it goes back, the line is
 * spoilt before every 8th record of the log. */
static uint64_t feed_until(struct learner *l, bool rollback)
{
    struct report_gate g;
    for (uint64_t n = 1;; n++) {
        if (rollback && learner_file_next(l) % 8 == 0) spoil(l);
        assert_int_equal(learner_world_feed(&world, l, 1), 1); /* else the log ended before */
        figures(l, &g);
        if ((rollback ? g.rollbacks : g.blessings) == 1) return n;
    }
}

/* What an earlier line had learnt was discarded with that; what nothing was learnt since is nothing. */
static void goes_back_again(struct learner *l, uint64_t from)
{
    struct err e;
    const struct verdict_log *log = learner_verdicts(l);
    assert_ok(learner_rollback(l, "test", "again", 1, &e), &e);
    assert_int_equal(log->items[log->n - 1].n_ranges, 1);
    assert_int_equal(log->items[log->n - 1].ranges[0].from, from);
    assert_int_equal(log->items[log->n - 1].ranges[0].to, learner_file_next(l));
    assert_ok(learner_rollback(l, "test", "and again", 1, &e), &e);
    assert_int_equal(log->items[log->n - 1].n_ranges, 0);
}

static void test_a_line_that_turns_bad_goes_back_rests_and_goes_on(void **state)
{
    (void)state;
    struct report_gate g;
    char blessed[HASH_SHA256_HEX], now[HASH_SHA256_HEX];
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)feed_until(l, false);
    hash_of(l, blessed);
    assert_string_equal(learner_due(l), "marked");
    assert_null(learner_due(l));
    const uint64_t from = learner_file_next(l);
    (void)learner_world_feed(&world, l, 40);
    (void)feed_until(l, true);
    hash_of(l, now);
    assert_string_equal(now, blessed);
    assert_string_equal(learner_due(l), "rollback");
    const struct verdict_log *log = learner_verdicts(l);
    const struct verdict *last = &log->items[log->n - 1];
    assert_int_equal(last->kind, VERDICT_ROLLBACK);
    assert_string_equal(last->who, "gate");
    assert_int_equal(last->n_ranges, 1);
    assert_int_equal(last->ranges[0].from, from);
    assert_int_equal(last->ranges[0].to, learner_file_next(l));
    const uint64_t back = learner_file_next(l);
    figures(l, &g);
    assert_true(g.rests);
    const uint64_t learnt = learner_learnt(l)->learnt_slates;
    for (; g.rests; figures(l, &g)) { /* evaluated all the while, learnt not */
        hash_of(l, now);
        assert_string_equal(now, blessed);
        assert_int_equal(learner_learnt(l)->learnt_slates, learnt);
        assert_int_equal(learner_world_feed(&world, l, 1), 1);
    }
    assert_true(g.rested > 5);
    (void)learner_world_feed(&world, l, 200);
    assert_true(learner_learnt(l)->learnt_slates > learnt);
    hash_of(l, now);
    assert_string_not_equal(now, blessed);
    figures(l, &g);
    assert_int_equal(g.rollbacks, 1);
    goes_back_again(l, back);
    learner_free(l);
}

static void set_all(const char *const options[], size_t n)
{
    struct err e;
    for (size_t i = 0; i < n; i++) assert_ok(conf_set_option(world.conf, options[i], &e), &e);
}

/* Recalibration takes the weight out of what says nothing any more, so that the loss gives less away; the order of the lists
 * does. */
static void test_recalibration_hides_no_fault(void **state)
{
    static const char *const with[] = {"train.recalibration=true", "gate.share=1", "gate.margin=0.02",
                                       "gate.margin_auc=0.02"},
                             *const back[] = {"train.recalibration=false", "gate.share=0.7", "gate.margin=0.15",
                                              "gate.margin_auc=0.15"};
    set_all(with, 4);
    test_a_line_that_turns_bad_goes_back_rests_and_goes_on(state);
    set_all(back, 4);
}

/* The linear weights times this. */
static void scale(struct learner *l, float factor)
{
    struct param_set *p = learner_params(l);
    const size_t *first = model_table(learner_model(l))->group_first;
    for (size_t i = first[PARAM_ADAGRAD]; i < first[PARAM_STAT]; i++) p->w[i] *= factor;
    param_touch(p);
}

static void unfit(struct learner *l, const char *because)
{
    char why[LINE_WHY];
    struct err e;
    assert_ok(learner_check(l, why, &e), &e);
    if (strstr(why, because) == NULL || (because[0] == '\0' && why[0] != '\0'))
        fail_msg("'%s' says nothing of '%s'", why, because);
}

/* The blessed version as that of a small model is that has just begun: its parameters lie a hundred times its norm from the line's, its
 * scores are those of nearly nothing learnt, which are not far off. */
static void blessed_almost_nothing(struct learner *l)
{
    struct param_set *p = gate_snapshot_params(learner_line(l)->gate->blessed);
    for (size_t i = 0; i < p->n; i++) p->w[i] *= 0.01f;
    param_touch(p);
}

/* Against the newest lists that were judged, which are looked at before a version is published. */
static void test_a_version_that_is_unfit_is_told(void **state)
{
    (void)state;
    struct err e;
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)feed_until(l, false);
    (void)learner_world_feed(&world, l, 1000);
    unfit(l, "");
    assert_ok(conf_set(world.conf, "gate.max_drift", "0.0001", &e), &e);
    unfit(l, "gate.max_drift=0.0001");
    assert_ok(conf_set(world.conf, "gate.max_drift", "5", &e), &e);
    blessed_almost_nothing(l);
    unfit(l, "");
    scale(l, 10.0f);
    unfit(l, "gate.max_drift=5");
    assert_ok(conf_set(world.conf, "gate.max_drift", "0", &e), &e);
    unfit(l, "");
    scale(l, 1e6f / 10.0f);
    unfit(l, "a probe list scored");
    memset(learner_params(l)->w, 0, learner_params(l)->n * sizeof(float));
    param_touch(learner_params(l));
    unfit(l, "one score for all");
    learner_params(l)->w[7] = NAN;
    unfit(l, "parameter 7 is not finite");
    assert_ok(learner_rollback(l, "gate", "a test", 0, &e), &e);
    unfit(l, "");
    assert_ok(conf_set(world.conf, "gate.max_drift", "5", &e), &e);
    learner_free(l);
}

static void test_a_good_line_is_blessed_and_never_goes_back(void **state)
{
    (void)state;
    struct report_gate g;
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    figures(l, &g);
    assert_int_equal(g.rollbacks, 0);
    assert_true(g.blessings >= 2); /* the first, and one that was proven */
    assert_true(g.judged > 100 && g.judged < learner_counts(l)->slates);
    assert_true(g.blessed_examples > 0 && g.blessed_examples < learner_learnt(l)->learnt_examples);
    learner_free(l);
}

/* Good records, bad ones until it goes back, and what comes then; with a kill before each of the stops (0 ends them). */
static void run(struct tmpdir *dir, const uint64_t *stops, uint64_t until, char hash[HASH_SHA256_HEX],
                struct report_gate *g, uint64_t *blessed_at, uint64_t *back_at)
{
    struct err e;
    struct checkpoint *cp = dir != NULL ? open_folder(dir) : NULL;
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    *blessed_at = *back_at = 0;
    for (uint64_t n = 0; n < until; n++) {
        if (*stops == n && n > 0) {
            stops++;
            assert_ok(checkpoint_write(cp, l, &e), &e);
            learner_free(l);
            checkpoint_close(cp);
            cp = open_folder(dir);
            l = new_learner(cp);
            assert_ok(checkpoint_restore(cp, l, &e), &e);
            assert_int_equal(learner_file_next(l), n);
        }
        figures(l, g);
        if (g->blessings == 1 && g->rollbacks == 0 && n % 8 == 0) spoil(l);
        assert_int_equal(learner_world_feed(&world, l, 1), 1);
        figures(l, g);
        if (g->blessings == 1 && *blessed_at == 0) *blessed_at = n;
        if (g->rollbacks == 1 && *back_at == 0) *back_at = n;
    }
    hash_of(l, hash);
    learner_free(l);
    checkpoint_close(cp);
}

static void check_kills_around_a_rollback(char whole[HASH_SHA256_HEX])
{
    struct report_gate g, want;
    char now[HASH_SHA256_HEX];
    uint64_t blessed, back, again;
    struct tmpdir dir = tmpdir_make("line_gate");
    run(NULL, (const uint64_t[]){0}, 2500, whole, &want, &blessed, &back);
    assert_true(blessed > 100 && back > blessed && back < 2300 && want.rollbacks == 1);
    const uint64_t stops[] = {blessed, blessed + 1, (blessed + back) / 2, back, back + 1, back + 70, 0};
    run(&dir, stops, 2500, now, &g, &again, &back);
    assert_string_equal(now, whole);
    assert_int_equal(again, blessed);
    assert_int_equal(g.rollbacks, 1);
    assert_int_equal(g.judged, want.judged);
    assert_int_equal(g.rested, want.rested);
    assert_memory_equal(&g.worse, &want.worse, sizeof g.worse);
    tmpdir_remove(&dir);
}

static void test_a_kill_around_a_rollback_changes_no_bit(void **state)
{
    (void)state;
    char hash[HASH_SHA256_HEX];
    check_kills_around_a_rollback(hash);
}

static void set(const char *const *options)
{
    struct err e;
    for (; *options != NULL; options++) assert_ok(conf_set_option(world.conf, *options, &e), &e);
}

/* A small reservoir, so that places change hands; each of the two guards learns otherwise than none. */
static void test_nor_with_what_is_learnt_again_and_what_the_blessed_one_says(void **state)
{
    (void)state;
    struct report_gate g;
    uint64_t blessed, back;
    char both[HASH_SHA256_HEX], one[HASH_SHA256_HEX], none[HASH_SHA256_HEX];
    set((const char *const[]){"train.replay_share=0.4", "train.reservoir_slates=40", "train.distill=0.3", NULL});
    check_kills_around_a_rollback(both);
    run(NULL, (const uint64_t[]){0}, 700, both, &g, &blessed, &back);
    assert_true(blessed > 0 && back == 0);
    set((const char *const[]){"train.distill=0", NULL});
    run(NULL, (const uint64_t[]){0}, 700, one, &g, &blessed, &back);
    set((const char *const[]){"train.replay_share=0", NULL});
    run(NULL, (const uint64_t[]){0}, 700, none, &g, &blessed, &back);
    assert_string_not_equal(both, one);
    assert_string_not_equal(one, none);
}

/* Just blessed, the line says itself what its blessed version says; negatives that are thinned out shift what the label is. */
static void test_what_the_blessed_one_says_is_of_the_label_that_is_learnt(void **state)
{
    (void)state;
    struct err e;
    set((const char *const[]){"train.distill=0.3", NULL});
    struct learner *l = new_learner(NULL);
    struct line *line = learner_line(l);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, 40);
    struct slate *s = line->pending[1];
    assert_int_equal(s->source, SLATE_IMPRESSION);
    assert_ok(line_gate_teach(line, s, &e), &e);
    for (uint32_t i = 0; i < s->n_items; i++) assert_true(s->items[i].taught == 0.0f); /* nothing is blessed yet */
    (void)feed_until(l, false);
    s = line->pending[1];
    for (int thinned = 0; thinned < 2; thinned++) {
        for (uint32_t i = 0; i < s->n_items; i++) s->items[i].log_kq = thinned ? -0.5f : 0.0f;
        assert_ok(line_score(line, s, false, &e), &e);
        assert_ok(line_gate_teach(line, s, &e), &e);
        for (uint32_t i = 0; i < s->n_items; i++) {
            const double z = (double)line->predictions.logits[i] + (thinned ? 0.5 : 0.0);
            assert_near((double)s->items[i].taught, 1.0 / (1.0 + exp(-z)), 1e-6);
        }
    }
    learner_free(l);
    set((const char *const[]){"train.distill=0", NULL});
}

/* After a rollback nothing is held of what the bad line learnt, and counts are of new lists alone. */
static void test_a_rollback_takes_what_the_line_held_since(void **state)
{
    (void)state;
    static struct report r;
    set((const char *const[]){"train.replay_share=0.3", "train.reservoir_slates=1000", NULL});
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)feed_until(l, false);
    learner_report(l, &r);
    const uint64_t held = r.reservoir.held;
    assert_int_equal(held, learner_learnt(l)->learnt_slates);
    (void)learner_world_feed(&world, l, 40);
    learner_report(l, &r);
    assert_true(r.reservoir.held > held && r.reservoir.replayed > 10);
    assert_int_equal(r.reservoir.offered, learner_learnt(l)->learnt_slates);
    (void)feed_until(l, true);
    learner_report(l, &r);
    assert_int_equal(r.reservoir.held, held);
    assert_true(r.reservoir.offered > held);
    learner_free(l);
    set((const char *const[]){"train.replay_share=0", NULL});
}

/* The guard takes back since a time: the reservoir no longer holds what the fault had taught. */
static void test_nor_is_held_what_the_guard_takes_back(void **state)
{
    (void)state;
    static struct report r;
    struct err e;
    bool candidate;
    set((const char *const[]){"train.replay_share=0.3", "train.reservoir_slates=1000", NULL});
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)feed_until(l, false);
    learner_report(l, &r);
    const uint64_t held = r.reservoir.held;
    (void)learner_world_feed(&world, l, 40);
    learner_report(l, &r);
    assert_true(r.reservoir.held > held);
    struct line *line = learner_line(l);
    assert_ok(line_gate_undo(line, line->gate->blessed_mark.time_ms, 1, &candidate, &e), &e);
    assert_false(candidate);
    learner_report(l, &r);
    assert_int_equal(r.reservoir.held, held);
    learner_free(l);
    set((const char *const[]){"train.replay_share=0", NULL});
}

/* An order goes back to a kept version: likewise. */
static void test_nor_is_held_what_an_order_takes_back(void **state)
{
    (void)state;
    static struct report r;
    struct err e;
    const struct tmpdir dir = tmpdir_make("line_gate");
    set((const char *const[]){"train.replay_share=0.3", "train.reservoir_slates=1000", NULL});
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    (void)feed_until(l, false);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    learner_report(l, &r);
    const uint64_t held = r.reservoir.held;
    (void)learner_world_feed(&world, l, 40);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    learner_report(l, &r);
    assert_true(r.reservoir.held > held);
    assert_ok(checkpoint_take(cp, l, 1, &e), &e);
    learner_report(l, &r);
    assert_int_equal(r.reservoir.held, held);
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
    set((const char *const[]){"train.replay_share=0", NULL});
}

/* Records until the variant went back once, spoilt like the default line above; cut: through a checkpoint on the way. */
static uint64_t feed_variant(struct tmpdir *dir, uint64_t cut, char hash[HASH_SHA256_HEX])
{
    struct err e;
    uint64_t n = 0;
    struct checkpoint *cp = dir != NULL ? open_folder(dir) : NULL;
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    for (;;) {
        struct line *b = variants_line(learner_variants(l), 1);
        if (b->gate->counts.rollbacks > 0) break;
        if (b->gate->counts.blessings == 1 && n % 8 == 0) spoil_line(b);
        assert_int_equal(learner_world_feed(&world, l, 1), 1); /* else the log ended before */
        if (++n != cut) continue;
        assert_ok(checkpoint_write(cp, l, &e), &e);
        learner_free(l);
        checkpoint_close(cp);
        cp = open_folder(dir);
        l = new_learner(cp);
        assert_ok(checkpoint_restore(cp, l, &e), &e);
    }
    struct line *b = variants_line(learner_variants(l), 1);
    assert_true(line_gate_rests(b->gate) && !learner_rests(l));
    assert_string_equal(learner_due(l), "rollback");
    assert_int_equal(variants_line(learner_variants(l), 0)->gate->counts.rollbacks, 0);
    const struct verdict_log *log = learner_verdicts(l);
    assert_int_equal(log->items[log->n - 1].kind, VERDICT_VARIANT);
    assert_non_null(strstr(log->items[log->n - 1].reason, "b went back to its blessed version: worse"));
    assert_ok(param_sha256(b->params, &e), &e);
    memcpy(hash, b->params->sha256, HASH_SHA256_HEX);
    learner_free(l);
    checkpoint_close(cp);
    return n;
}

static void test_a_variant_goes_back_by_itself(void **state)
{
    (void)state;
    char whole[HASH_SHA256_HEX], cut[HASH_SHA256_HEX];
    struct tmpdir dir = tmpdir_make("line_gate");
    struct err e;
    assert_ok(conf_set_option(world.conf, "variant.b.train.linear_rate=0.05", &e), &e);
    const uint64_t n = feed_variant(NULL, 0, whole);
    assert_int_equal(feed_variant(&dir, n - 100, cut), n);
    assert_string_equal(cut, whole);
    conf_variants_free(world.conf);
    tmpdir_remove(&dir);
}

static void test_versions_have_the_blessed_ones_number(void **state)
{
    (void)state;
    struct err e;
    struct report_gate g;
    char blessed[HASH_SHA256_HEX];
    const struct tmpdir dir = tmpdir_make("line_gate");
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    (void)feed_until(l, false);
    assert_ok(checkpoint_write(cp, l, &e), &e); /* 2: as the job does at once */
    (void)snprintf(blessed, sizeof blessed, "%s", checkpoint_sha256(cp));
    figures(l, &g);
    assert_int_equal(g.blessed, 2);
    (void)learner_world_feed(&world, l, 40);
    assert_ok(checkpoint_write(cp, l, &e), &e); /* 3: of the bad line */
    (void)feed_until(l, true);
    assert_ok(checkpoint_write(cp, l, &e), &e); /* 4: what 2 was */
    assert_string_equal(checkpoint_sha256(cp), blessed);
    const struct verdict_log *log = learner_verdicts(l);
    assert_false(verdict_discards(log, 2));
    assert_true(verdict_discards(log, 3));
    assert_false(verdict_discards(log, 4));
    assert_int_equal(verdict_of(log, 2)->kind, VERDICT_ROLLBACK);
    assert_null(verdict_of(log, 1));
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void test_held_out_users_are_not_learnt_from(void **state)
{
    (void)state;
    struct err e;
    struct report_gate g;
    assert_ok(conf_set(world.conf, "gate.holdout_frac", "0.3", &e), &e);
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    assert_ok(learner_flush(l, &e), &e);
    figures(l, &g);
    assert_true(g.held_out_slates > 20);
    assert_int_equal(g.held_out_slates + learner_learnt(l)->learnt_slates, learner_counts(l)->slates);
    assert_int_equal(g.held_out_loss.slates, g.held_out_slates);
    assert_int_equal(g.held_out_loss.slates + g.taught_loss.slates, learner_counts(l)->slates);
    assert_true(g.held_out_auc.mean > 0.4 && g.held_out_auc.mean < 1.0 && g.held_out_auc.error > 0.0);
    assert_ok(conf_set(world.conf, "gate.holdout_frac", "0", &e), &e);
    learner_free(l);
}

static void test_without_a_gate_nothing_is_judged(void **state)
{
    (void)state;
    struct err e;
    struct report_gate g;
    assert_ok(conf_set(world.conf, "gate.share", "0", &e), &e);
    struct learner *l = new_learner(NULL);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    figures(l, &g);
    assert_true(!g.on && g.judged == 0 && g.blessings == 0 && learner_due(l) == NULL);
    assert_ok(conf_set(world.conf, "gate.share", "0.7", &e), &e);
    learner_free(l);
}

static int open_world(void **state)
{
    (void)state;
    static const char
        *const options[] = {"gate.share=0.7",           "gate.bless_slates=60", "gate.bless_ms=10000",
                            "gate.cooldown_ms=60000",   "gate.margin=0.15",     "gate.margin_auc=0.15",
                            "train.recalibration=false"}; /* it would put the spoilt weights out of force */
    learner_world_open_for(&world, 6000, 400);
    set_all(options, sizeof options / sizeof *options);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    learner_world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_that_turns_bad_goes_back_rests_and_goes_on),
        cmocka_unit_test(test_recalibration_hides_no_fault),
        cmocka_unit_test(test_a_version_that_is_unfit_is_told),
        cmocka_unit_test(test_a_good_line_is_blessed_and_never_goes_back),
        cmocka_unit_test(test_a_kill_around_a_rollback_changes_no_bit),
        cmocka_unit_test(test_nor_with_what_is_learnt_again_and_what_the_blessed_one_says),
        cmocka_unit_test(test_what_the_blessed_one_says_is_of_the_label_that_is_learnt),
        cmocka_unit_test(test_a_rollback_takes_what_the_line_held_since),
        cmocka_unit_test(test_nor_is_held_what_the_guard_takes_back),
        cmocka_unit_test(test_nor_is_held_what_an_order_takes_back),
        cmocka_unit_test(test_a_variant_goes_back_by_itself),
        cmocka_unit_test(test_versions_have_the_blessed_ones_number),
        cmocka_unit_test(test_held_out_users_are_not_learnt_from),
        cmocka_unit_test(test_without_a_gate_nothing_is_judged),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
