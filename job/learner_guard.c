/* learner_guard.c - the guard beside the stream: what it is told, what it keeps from learning, what it has to say. */
#include "base/log.h"
#include "job/learner_private.h"

/* Letters that are tried again come long after their time: they are no part of the stream's levels, and who tries them
 * again wants them in. */
enum status learner_guard_event(struct learner *l, const struct source_record *rec, bool *refused, struct err *e)
{
    *refused = false;
    if (l->options.letters) return STATUS_OK;
    *refused = guard_quarantined(l->guard, &rec->event);
    if (!*refused) {
        guard_event(l->guard, &rec->event, watermark_ms(l->watermark));
        *refused = guard_quarantined(l->guard, &rec->event); /* it was the one that told */
    }
    if (!*refused) return STATUS_OK;
    struct source_record full = *rec;
    full.kind = SOURCE_REJECT;
    guard_dropped(l->guard);
    (void)reject_set(
        &full.reject, REJECT_ANOMALY,
        "source \"%.80s\" is in quarantine (guard.quarantine_ms=%lld); look at it, then try its letters again",
        rec->event.source.p, (long long)l->conf->guard_quarantine_ms);
    return learner_reject(l, &full, "anomaly", e);
}

bool learner_guard_admits(struct learner *l, uint8_t *keep)
{
    if (!l->line->learn) return true;
    if (!guard_admits(l->guard, l->slate, keep, watermark_ms(l->watermark))) return false;
    const bool restart = guard_restart(l->guard);
    for (size_t i = 0; restart && i <= variants_count(l->variants); i++)
        optim_restart(variants_line(l->variants, i)->optim);
    return true;
}

bool learner_guard_admits_copy(struct learner *l, uint8_t *keep)
{
    return !l->line->learn || guard_admits_copy(l->guard, l->slate, keep, watermark_ms(l->watermark));
}

/* A model that has learnt nothing says 0 whatever it is shown. */
void learner_guard_scored(struct learner *l)
{
    if (l->line->counts.learnt_examples == 0) return;
    guard_scored(l->guard, l->slate, l->line->predictions.logits, watermark_ms(l->watermark));
}

enum status learner_guard_settled(struct learner *l, const struct open_predictions *p, struct err *e)
{
    int64_t since_ms;
    const float *sound = NULL;
    guard_settled(l->guard, l->slate, p->logits, watermark_ms(l->watermark));
    if (guard_doubts(l->guard, &since_ms)) TRY(line_gate_sound(l->line, l->slate, since_ms, &sound, e));
    if (sound != NULL) guard_sound(l->guard, l->slate, sound);
    return STATUS_OK;
}

void learner_guard_say(struct learner *l)
{
    struct guard_note n;
    while (guard_say(l->guard, &n)) {
        const bool bad = n.what == GUARD_ALARM || n.what == GUARD_PAUSED || n.what == GUARD_QUARANTINED;
        log_write(bad ? LOG_WARN : LOG_INFO, "guard", "%s at_ms=%lld %s", guard_said_name(n.what), (long long)n.at_ms,
                  n.text);
    }
}
