/* job_gate.c - each version by itself, before it is durable and before it is published.  (The line is judged by line_gate.c.) */
#include "base/log.h"
#include "job/job_private.h"
#include <stdio.h>
#include <string.h>

enum status job_gate_durable(struct job *j, struct err *e)
{
    char why[LINE_WHY];
    const struct param_set *p = learner_params(j->learner);
    const size_t bad = param_first_not_finite(p->w, p->n);
    if (bad == p->n) return STATUS_OK;
    (void)snprintf(why, sizeof why, "parameter %zu is not finite", bad);
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
    TRY(learner_refuse(j->learner, checkpoint_version(j->checkpoint), why, e));
    if (strcmp(j->conf->gate_on_refuse, "rollback") != 0) return STATUS_OK;
    const enum status st = learner_rollback(j->learner, "gate", why, 0, e);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st; /* it is due then, and published with the next checkpoint */
}
