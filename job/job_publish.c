/* job_publish.c - what leaves the job: checkpoints, versions, features, metrics. */
#include "base/log.h"
#include "job/job_private.h"
#include "job/line_publish.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    COST_SHARE = 20,   /* a checkpoint costs at most 1/20 of the time ... */
    PUBLISH_SHARE = 5, /* ... one that was asked for by publish.every_ms 1/5 */
    METRICS_US = 1000000,
    LAST_MS = 10000,    /* the end of a replay waits so long for Redis ... */
    STOP_MS = 2000,     /* ... a job that was told to stop so long, ... */
    STOP_AWAY_MS = 300, /* ... or so long when Redis is away: what is durable is published at the next start */
    SETTLE_MS = 6000,   /* what Redis has in force is looked at every two seconds */
    REFILL_US = 50000,  /* from slice to slice */
    OFFSETS_MAX = 4096
};

static struct line *line_of(const struct job *j, size_t line)
{
    return variants_line(learner_variants(j->learner), line);
}

static void fill_version(struct job *j, size_t line, const char *reason, struct publish_version *v,
                         struct publish_offset *offsets, size_t cap)
{
    size_t n;
    const struct source_offset *from = learner_offsets(j->learner, &n);
    *v = (struct publish_version){.parent = j->handed[line],
                                  .reason = reason,
                                  .examples = line_of(j, line)->counts.learnt_examples,
                                  .watermark_ms = learner_watermark(j->learner),
                                  .settled_ms = learner_settled_ms(j->learner),
                                  .settled_wall_ms = j->settled_wall_ms,
                                  .consumed_wall_ms = j->consumed_wall_ms,
                                  .learnt_wall_ms = j->learnt_wall_ms,
                                  .live = !j->options->replay,
                                  .features = feat_recipe(learner_feat(j->learner)),
                                  .topics = j->options->replay ? NULL : j->conf->ingest_topics,
                                  .offsets = offsets};
    for (size_t i = 0; i < n && i < cap; i++)
        offsets[v->n_offsets++] = (struct publish_offset){from[i].topic, from[i].partition, from[i].next,
                                                          from[i].mark,  from[i].records,   from[i].chain};
}

static enum status publish_params(struct job *j, size_t line, const struct param_set *p, const char *champion,
                                  const char *reason, const char *verdict, struct err *e)
{
    static struct publish_offset offsets[OFFSETS_MAX];
    struct publish_version v;
    struct publish *to = job_publisher(j, line);
    if (to == NULL) return STATUS_OK;
    fill_version(j, line, reason, &v, offsets, OFFSETS_MAX);
    v.champion = champion;
    v.verdict = verdict;
    v.rounded = strcmp(j->conf->publish_dense, "bf16") == 0;
    TRY(line_publish(line_of(j, line), to, p, &v, e));
    j->handed[line] = p->version;
    return STATUS_OK;
}

/* Other weights than the ones that were handed over last, and not by steps: any row may differ. */
static void touch_all(struct job *j, size_t line)
{
    const size_t n = optim_pages(line_of(j, line)->optim);
    for (size_t page = 0; page < n; page++) publish_touch(job_publisher(j, line), page);
}

enum status job_publish_line(struct job *j, size_t line, const char *champion, const char *reason, struct err *e)
{
    if (j->shows_kept[line]) touch_all(j, line);
    j->shows_kept[line] = false;
    return publish_params(j, line, line_of(j, line)->params, champion, reason, NULL, e);
}

/* A version that the state folder keeps, under its own number; nothing where it is in force, or not to be read. */
static enum status publish_kept(struct job *j, size_t line, uint64_t version, const char *champion, const char *reason,
                                const char *verdict, struct err *e)
{
    struct param_set *p;
    TRY(job_pin_params(j, line, version, &p, e));
    if (p == NULL) return STATUS_OK;
    touch_all(j, line);
    j->shows_kept[line] = true;
    const enum status st = publish_params(j, line, p, champion, reason, verdict, e);
    param_set_release(p);
    return st;
}

enum status job_publish_pinned(struct job *j, size_t line, const char *champion, struct err *e)
{
    return publish_kept(j, line, learner_pinned(j->learner), champion, "pin", "pinned", e);
}

/* The line as it is, unless an order or the gate says otherwise.  The variants first: the default line's version says who is in
 * charge, and whoever that is must be there. */
