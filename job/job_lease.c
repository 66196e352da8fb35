/* job_lease.c - one learner per model and per folder: the lease in Redis first, then the state folder, as owner or standby.
 *
 * A standby waits for both with everything loaded that needs neither.  An owner that lost the lease while it slept finds
 * out before it makes anything durable: a lease that may have run out is looked at again first.
 */
#include "base/log.h"
#include "job/checkpoint_meta.h"
#include "job/job_notify.h"
#include "job/job_private.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    NAP_MS = 20,
    SAY_US = 30000000,   /* a standby says once in a while for whom it waits */
    FULL_US = 2000000,   /* from try to try while there is no room for the folder's first files */
    LET_GO_US = 1000000, /* an owner that ends in order gives its folder back within this time after the lease */
    ANSWER_MS = 1000,    /* on top of redis.timeout_ms: for the uploader's next turn */
};

static void nap(void)
{
    (void)nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
}

/* What the folder says of itself, read beside whoever holds it; no folder, or one that can't be read, says nothing. */
static void look_into(struct job *j, uint64_t *epoch, bool *other_model)
{
    struct checkpoint_meta m;
    char line[CONF_TEXT + 16];
    *epoch = 0;
    *other_model = false;
    if (checkpoint_meta_open(&m, j->state_dir, NULL) != STATUS_OK) return;
    const int n = snprintf(line, sizeof line, "model.name=%s\n", j->conf->model_name);
    *epoch = m.epoch;
    *other_model = m.meaning.n > 0 && memmem(m.meaning.p, m.meaning.n, line, (size_t)n) == NULL;
    checkpoint_meta_close(&m);
}

enum status job_lease_ask(struct job *j, struct err *e)
{
    uint64_t epoch;
    bool other;
    j->phase = j->options->standby ? "standby" : "starting";
    look_into(j, &epoch, &other);
    return publish_open(&j->publish, j->conf, j->clock, epoch, e);
}

/* HELD, FOREIGN with the owner in s->error, or NONE while Redis does not answer. */
static void settle(struct job *j, struct publish_state *s)
{
    const int64_t until_us = job_now_us(j) + (j->conf->redis_timeout_ms + ANSWER_MS) * 1000;
    for (publish_state(j->publish, s); j->publish != NULL && s->n_turns == 0 && job_now_us(j) < until_us;
         publish_state(j->publish, s)) {
        if (atomic_load(&job_stopping)) return;
        nap();
    }
}

static void say_waiting(struct job *j, const char *text)
{
    const int64_t now = job_now_us(j);
    job_notify("STATUS=standby: %s\nEXTEND_TIMEOUT_USEC=%d", text, SAY_US);
    if (now < j->say_us) return;
    log_info("standby", "model=%s state=%s waits=\"%s\"", j->conf->model_name, j->state_dir, text);
    j->say_us = now + SAY_US;
}

/* No room to open the folder: nothing is lost by waiting, and a supervisor would give up starting again and again. */
static void say_full(struct job *j, const char *text)
{
    const int64_t now = job_now_us(j);
    job_notify("STATUS=paused: disk full: %.300s\nEXTEND_TIMEOUT_USEC=%d", text, SAY_US);
    if (now < j->say_us) return;
    log_error("paused", "state=%s reason=\"%s\" next=\"goes on by itself when there is room\"", j->state_dir, text);
    j->say_us = now + SAY_US;
}

/* The folder is held by the owner that lost the lease to us (stopped, or hung), not by another model's learner. */
static bool may_take_over(struct job *j, const struct publish_state *s, int64_t since_us)
{
    uint64_t epoch;
    bool other;
    if (!j->options->standby || s->lease != PUBLISH_LEASE_HELD) return false;
    /* who was seen to hold the lease needs only the time to end in order; else a whole lease must have passed without one */
    if (job_now_us(j) - since_us < (j->saw_owner ? LET_GO_US : (int64_t)PUBLISH_LEASE_MS * 1000)) return false;
    look_into(j, &epoch, &other);
    return !other && (j->saw_owner || epoch > 0);
}

/* One try at lease and folder.  AGAIN: wait on; *since_us: since when the lease is ours, 0 not yet.
 *
 * Where Redis does not answer, a job goes on without; a standby only once a folder that it saw held became free: the owner
 * may run on another host. */
