/* job_warm.c - an empty state folder, but a version of the model in Redis: the learner goes on with that one.
 *
 * To begin from nothing would put version 1 over what scorers serve.  Weights, offsets, users and items come back; what is not
 * in Redis is said to be lost: optimiser moments, slates that were open, and the figures so far.  Records in Redis may be a
 * little newer than the version: events between the two are learnt once and counted twice in histories.
 */
#include "base/log.h"
#include "base/mem.h"
#include "job/job_private.h"
#include "serving/fetch_warm.h"

static enum status put_user(void *arg, struct record_user *u, struct err *e)
{
    struct job *j = arg;
    return world_put_user(learner_world(j->learner), u, e);
}

static enum status put_item(void *arg, struct record_item *i, struct err *e)
{
    struct job *j = arg;
    return world_put_item(learner_world(j->learner), i, e);
}

/* All of them, a slice at a time, with signs of life between. */
static enum status read_records(struct job *j, struct fetch_warm *w, struct err *e)
{
    const struct fetch_warm_sink sink = {put_user, put_item, j};
    enum status st;
    do {
        if (atomic_load(&job_stopping)) return STATUS_END;
        st = fetch_warm_records(w, &sink, e);
    } while (st == STATUS_OK);
    return st == STATUS_END ? STATUS_OK : st;
}

static enum status begin_at(struct job *j, const struct publish_manifest *m, struct err *e)
{
    struct source_offset *offsets = mem_calloc(m->n_offsets, sizeof *offsets);
    if (offsets == NULL) return ERR_SET(e, STATUS_OOM, "offsets of %zu partitions", m->n_offsets);
    for (size_t i = 0; i < m->n_offsets; i++)
        offsets[i] = (struct source_offset){.topic = m->offsets[i].topic,
                                            .partition = m->offsets[i].partition,
                                            .next = m->offsets[i].next,
                                            .mark = m->offsets[i].mark,
                                            .records = m->offsets[i].records,
                                            .chain = m->offsets[i].chain};
    const enum status st = learner_begin_at(j->learner, offsets, m->n_offsets, m->settled_ms, m->examples, e);
    mem_free(offsets);
    return st;
}

static enum status go_on(struct job *j, struct fetch_warm *w, const struct publish_manifest *m, struct err *e)
{
    struct fetch_warm_counts n;
    const int64_t from_us = j->clock->mono_us(j->clock);
    TRY(begin_at(j, m, e));
    TRY(read_records(j, w, e));
    TRY(world_warmed(learner_world(j->learner), m->watermark_ms, e));
    checkpoint_go_on_after(j->checkpoint, m->version);
    fetch_warm_counts(w, &n);
    log_warn("warm",
             "model=%s version=%llu sha256=%s examples=%llu partitions=%zu users=%llu items=%llu damaged=%llu ms=%lld "
             "lost=\"optimiser moments, open slates, figures so far\"",
             j->conf->model_name, (unsigned long long)m->version, m->sha256, (unsigned long long)m->examples,
             m->n_offsets, (unsigned long long)n.users, (unsigned long long)n.items, (unsigned long long)n.damaged,
             (long long)((j->clock->mono_us(j->clock) - from_us) / 1000));
    j->warm = true;
    return STATUS_OK;
}

static enum status refuse(const struct job *j, enum status st, const struct err *why, struct err *e)
{
    return ERR_SET(
        e, st,
        "state folder %s is empty, and what Redis holds of model %s can't be gone on with: %.200s; take another "
        "model.name, bring the folder back, or begin anew with --fresh",
        j->state_dir, j->conf->model_name, why->text);
}

enum status job_warm(struct job *j, struct err *e)
{
    struct fetch_warm *w = NULL;
    struct publish_manifest m = {0};
    struct err why = {0};
    if (j->options->replay || j->options->fresh || checkpoint_version(j->checkpoint) > 0) return STATUS_OK;
    enum status st = fetch_warm_open(&w, j->conf, j->clock, &why);
    if (st == STATUS_OK) st = fetch_warm_version(w, learner_model(j->learner), learner_params(j->learner), &m, &why);
    if (st == STATUS_OK) {
        st = go_on(j, w, &m, e);
    } else if (st == STATUS_NOT_FOUND) {
        st = STATUS_OK; /* no Redis, or nothing published: a beginning */
    } else if (st == STATUS_IO) {
        log_warn("warm", "model=%s begins=\"with nothing: Redis does not say what is published\" reason=\"%s\"",
                 j->conf->model_name, why.text);
        st = STATUS_OK;
    } else {
        st = refuse(j, st, &why, e);
    }
    publish_manifest_fini(&m);
    fetch_warm_close(w);
    return st;
}
