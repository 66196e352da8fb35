/* job_warm.c - an empty state folder, but a version of the model in Redis: the learner goes on with that one.
 *
 * To begin from nothing would put version 1 over what scorers serve; so an empty folder waits for a Redis that does not
 * answer, and what begins or goes on beside a longer line (--fresh, a replay, an older copy put back) takes numbers above
 * that.  Weights, offsets, users and items come back; what is not in Redis is said to be lost: optimiser moments, slates
 * that were open, and the figures so far.  Records in Redis may be a little newer than the version: events between the two
 * are learnt once and counted twice in histories.
 */
#include "base/log.h"
#include "base/mem.h"
#include "job/job_notify.h"
#include "job/job_private.h"
#include "serving/fetch_warm.h"
#include <time.h>

enum { SAY_US = 30000000, STATUS_US = 1000000, RETRY_NAPS = 25, NAP_MS = 20 };

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

static void sign_of_life(struct job *j, const char *what)
{
    const int64_t now = job_now_us(j);
    publish_alive(j->publish);
    if (now < j->next_status_us) return;
    job_notify("STATUS=starting: %.300s\nEXTEND_TIMEOUT_USEC=%d", what, SAY_US);
    j->next_status_us = now + STATUS_US;
}

/* All of them, a slice at a time, with signs of life between. */
static enum status read_records(struct job *j, struct fetch_warm *w, struct err *e)
{
    const struct fetch_warm_sink sink = {put_user, put_item, j};
    enum status st;
    do {
        if (atomic_load(&job_stopping)) return STATUS_END;
        sign_of_life(j, "reads users and items out of Redis");
        st = fetch_warm_records(w, &sink, e);
    } while (st == STATUS_OK);
    return st == STATUS_END ? STATUS_OK : st;
}

/* The place of a name in "a, b,c"; -1: not there. */
static int64_t place_of(const char *list, struct str name)
{
    struct str word;
    for (int64_t place = 0; str_next_word(&list, &word); place++)
        if (str_eq(word, name)) return place;
    return -1;
}

/* Where the topic of an offset stands in ingest.topics; -1: it is not read here.  A version without names (of before there
 * were) stands by its places. */
static int64_t topic_here(const struct job *j, const struct publish_manifest *m, uint32_t topic)
{
    return m->topics[0] == 0 ? (int64_t)topic : place_of(j->conf->ingest_topics, str_word_at(m->topics, topic));
}

/* Offsets belong to names: the same topics in another order are gone on with, topics that are not read here are left. */
static enum status choose_offsets(const struct job *j, const struct publish_manifest *m, struct source_offset *offsets,
                                  size_t *n, struct err *e)
{
    *n = 0;
    for (size_t i = 0; i < m->n_offsets; i++) {
        const struct publish_offset *o = &m->offsets[i];
        const int64_t topic = topic_here(j, m, o->topic);
        if (topic >= 0)
            offsets[(*n)++] =
                (struct source_offset){(uint32_t)topic, o->partition, o->next, o->mark, o->records, o->chain};
    }
    if (*n == 0 && m->n_offsets > 0)
        return ERR_SET(e, STATUS_CONFLICT,
                       "model %s in Redis was learnt from the topics %s, ingest.topics is %s, and no name is in both: "
                       "name its topics, take another model.name, or begin anew with --fresh",
                       j->conf->model_name, m->topics, j->conf->ingest_topics);
    if (m->topics[0] == 0 && m->n_offsets > 0)
        log_warn("warm", "version=%llu topics=unnamed offsets=\"taken by their places in ingest.topics=%s\"",
                 (unsigned long long)m->version, j->conf->ingest_topics);
    else if (*n < m->n_offsets)
        log_warn("warm", "version=%llu topics=%s ingest.topics=%s partitions_left=%zu reason=\"not read here\"",
                 (unsigned long long)m->version, m->topics, j->conf->ingest_topics, m->n_offsets - *n);
    return STATUS_OK;
}

static enum status begin_at(struct job *j, const struct publish_manifest *m, struct err *e)
{
    size_t n;
    struct source_offset *offsets = mem_calloc(m->n_offsets, sizeof *offsets);
    if (offsets == NULL) return ERR_SET(e, STATUS_OOM, "offsets of %zu partitions", m->n_offsets);
    enum status st = choose_offsets(j, m, offsets, &n, e);
    if (st == STATUS_OK) st = learner_begin_at(j->learner, offsets, n, m->settled_ms, m->examples, e);
    mem_free(offsets);
    return st;
}

/* A challenger's own version; without a sound one it begins at nothing. */
static enum status warm_variant(struct job *j, size_t i, struct err *e)
{
    struct fetch_warm *w = NULL;
    struct publish_manifest m = {0};
    struct err why;
    struct line *l = variants_line(learner_variants(j->learner), i);
    const char *name = conf_line_name(j->conf, i);
    enum status st = fetch_warm_open(&w, l->conf, j->clock, &why);
    if (st == STATUS_OK) st = fetch_warm_version(w, l->model, l->params, &m, &why);
    if (st == STATUS_OK) {
        l->counts.learnt_examples = m.examples;
        log_warn("warm", "variant=%s version=%llu examples=%llu", name, (unsigned long long)m.version,
                 (unsigned long long)m.examples);
    } else {
        log_warn("warm", "variant=%s begins=\"at nothing\" reason=\"%s\"", name, why.text);
    }
    publish_manifest_fini(&m);
    fetch_warm_close(w);
    return st == STATUS_OOM ? ERR_SET(e, st, "variant %s: %s", name, why.text) : STATUS_OK;
}

