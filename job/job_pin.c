/* job_pin.c - one version stays published while learning goes on.
 *
 * It is published under its own number, with the bytes that its weight file holds.  What reaches Redis besides (users,
 * items) goes on as ever.
 */
#include "base/log.h"
#include "job/job_private.h"

/* It is in force already, by us or by whoever was before us. */
static bool in_force(const struct job *j, uint64_t version)
{
    struct publish_state s;
    publish_state(j->publish, &s);
    if (s.waiting > 0 && j->published_version == version) return true;
    return s.looked && s.in_force == version;
}

enum status job_pin_params(struct job *j, struct param_set **out, struct err *e)
{
    const uint64_t version = learner_pinned(j->learner);
    *out = NULL;
    if (in_force(j, version)) return STATUS_OK;
    const enum status st = checkpoint_params(j->checkpoint, learner_model(j->learner), version, out, e);
    if (st != STATUS_NOT_FOUND && st != STATUS_CORRUPT) return st;
    log_limited(LOG_ERROR, "pin", "version=%llu error=\"%s\" next=\"what is in force stays; freshet model unpin\"",
                (unsigned long long)version, e != NULL ? e->text : "");
    return STATUS_OK;
}
