/* job_pin.c - one version stays published while learning goes on.
 *
 * It is published under its own number, with the bytes that its weight files hold, of every line: whoever is in charge and whoever
 * serves a share stand still.  What reaches Redis besides (users, items) goes on as ever.
 */
#include "base/log.h"
#include "job/job_private.h"

static const char *name_of(const struct job *j, size_t line)
{
    return line > 0 ? conf_line_name(j->conf, line) : NULL;
}

struct publish *job_publisher(const struct job *j, size_t line)
{
    return line > 0 ? j->variants[line - 1] : j->publish;
}

/* It is in force already, by us or by whoever was before us. */
static bool in_force(const struct job *j, size_t line, uint64_t version)
{
    struct publish_state s;
    publish_state(job_publisher(j, line), &s);
    if (s.waiting > 0 && j->handed[line] == version) return true;
    return s.looked && s.in_force == version;
}

bool job_pin_behind(const struct job *j, size_t line)
{
    struct publish_state s;
    const uint64_t version = learner_pinned(j->learner);
    publish_state(job_publisher(j, line), &s);
    return s.in_force != version && (line == 0 || checkpoint_has(j->checkpoint, version, name_of(j, line)));
}

enum status job_pin_params(struct job *j, size_t line, uint64_t version, struct param_set **out, struct err *e)
{
    const struct model *m = variants_line(learner_variants(j->learner), line)->model;
    *out = NULL;
    if (in_force(j, line, version)) return STATUS_OK;
    const enum status st = checkpoint_params(j->checkpoint, m, version, name_of(j, line), out, e);
    if (st != STATUS_NOT_FOUND && st != STATUS_CORRUPT) return st;
    log_limited(LOG_ERROR, "pin", "version=%llu line=%s error=\"%s\" next=\"what is in force stays%s\"",
                (unsigned long long)version, conf_line_name(j->conf, line), e != NULL ? e->text : "",
                learner_pinned(j->learner) > 0 ? "; freshet model unpin" : "");
    return STATUS_OK;
}
