/* job_figures.c - what dashboards are told while the job runs: fr:m:metrics and fr:m:info, once a second. */
#include "base/clock.h"
#include "base/log.h"
#include "job/job_parts.h"
#include "job/job_private.h"
#include "serving/metric.h"
#include "trainer/eval_logged.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECENT_US 10000000 /* the recent figures are those of the newest full span of this length */

/* Rates since the last call. */
static void update_rates(struct job *j, const struct learner_counts *c, int64_t now_us)
{
    const double s = (double)(now_us - j->metrics_us) * 1e-6;
    if (j->metrics_us > 0 && s > 0.0) {
        j->events_per_s = (double)(c->events - j->metrics_events) / s;
        j->examples_per_s = (double)(c->examples - j->metrics_examples) / s;
    }
    j->metrics_us = now_us;
    j->metrics_events = c->events;
    j->metrics_examples = c->examples;
}

/* Every figure that there is, and the three of each part. */
#define ONE(name, kind, unit, text) +1
enum { FIGURES_MAX = 3 * REPORT_PARTS_MAX METRIC_JOB_LIST(ONE) };
#undef ONE
_Static_assert((int)FIGURES_MAX <= (int)PUBLISH_METRICS_MAX, "the publisher takes all of them");
#define PARTS_US 3600000000 /* what a part is worth is said so often */

/* Figures of the newest full span; of the one that runs while there is none yet. */
static const struct report_figures *update_recent(struct job *j, int64_t now_us)
{
    struct eval *ev = learner_eval(j->learner);
    if (j->recent_until_us == 0) j->recent_until_us = now_us + RECENT_US;
    if (now_us >= j->recent_until_us || !j->recent_whole) eval_recent(ev, &j->recent);
    if (now_us >= j->recent_until_us) {
        eval_recent_clear(ev);
        j->recent_whole = true;
        j->recent_until_us = now_us + RECENT_US;
    }
    return &j->recent;
}

static size_t add_figures(struct publish_metric *m, size_t n, const struct publish_metric *more, size_t n_more)
{
    assert(n + n_more <= FIGURES_MAX);
    memcpy(m + n, more, n_more * sizeof *more);
    return n + n_more;
}

/* What each part brings and takes. */
static size_t fill_parts(struct job *j, const struct report *r, struct publish_metric *m, size_t n)
{
    for (uint32_t i = 0; i < r->n_parts; i++) {
        const struct report_part *p = &r->parts[i];
        char(*names)[64] = j->part_figures[i];
        (void)snprintf(names[0], sizeof names[0], "part_%.31s_gain", p->name);
        (void)snprintf(names[1], sizeof names[1], "part_%.31s_cost_us", p->name);
        (void)snprintf(names[2], sizeof names[2], "part_%.31s_cost_share", p->name);
        const struct publish_metric all[] = {{names[0], r->progressive.gauc - p->gauc_without},
                                             {names[1], p->score_us + p->learn_us},
                                             {names[2], p->cost_share}};
        n = add_figures(m, n, all, sizeof all / sizeof all[0]);
    }
    return n;
}