static enum status try_both(struct job *j, int64_t *since_us, struct err *e)
{
    struct publish_state s = {0};
    settle(j, &s);
    if (s.lease == PUBLISH_LEASE_FOREIGN || s.lease == PUBLISH_LEASE_CONFLICT) {
        j->saw_owner = true;
        *since_us = 0;
        (void)ERR_SET(e, STATUS_CONFLICT, "%s", s.error.text);
        return j->options->standby && s.lease == PUBLISH_LEASE_FOREIGN ? STATUS_AGAIN : STATUS_CONFLICT;
    }
    const bool careful = j->options->standby && j->publish != NULL && s.lease != PUBLISH_LEASE_HELD && !j->saw_held;
    if (careful && j->tried_folder) return ERR_SET(e, STATUS_AGAIN, "Redis does not answer: %s", s.error.text);
    j->tried_folder = true;
    if (*since_us == 0) *since_us = job_now_us(j);
    const struct checkpoint_options o = {.take_over = may_take_over(j, &s, *since_us),
                                         .epoch = s.lease == PUBLISH_LEASE_HELD ? s.epoch : 0};
    enum status st = checkpoint_open(&j->checkpoint, j->conf, j->state_dir, o, e);
    if (st == STATUS_OK && careful) { /* free, but the owner may run elsewhere */
        checkpoint_close(j->checkpoint);
        j->checkpoint = NULL;
        return ERR_SET(e, STATUS_AGAIN, "Redis does not answer: %s", s.error.text);
    }
    if (st == STATUS_OK && o.take_over)
        log_warn("take-over", "model=%s state=%s epoch=%llu from=\"an owner that lost its lease\"", j->conf->model_name,
                 j->state_dir, (unsigned long long)o.epoch);
    j->saw_held = j->saw_held || st == STATUS_CONFLICT;
    return st == STATUS_CONFLICT && j->options->standby ? STATUS_AGAIN : st;
}

/* The folder is tried less often than the lease. */
static int64_t next_try_us(bool full, int64_t since_us)
{
    if (full) return FULL_US;
    return since_us > 0 ? 200000 : NAP_MS * 1000;
}

enum status job_lease_take(struct job *j, struct err *e)
{
    struct err why = {0};
    int64_t since_us = 0, next_us = 0;
    const int64_t from_us = job_now_us(j);
    enum status st = STATUS_AGAIN;
    while (!atomic_load(&job_stopping)) {
        if (job_now_us(j) >= next_us) {
            st = try_both(j, &since_us, &why);
            const bool full = st == STATUS_FULL && !j->options->replay;
            if (st != STATUS_AGAIN && !full) break;
            next_us = job_now_us(j) + next_try_us(full, since_us);
            if (full) {
                say_full(j, why.text);
            } else {
                j->waited = true;
                say_waiting(j, why.text);
            }
        }
        nap();
    }
    if (st == STATUS_AGAIN || (st == STATUS_FULL && !j->options->replay))
        return STATUS_END; /* told to stop before it was its turn */
    if (st != STATUS_OK) {
        if (e != NULL) *e = why;
        return st;
    }
    j->taken_us = job_now_us(j);
    if (j->waited)
        log_info("take-over", "model=%s state=%s waited_ms=%lld", j->conf->model_name, j->state_dir,
                 (long long)((j->taken_us - from_us) / 1000));
    return job_lease_check(j, e);
}

enum status job_lease_check(struct job *j, struct err *e)
{
    struct publish_state s;
    if (j->publish == NULL) return STATUS_OK;
    const int64_t until_us = job_now_us(j) + (j->conf->redis_timeout_ms + ANSWER_MS) * 1000;
    publish_alive(j->publish);
    for (publish_state(j->publish, &s);
         s.lease == PUBLISH_LEASE_HELD && s.connected && job_now_us(j) > s.lease_until_us;
         publish_state(j->publish, &s)) {
        if (job_now_us(j) > until_us) break; /* Redis hangs: the folder is the fence */
        nap();
    }
    if (s.lease == PUBLISH_LEASE_CONFLICT || s.lease == PUBLISH_LEASE_FOREIGN)
        return ERR_SET(e, STATUS_CONFLICT, "%s; nothing more is learnt or published here", s.error.text);
    if (j->checkpoint == NULL) return STATUS_OK;
    if (s.lease == PUBLISH_LEASE_HELD) checkpoint_set_epoch(j->checkpoint, s.epoch);
    return checkpoint_fenced(j->checkpoint, e);
}
