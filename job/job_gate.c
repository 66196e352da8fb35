/* job_gate.c - each version by itself, before it is durable and before it is published.  (The line is judged by line_gate.c.) */
#include "base/log.h"
#include "job/job_private.h"
#include "job/verdict.h"
#include <stdio.h>
#include <string.h>

enum status job_gate_durable(struct job *j, struct err *e)
{
    char why[LINE_WHY];
    const struct param_set *p = learner_params(j->learner);
    param_here(p);
    const size_t bad = param_first_not_finite(p->w, p->n);
    if (bad == p->n) return STATUS_OK;
    (void)snprintf(why, sizeof why, "parameter %zu is not finite", bad);
    if (j->ranks != NULL)
        return ERR_SET(e, STATUS_CORRUPT,
                       "%s, and with train.ranks > 1 no rank goes back alone: not made durable; start all again, "
                       "they go on from version %llu",
                       why, (unsigned long long)checkpoint_version(j->checkpoint));
    TRY(learner_refuse(j->learner, checkpoint_version(j->checkpoint) + 1, why, e));
    const enum status st = learner_rollback(j->learner, "gate", why, 0, e);
    if (st != STATUS_NOT_FOUND) return st;
    return ERR_SET(e, STATUS_CORRUPT,
                   "%s, and nothing is blessed to go back to: not made durable; a start goes on from version %llu", why,
                   (unsigned long long)checkpoint_version(j->checkpoint));
}

enum status job_gate_version(struct job *j, bool *held, struct err *e)
{
    char why[LINE_WHY];
    *held = false;
    TRY(learner_check(j->learner, why, e));
    if (why[0] == '\0') {
        learner_let(j->learner);
        return STATUS_OK;
    }
    *held = true;
    j->refused_version = checkpoint_version(j->checkpoint);
    TRY(learner_refuse(j->learner, checkpoint_version(j->checkpoint), why, e));
    if (strcmp(j->conf->gate_on_refuse, "rollback") != 0 || j->ranks != NULL)
        return STATUS_OK; /* no rank goes back alone */
    const enum status st = learner_rollback(j->learner, "gate", why, 0, e);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st; /* it is due then, and published with the next checkpoint */
}

bool job_gate_bare(const struct job *j)
{
    struct publish_state s;
    const uint64_t blessed = learner_blessed(j->learner);
    publish_state(j->publish, &s);
    return s.looked && s.in_force == 0 && s.lease == PUBLISH_LEASE_HELD && j->handed[0] == 0 &&
           checkpoint_has(j->checkpoint, blessed, NULL);
}

/* As it is now: of several promotions the last one counts. */
static void note_champion(const struct job *j, struct publish_note *n)
{
    const char *name = learner_challenger(j->learner);
    n->says_champion = true;
    (void)snprintf(n->champion, sizeof n->champion, "%s", name != NULL ? name : "");
}

/* The version that an entry is about; of a variant, or of who is in charge, the newest one when it was said. 0: without a number. */
static uint64_t subject(const struct verdict *v)
{
    const bool none = v->kind == VERDICT_VARIANT || v->kind == VERDICT_CHAMPION || v->kind == VERDICT_REFUSE;
    return none ? v->version : v->about;
}

/* "": it is not known any more. */
static void find_sha256(const struct job *j, uint64_t version, char out[HASH_SHA256_HEX])
{
    const struct line *l = learner_line(j->learner);
    const struct line_gate *g = l->gate;
    struct param_set *p = NULL;
    out[0] = '\0';
    if (version == 0) return;
    if (g != NULL && version == g->candidate_mark.version) p = gate_snapshot_params(g->candidate);
    if (g != NULL && version == g->blessed_mark.version) p = gate_snapshot_params(g->blessed);
    if (version == checkpoint_version(j->checkpoint))
        (void)snprintf(out, HASH_SHA256_HEX, "%s", checkpoint_sha256(j->checkpoint));
    else if (p != NULL && param_sha256(p, NULL) == STATUS_OK)
        (void)snprintf(out, HASH_SHA256_HEX, "%s", p->sha256);
    else
        (void)!checkpoint_sha256_of(j->checkpoint, l->model, version, out, NULL);
}

/* Entries that were not told yet; *from: the number of the first. */
static const struct verdict *untold(const struct job *j, size_t *n, uint64_t *from)
{
    const struct verdict_log *log = learner_verdicts(j->learner);
    const uint64_t oldest = log->total - log->n;
    *from = j->noted > oldest ? j->noted : oldest;
    *n = (size_t)(log->total - *from);
    return &log->items[log->n - *n];
}

void job_gate_hashes(struct job *j)
{
    size_t n;
    uint64_t from;
    const struct verdict *v = untold(j, &n, &from);
    for (size_t i = 0; i < n; i++) find_sha256(j, subject(&v[i]), j->said_sha256[(from + i) % VERDICTS_MAX]);
}

void job_gate_notes(struct job *j)
{
    size_t count;
    uint64_t from;
    const struct verdict *all = untold(j, &count, &from);
    for (size_t i = 0; i < count; i++) {
        const struct verdict *v = &all[i];
        struct publish_note n = {.version = subject(v), .about = v->about, .at = v->version};
        const bool now = n.version == checkpoint_version(j->checkpoint) && v->kind != VERDICT_REFUSE;
        (void)snprintf(n.kind, sizeof n.kind, "%s", verdict_name(v->kind));
        (void)snprintf(n.reason, sizeof n.reason, "%s", v->reason);
        (void)snprintf(n.who, sizeof n.who, "%s", v->who);
        (void)snprintf(n.sha256, sizeof n.sha256, "%s",
                       now ? checkpoint_sha256(j->checkpoint) : j->said_sha256[(from + i) % VERDICTS_MAX]);
        if (v->kind == VERDICT_CHAMPION) note_champion(j, &n);
        publish_note(j->publish, &n);
    }
    j->noted = from + count;
}
