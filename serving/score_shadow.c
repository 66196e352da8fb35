/* score_shadow.c - variants that are scored for every request and never served.
 *
 * A hand whose answer is made does not go back to the pool at once: a thread of its own lets each shadow score the same slate
 * and logs the ranking to fr:m:served with shadow=1.  The request has been answered by then.  When more hands wait than are
 * there for it, a request goes without its shadows, and is counted.
 */
#include "base/log.h"
#include "serving/score_private.h"

enum status score_shadow_open(struct score *s, struct err *e)
{
    return s->conf->n_variants > 0 ? queue_new(&s->shadows, SCORE_SHADOW_HANDS, e) : STATUS_OK;
}

void score_shadow_close(struct score *s)
{
    queue_free(s->shadows);
}

static bool any_shadow(const struct score *s)
{
    const size_t in_charge = atomic_load(&s->in_charge);
    for (size_t i = 1; i < s->n_lines; i++)
        if (conf_line_shadow(s->conf, i, in_charge)) return true;
    return false;
}

bool score_shadow_take(struct score *s, struct score_hand *h)
{
    if (!s->shadowing || !h->answered || !any_shadow(s)) return false;
    if (queue_push_for(s->shadows, h, 0) == STATUS_OK) return true;
    metric_add(s->metric, METRIC_SHADOWS_DROPPED, 1);
    return false;
}

/* One request by one shadow; what fails concerns nobody but the log. */
static void score_one(struct score_hand *h, struct score_line *l)
{
    struct err e = {0};
    if (!score_pass_begin_with(h, l)) return; /* it has no version yet */
    h->answer.explored = false;
    const enum status st = score_run_line(h, &e);
    redis_clear(h->redis);
    if (st == STATUS_OK)
        score_served_put(h, &h->answer, true);
    else
        log_limited(LOG_WARN, "shadow", "variant=%s %s", l->name, e.text);
    metric_add(h->s->metric, METRIC_SHADOWS, st == STATUS_OK);
}

static void *work(void *arg)
{
    struct score *s = arg;
    void *p;
    while (queue_pop(s->shadows, &p) == STATUS_OK) {
        struct score_hand *h = p;
        const size_t in_charge = atomic_load(&s->in_charge);
        for (size_t i = 1; i < s->n_lines && !atomic_load(&s->stopping); i++)
            if (conf_line_shadow(s->conf, i, in_charge)) score_one(h, &s->lines[i]);
        score_give_back(s, h);
    }
    return NULL;
}

enum status score_shadow_start(struct score *s, struct err *e)
{
    if (s->shadows == NULL) return STATUS_OK;
    if (pthread_create(&s->shadow, NULL, work, s) != 0)
        return ERR_SET(e, STATUS_OOM, "scorer: no thread can be started");
    s->shadowing = true;
    return STATUS_OK;
}

void score_shadow_stop(struct score *s)
{
    if (!s->shadowing) return;
    queue_close(s->shadows);
    (void)pthread_join(s->shadow, NULL);
    s->shadowing = false;
}