static size_t fill_guard(const struct report_guard *g, struct publish_metric *m, size_t n)
{
    const struct publish_metric all[] = {
        {"guard_paused", g->paused},
        {"guard_alarms_total", (double)g->alarms},
        {"guard_out", (double)g->out},
        {"guard_paused_ms", (double)g->paused_ms},
        {"guard_paused_examples_total", (double)g->paused_examples},
        {"guard_capped_examples_total", (double)(g->capped[0] + g->capped[1] + g->capped[2])},
        {"guard_quarantined", (double)g->quarantined},
        {"guard_quarantined_events_total", (double)g->quarantined_events},
        {"guard_loss_spikes_total", (double)g->spikes},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

/* What the log of answers says was served. */
static size_t fill_served(const struct eval_logged *v, struct publish_metric *m, size_t n)
{
    struct report_served all;
    struct report_skew same;
    eval_served_report(&v->all, &all);
    eval_skew_report(&v->same, &same);
    const struct publish_metric more[] = {
        {"served_answers_total", (double)v->answers},
        {"served_joined_total", (double)v->joined},
        {"served_unmatched_total", (double)v->unmatched},
        {"served_gauc", all.figures.gauc},
        {"served_logloss", all.figures.logloss},
        {"served_calibration", all.figures.calibration},
        {"served_skew_p99", all.skew.p99},
        {"served_version_skew_p99", same.p99},
        {"served_features_equal_frac", v->items > 0 ? (double)v->equal / (double)v->items : 0.0},
    };
    return add_figures(m, n, more, sizeof more / sizeof more[0]);
}

/* How the job itself fares: pauses, lease, source, backups. */
static size_t fill_health(struct job *j, struct publish_metric *m, size_t n)
{
    struct publish_state s = {0};
    struct source_health h = {.up = true};
    const int64_t wall = j->clock->wall_ms(j->clock);
    if (j->publish != NULL) publish_state(j->publish, &s);
    if (j->source != NULL) source_health(j->source, &h);
    const struct publish_metric all[] = {
        {"paused", j->paused_us > 0},
        {"published_version", (double)j->handed[0]},
        {"lease_held", s.lease == PUBLISH_LEASE_HELD},
        {"lease_epoch", (double)s.epoch},
        {"kafka_up", h.up},
        {"kafka_down_ms", (double)h.down_ms},
        {"partitions", (double)h.partitions},
        {"rebalances_total", (double)h.rebalances},
        {"partitions_lost_total", (double)h.lost},
        {"offset_duplicates_total", (double)h.duplicates},
        {"offset_gaps_total", (double)h.gaps},
        {"offset_gap_alarms_total", (double)h.gap_alarms},
        {"unaligned_total", (double)h.unaligned},
        {"backup_age_ms", j->backup_wall_ms > 0 ? (double)(wall - j->backup_wall_ms) : 0.0},
        {"backup_failures_total", (double)j->backup_failures},
        {"recovered", checkpoint_recovered(j->checkpoint)->recovered},
        {"dirty_bytes", (double)learner_dirty_bytes(j->learner)},
        {"memory_bound_bytes", (double)j->bound_bytes},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

static size_t fill_stream(struct job *j, struct publish_metric *m, size_t n)
{
    const struct learner_counts *c = learner_counts(j->learner);
    const struct world_counts *w = world_counts(learner_world(j->learner));
    const int64_t wall = j->clock->wall_ms(j->clock), mark = learner_watermark(j->learner);
    const struct publish_metric all[] = {
        {"events_total", (double)c->events},
        {"examples_total", (double)c->examples},
        {"rejected_total", (double)c->rejected},
        {"skipped_total", (double)c->skipped},
        {"duplicates_total", (double)c->duplicates},
        {"slates_total", (double)c->slates},
        {"steps_total", (double)learner_learnt(j->learner)->steps},
        {"steps_refused_total", (double)optim_refused(learner_optim(j->learner))},
        {"events_per_s", j->events_per_s},
        {"examples_per_s", j->examples_per_s},
        {"lag_events", j->lag_events < 0 ? 0.0 : (double)j->lag_events},
        {"lag_ms", mark == INT64_MIN || j->options->replay ? 0.0 : (double)(wall - mark)},
        {"watermark_ms", mark == INT64_MIN ? 0.0 : (double)mark},
        {"users", (double)w->users},
        {"items", (double)w->items},
        {"rss_bytes", job_rss_bytes()},
        {"version", (double)checkpoint_version(j->checkpoint)},
        {"version_age_ms", j->checkpoint_wall_ms > 0 ? (double)(wall - j->checkpoint_wall_ms) : 0.0},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

static size_t fill_quality(const struct report *r, const struct report_figures *recent, struct publish_metric *m,
                           size_t n)
{
    const struct publish_metric all[] = {
        {"logloss", r->progressive.logloss},
        {"auc", r->progressive.auc},
        {"gauc", r->progressive.gauc},
        {"ne", r->progressive.ne},
        {"calibration", r->progressive.calibration},
        {"evaluated_examples", (double)r->progressive.examples},
        {"recent_logloss", recent->logloss},
        {"recent_auc", recent->auc},
        {"recent_gauc", recent->gauc},
        {"recent_calibration", recent->calibration},
        {"recent_examples", (double)recent->examples},
        {"popularity_gauc", r->baselines[REPORT_POPULARITY].gauc},
        {"unknown_token_frac", r->tokens > 0 ? (double)r->unknown_tokens / (double)r->tokens : 0.0},
        {"sample_ratio_alarm", r->arms.ratio_alarm},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

static size_t fill_gate(const struct report_gate *g, struct publish_metric *m, size_t n)
{
    const struct publish_metric all[] = {
        {"gate_blessed_version", (double)g->blessed},
        {"gate_judged_total", (double)g->judged},
        {"gate_worse", g->worse},
        {"gate_loss_harm", g->loss_harm},
        {"gate_auc_harm", g->auc_harm},
        {"gate_blessings_total", (double)g->blessings},
        {"gate_rollbacks_total", (double)g->rollbacks},
        {"gate_refused_total", (double)g->refused},
        {"gate_rests", g->rests},
        {"gate_rested_total", (double)g->rested},
        {"gate_pinned_version", (double)g->pinned},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

/* What becomes of lists: those that wait for labels, and those that are held to be learnt again. */
static size_t fill_lists(struct job *j, const struct report *r, struct publish_metric *m, size_t n)
{
    const struct publish_metric all[] = {
        {"open_slates", (double)learner_open_slates(j->learner)},
        {"late_total", (double)r->late},
        {"unmatched_total", (double)r->unmatched},
        {"repeated_total", (double)r->join.duplicate},
        {"expired_total", (double)r->join.expired},
        {"early_settled_total", (double)r->join.early_settled},
        {"reservoir_slates", (double)r->reservoir.held},
        {"reservoir_bytes", (double)r->reservoir.bytes},
        {"replayed_total", (double)r->reservoir.replayed},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

/* What the frozen layers were spared. */
static size_t fill_states(struct job *j, struct publish_metric *m, size_t n)
{
    struct state_stats s = {0};
    if (learner_states(j->learner) != NULL) state_stats(learner_states(j->learner), &s);
    const struct kern *k = model_run_kern(learner_line(j->learner)->run);
    const struct kern_kept_stats kept = k->ops->kept != NULL ? k->ops->kept->stats(k) : (struct kern_kept_stats){0, 0, 0};
    const struct publish_metric all[] = {
        {"state_hits_total", (double)s.hits},
        {"state_misses_total", (double)s.misses},
        {"state_hit_frac", state_hit_rate(&s)},
        {"state_file_hits_total", (double)s.file_hits},
        {"state_file_damaged_total", (double)s.file_damaged},
        {"states_computed_total", (double)s.encoded},
        {"states_evicted_total", (double)s.evicted},
        {"state_entries", (double)s.entries},
        {"state_bytes", (double)s.bytes},
        {"device_rows_hit_total", (double)kept.hits},
        {"device_rows_missed_total", (double)kept.misses},
        {"device_rows_left_total", (double)kept.left},
    };
    return add_figures(m, n, all, sizeof all / sizeof all[0]);
}

static size_t fill_figures(struct job *j, int64_t now_us, struct publish_metric m[FIGURES_MAX])
{
    struct report r;
    const struct report_figures recent = *update_recent(j, now_us);
    learner_report(j->learner, &r);
    job_variants_figures(j, &r);
    if (now_us >= j->next_parts_us) {
        if (j->next_parts_us > 0) job_warn_parts(j->conf, &r);
        j->next_parts_us = now_us + PARTS_US;
    }
    size_t n = fill_stream(j, m, 0);
    n = fill_quality(&r, &recent, m, n);
    n = fill_gate(&r.gate, m, n);
    n = fill_lists(j, &r, m, n);
    n = fill_states(j, m, n);
    n = fill_guard(&r.guard, m, n);
    n = fill_served(learner_logged(j->learner), m, n);
    n = fill_health(j, m, n);
    return fill_parts(j, &r, m, n);
}

/* Events of some sources go to the dead letters; the rest is learnt. */
static bool is_quarantine(const struct job *j, char out[400])
{
    const char *name;
    char until[CLOCK_TEXT];
    int64_t until_ms;
    const uint32_t n = learner_quarantined(j->learner, &name, &until_ms);
    if (n == 0) return false;
    clock_format(until_ms, until);
    (void)snprintf(out, 400, "%u source%s in quarantine, %s until %s of event time: what comes of %s goes to the dead letters", n,
                   n > 1 ? "s" : "", name, until, n > 1 ? "them" : "it");
    return true;
}

/* One sentence on what keeps the job from its work; "" none. */
static void trouble(struct job *j, char out[400])
{
    struct source_health h = {.up = true};
    if (j->source != NULL) source_health(j->source, &h);
    out[0] = '\0';
    if (j->paused_us > 0)
        (void)snprintf(out, 400, "%s", j->pause_why.text);
    else if (!h.up || h.gap_alarms > 0 || (h.partitions == 0 && !j->options->replay))
        (void)snprintf(out, 400, "%s", h.text);
    else if (learner_rests(j->learner))
        (void)snprintf(out, 400, "the line was rolled back to version %llu and rests: nothing is learnt for a while",
                       (unsigned long long)learner_blessed(j->learner));
    else if (learner_guarded(j->learner)[0] != '\0')
        (void)snprintf(out, 400, "%s", learner_guarded(j->learner));
    else if (is_quarantine(j, out))
        return;
    else if (checkpoint_recovered(j->checkpoint)->recovered)
        (void)snprintf(out, 400, "the state folder was damaged: went on from the backup of version %llu",
                       (unsigned long long)checkpoint_recovered(j->checkpoint)->version);
}

void job_figures(struct job *j, int64_t now_us)
{
    struct publish_metric m[FIGURES_MAX];
    struct publish_state s = {0};
    char host[128] = "", pid[24], text[400];
    struct err e;
    update_rates(j, learner_counts(j->learner), now_us);
    const size_t n = fill_figures(j, now_us, m);
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    trouble(j, text);
    publish_state(j->publish, &s);
    const bool learns = strcmp(j->phase, "learning") == 0, rests = learns && learner_rests(j->learner);
    const bool guarded = learns && learner_guarded(j->learner)[0] != '\0';
    const struct publish_info info[] = {{"state", guarded ? "paused: alarm" : rests ? "paused: rolled back" : j->phase},
                                        {"trouble", text},
                                        {"variants", j->variants_text},
                                        {"lease", publish_lease_name(s.lease)},
                                        {"host", host},
                                        {"pid", pid}}; /* version, sha256: with each publish */
    if (publish_metrics(j->publish, m, n, info, sizeof info / sizeof info[0], &e) != STATUS_OK)
        log_limited(LOG_WARN, "metrics", "error=\"%s\"", e.text);
}