static enum status publish_version_now(struct job *j, const char *reason, struct err *e)
{
    const struct variants *v = learner_variants(j->learner);
    const size_t in_charge = variants_in_charge(v);
    const char *champion = variants_count(v) == 0 ? NULL : in_charge == 0 ? "" : conf_line_name(j->conf, in_charge);
    bool held;
    TRY(job_variants_publish(j, reason, e));
    if (learner_pinned(j->learner) > 0) return job_publish_pinned(j, 0, champion, e);
    TRY(job_gate_version(j, &held, e));
    if (held && job_gate_bare(j))
        return publish_kept(j, 0, learner_blessed(j->learner), champion, "bare", "blessed", e);
    if (held) return STATUS_OK;
    TRY(job_publish_line(j, 0, champion, reason, e));
    return job_served_keep(j, e);
}

static bool something_new(const struct job *j)
{
    const struct learner_counts *c = learner_counts(j->learner);
    return checkpoint_version(j->checkpoint) == 0 || c->events != j->checkpoint_events ||
           c->slates != j->checkpoint_slates || /* an idle partition lets slates settle without an event ... */
           learner_learnt(j->learner)->learnt_slates != j->checkpoint_learnt; /* ... or be learnt before that */
}

static int64_t later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What was learnt becomes durable; the group is told. */
static enum status make_durable(struct job *j, struct err *e)
{
    uint64_t length = 0;
    TRY(job_lease_check(j, e));
    TRY(reject_sink_sync(j->sink, &length, e));
    j->letters_full = false;
    checkpoint_set_dead_letters(j->checkpoint, length);
    TRY(job_gate_durable(j, e));
    line_publish_touch(learner_line(j->learner), j->publish);
    job_variants_touch(j);
    job_gate_hashes(j);
    TRY(checkpoint_write(j->checkpoint, j->learner, e));
    job_gate_notes(j);
    j->checkpoint_events = learner_counts(j->learner)->events;
    j->checkpoint_slates = learner_counts(j->learner)->slates;
    j->checkpoint_learnt = learner_learnt(j->learner)->learnt_slates;
    j->checkpoint_wall_ms = j->clock->wall_ms(j->clock);
    if (!j->options->replay) {
        size_t n;
        const struct source_offset *offsets = learner_offsets(j->learner, &n);
        source_commit(j->source, offsets, n);
    }
    return STATUS_OK;
}

enum status job_checkpoint_once(struct job *j, const char *publish_reason, struct err *e)
{
    const int64_t start = job_now_us(j);
    if (something_new(j) || publish_reason != NULL || j->letters_full) TRY(make_durable(j, e));
    const int64_t end = job_now_us(j), cost = end - start;
    j->next_checkpoint_us = end + later_of(j->conf->state_checkpoint_ms * 1000, COST_SHARE * cost);
    if (publish_reason != NULL)
        j->next_publish_us = end + later_of(j->conf->publish_every_ms * 1000, PUBLISH_SHARE * cost);
    else /* however often these come, what waits to be published is not put off by more than their cost */
        j->next_publish_us = later_of(j->next_publish_us, end + PUBLISH_SHARE * cost);
    if (publish_reason == NULL || j->publish == NULL) return STATUS_OK;
    const uint64_t unconsumed = world_counts(learner_world(j->learner))->unconsumed;
    if (unconsumed != j->unconsumed) job_refill(j);
    j->unconsumed = unconsumed;
    TRY(job_publish_features(j, e)); /* a version never comes before the records it was learnt with */
    return publish_version_now(j, publish_reason, e);
}

enum status job_checkpoint(struct job *j, const char *publish_reason, struct err *e)
{
    struct err why = {0};
    const enum status st = job_checkpoint_once(j, publish_reason, &why);
    if (st == STATUS_FULL) return job_pause(j, publish_reason, &why, e);
    if (st != STATUS_OK && e != NULL) *e = why;
    return st;
}

/* A copy beside the newest checkpoint is begun when one is due; what goes wrong with it harms nothing. */
void job_backup_tick(struct job *j, int64_t now_us)
{
    struct err e = {0};
    if (j->conf->state_backup_ms == 0 || j->temporary || now_us < j->next_backup_us) return;
    if (checkpoint_version(j->checkpoint) == 0) return;
    j->next_backup_us = now_us + j->conf->state_backup_ms * 1000;
    if (checkpoint_backup(j->checkpoint, &e) == STATUS_OK) {
        j->backup_wall_ms = j->clock->wall_ms(j->clock);
    } else { /* the one before this: it was logged */
        j->backup_failures++;
        j->backup_wall_ms = 0;
    }
}

void job_publish_start(struct job *j)
{
    struct publish_state s = {0};
    if (j->publish == NULL) return;
    publish_state(j->publish, &s);
    if (s.lease != PUBLISH_LEASE_HELD) log_warn("publish", "waits=\"%s\"", s.error.text);
    if (checkpoint_version(j->checkpoint) > 0 && strcmp(s.left_sha256, checkpoint_sha256(j->checkpoint)) != 0)
        job_refill(j);
}