/* All of them, and who is in charge. */
static enum status warm_variants(struct job *j, struct fetch_warm *w, struct err *e)
{
    char champion[CONF_VARIANT_NAME];
    struct err why;
    struct variants *v = learner_variants(j->learner);
    for (size_t i = 1; i <= variants_count(v); i++) TRY(warm_variant(j, i, e));
    if (variants_count(v) == 0) return STATUS_OK;
    TRY(fetch_warm_champion(w, champion, e));
    if (champion[0] != '\0' && variants_promote(v, str_from(champion), 0, &why) != STATUS_OK)
        log_error("warm", "in_charge=default reason=\"%s\"", why.text);
    return STATUS_OK;
}

static enum status go_on(struct job *j, struct fetch_warm *w, const struct publish_manifest *m, struct err *e)
{
    const uint64_t above = j->given_out > m->version ? j->given_out : m->version;
    struct fetch_warm_counts n;
    const int64_t from_us = job_now_us(j);
    TRY(begin_at(j, m, e));
    TRY(warm_variants(j, w, e));
    TRY(read_records(j, w, e));
    TRY(world_warmed(learner_world(j->learner), m->watermark_ms, e));
    checkpoint_go_on_after(j->checkpoint, above);
    fetch_warm_counts(w, &n);
    log_warn("warm",
             "model=%s version=%llu sha256=%s examples=%llu partitions=%zu users=%llu items=%llu damaged=%llu ms=%lld "
             "lost=\"optimiser moments, open slates, figures so far\"",
             j->conf->model_name, (unsigned long long)m->version, m->sha256, (unsigned long long)m->examples,
             m->n_offsets, (unsigned long long)n.users, (unsigned long long)n.items, (unsigned long long)n.damaged,
             (long long)((job_now_us(j) - from_us) / 1000));
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

static bool begins(const struct job *j)
{
    return !j->options->replay && checkpoint_version(j->checkpoint) == 0;
}

/* One look: the numbers that were given out, and, for a folder that begins with them, the weights. */
static enum status look(struct job *j, struct fetch_warm *w, struct publish_manifest *m, struct err *e)
{
    TRY(fetch_warm_newest(w, &j->given_out, e));
    if (!begins(j) || j->options->fresh) return STATUS_NOT_FOUND;
    return fetch_warm_version(w, learner_model(j->learner), learner_params(j->learner), m, e);
}

static void say_waiting(struct job *j, const char *why)
{
    const int64_t now = job_now_us(j);
    if (now < j->say_us) return;
    log_warn(
        "warm",
        "model=%s state=%s waits=\"the folder is empty, and Redis does not say what was published: to begin anyway "
        "could give a version's number out twice\" reason=\"%s\" next=\"goes on when Redis answers\"",
        j->conf->model_name, j->state_dir, why);
    j->say_us = now + SAY_US;
}

/* A folder that begins waits until Redis answers; END: told to stop. */
static enum status look_until_told(struct job *j, struct fetch_warm *w, struct publish_manifest *m, struct err *e)
{
    for (;;) {
        const enum status st = look(j, w, m, e);
        if (!begins(j) || (st != STATUS_IO && st != STATUS_AGAIN)) return st;
        say_waiting(j, e->text);
        publish_manifest_fini(m);
        for (int i = 0; i < RETRY_NAPS; i++) {
            if (atomic_load(&job_stopping)) return STATUS_END;
            sign_of_life(j, e->text);
            (void)nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
        }
    }
}

/* Whoever gave them out: another line in this folder's place, or this one before an older copy was put back. */
static void go_on_above(struct job *j)
{
    const uint64_t version = checkpoint_version(j->checkpoint);
    if (j->given_out <= version) return;
    log_warn("warm", "model=%s state=%s version=%llu published=%llu next_version_above=%llu", j->conf->model_name,
             j->state_dir, (unsigned long long)version, (unsigned long long)j->given_out,
             (unsigned long long)j->given_out);
    checkpoint_go_on_after(j->checkpoint, j->given_out);
}

enum status job_warm(struct job *j, struct err *e)
{
    struct fetch_warm *w = NULL;
    struct publish_manifest m = {0};
    struct publish_state s = {0};
    struct err why = {0};
    publish_state(j->publish, &s);
    if (j->publish == NULL || (!begins(j) && !s.connected)) return STATUS_OK;
    j->say_us = 0;
    enum status st = fetch_warm_open(&w, j->conf, j->clock, &why);
    if (st == STATUS_OK) st = look_until_told(j, w, &m, &why);
    if (st == STATUS_OK)
        st = go_on(j, w, &m, e);
    else if (st == STATUS_NOT_FOUND || (!begins(j) && st != STATUS_OOM))
        st = STATUS_OK; /* a beginning, or a folder that goes on with what it has */
    else if (st != STATUS_END)
        st = refuse(j, st, &why, e);
    if (st == STATUS_OK && !j->warm) go_on_above(j);
    publish_manifest_fini(&m);
    fetch_warm_close(w);
    return st;
}
