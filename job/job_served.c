/* job_served.c - the log of answers into the learner, and the versions that it is compared with. */
#include "job/job_private.h"
#include <time.h>

enum { AT_ONCE = 64 };

/* Lists that wait in the source are younger than their answers, so what is logged by now is taken before them; a server that is
 * slow is waited for redis.timeout_ms at most, and one that is away not at all. */
static enum status catch_up(struct job *j, struct err *e)
{
    const int64_t until_us = job_now_us(j) + j->conf->redis_timeout_ms * 1000;
    for (;;) {
        const bool all = served_current(j->served) || job_now_us(j) >= until_us;
        struct served_answer *a = served_take(j->served);
        if (a == NULL && all) return STATUS_OK;
        if (a != NULL)
            TRY(learner_served(j->learner, a, e));
        else
            (void)nanosleep(&(struct timespec){0, 1000000L}, NULL);
    }
}

enum status job_served_open(struct job *j, struct err *e)
{
    if (j->options->replay || j->publish == NULL) return STATUS_OK;
    TRY(learner_read_served(j->learner, e));
    TRY(served_open(&j->served, j->conf, j->clock, learner_served_from(j->learner), e));
    return catch_up(j, e);
}

enum status job_served_tick(struct job *j, struct err *e)
{
    for (int i = 0; i < AT_ONCE; i++) {
        struct served_answer *a = served_take(j->served);
        if (a == NULL) return STATUS_OK;
        TRY(learner_served(j->learner, a, e));
    }
    return STATUS_OK;
}

enum status job_served_keep(struct job *j, struct err *e)
{
    const int64_t now = job_now_us(j);
    if (j->served == NULL || now < j->next_kept_us) return STATUS_OK;
    j->next_kept_us = now + j->conf->eval_served_every_ms * 1000;
    for (size_t i = 0; i <= variants_count(learner_variants(j->learner)); i++)
        TRY(learner_keep_version(j->learner, i, e));
    return STATUS_OK;
}