enum status job_publish_views(struct job *j, int64_t now_us, struct err *e)
{
    if (j->publish == NULL) return STATUS_OK;
    TRY(job_lease_check(j, e));
    if (now_us >= j->next_features_us) {
        TRY(job_publish_features(j, e));
        j->next_features_us = now_us + (job_refilling(j) ? REFILL_US : j->conf->publish_features_ms * 1000);
    }
    if (now_us >= j->next_metrics_us) {
        job_figures(j, now_us);
        j->next_metrics_us = now_us + METRICS_US;
    }
    return STATUS_OK;
}

/* What Redis has in force is not the newest checkpoint: it came without a publish, or somebody wrote something else there. */
static bool behind(struct job *j)
{
    struct publish_state s;
    if (checkpoint_version(j->checkpoint) == 0) return false;
    publish_state(j->publish, &s);
    if (!s.looked || s.waiting > 0 || s.lease != PUBLISH_LEASE_HELD) return false;
    if (learner_pinned(j->learner) > 0) return job_pin_behind(j, 0);
    if (j->refused_version == checkpoint_version(j->checkpoint)) return job_gate_bare(j);
    if (strcmp(s.in_force_sha256, checkpoint_sha256(j->checkpoint)) == 0) return false;
    return s.version != checkpoint_version(j->checkpoint) ||
           j->clock->wall_ms(j->clock) - s.published_wall_ms > SETTLE_MS; /* else it is looked at again soon */
}

/* Nothing was learnt since the newest checkpoint, so the parameters are its. */
static enum status publish_again(struct job *j, int64_t now_us, struct err *e)
{
    const struct variants *v = learner_variants(j->learner);
    j->next_publish_us = now_us + j->conf->publish_every_ms * 1000;
    for (size_t i = 0; i <= variants_count(v); i++) {
        struct param_set *p = variants_line(v, i)->params;
        p->version = checkpoint_version(j->checkpoint);
        TRY(param_sha256(p, e)); /* unknown after a restore */
    }
    TRY(job_publish_features(j, e));
    return publish_version_now(j, "again", e);
}

enum status job_publish_tick(struct job *j, int64_t now_us, struct err *e)
{
    if (j->publish == NULL) return STATUS_OK;
    TRY(job_publish_views(j, now_us, e));
    if (now_us < j->next_publish_us) return STATUS_OK;
    if (something_new(j)) return job_checkpoint(j, "interval", e);
    if (!behind(j) && !(checkpoint_version(j->checkpoint) > 0 && job_variants_behind(j))) return STATUS_OK;
    if (j->given_out > checkpoint_version(j->checkpoint)) /* another line had this number: one of its own */
        return job_checkpoint(j, "again", e);
    return publish_again(j, now_us, e);
}

/* How much longer the end may wait for Redis: a signal's patience is short, and shorter when nobody answers. */
static int64_t patience_ms(const struct job *j)
{
    struct publish_state s;
    if (!atomic_load(&job_stopping)) return LAST_MS;
    publish_state(j->publish, &s);
    const int64_t spent_ms = (job_now_us(j) - j->stop_us) / 1000;
    const int64_t left_ms = (s.connected ? STOP_MS : STOP_AWAY_MS) - spent_ms;
    return left_ms > 0 ? left_ms : 0;
}

enum status job_publish_last(struct job *j, struct err *e)
{
    if (j->publish == NULL) return STATUS_OK;
    j->phase = "stopping";
    job_figures(j, job_now_us(j));
    do TRY(job_publish_features(j, e));
    while ((job_refilling(j) || world_has_changed(learner_world(j->learner))) &&
           publish_flush(j->publish, patience_ms(j), e) == STATUS_OK);
    enum status st = publish_flush(j->publish, patience_ms(j), e);
    if (st == STATUS_OK) st = job_variants_flush(j, patience_ms(j), e);
    if (st == STATUS_OK && !job_refilling(j) && !world_has_changed(learner_world(j->learner))) {
        j->phase = "stopped"; /* which says that everything is there */
        job_figures(j, job_now_us(j));
        st = publish_flush(j->publish, patience_ms(j), e);
    }
    if (st == STATUS_OK) return STATUS_OK;
    log_warn("publish", "unfinished=\"%s\"", e != NULL ? e->text : status_text(st));
    if (atomic_load(&job_stopping)) job_publish_ending(j); /* what is left to do here may take longer than a try */
    return st == STATUS_CONFLICT ? st
                                 : STATUS_OK; /* Redis away is no failure of learning: what was learnt is durable */
}
