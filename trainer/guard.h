/* guard.h - what keeps a broken or hostile stream from being learnt: a circuit breaker, caps, quarantine.
 *
 * Monitors (trainer/monitor.h) watch the share of positives by the time a list was shown, the volume, the shares of types and
 * attributes, rejects, scores and the progressive loss, in event time.  When one of guard.pause_on leaves its level, learning pauses:
 * slates shown from the beginning of the change to its end are never learnt, all else goes on (reading, counting, evaluating,
 * serving).  It resumes when every such monitor is back and guard.pause_ms have passed; when guard.accept_ms have passed, the
 * new level is accepted; or when the operator sets guard.mode.  Scores say what the line was taught, and nothing of whether the
 * stream is mended: a pause of theirs, or of the loss, ends when the version from before the change loses no more than was usual
 * on what is not learnt.  A source that explains the change alone is quarantined instead.  Caps bound what one user, item or source
 * contributes in a window.  No clock, no output, fixed memory; part of the state.  Thread: the learner's.
 */
#ifndef TRAINER_GUARD_H
#define TRAINER_GUARD_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/event.h"
#include "schemas/report.h"
#include "schemas/slate.h"
#include "trainer/monitor.h"

struct guard;
/* c: borrowed, live keys are read at each use. */
enum status guard_new(struct guard **out, const struct conf *c, struct err *e) MUST_CHECK;
void guard_free(struct guard *g);

/* --- what the stream brings; now_ms: the watermark, which never goes back (INT64_MIN, not known yet: nothing happens) --- */
void guard_event(struct guard *g, const struct event *ev, int64_t now_ms); /* accepted */
void guard_rejected(struct guard *g, int64_t now_ms);                      /* one record was refused */
void guard_scored(struct guard *g, const struct slate *s, const float *logits, int64_t now_ms); /* when it was opened */
/* A settled slate with the logits that were predicted of it. */
void guard_settled(struct guard *g, const struct slate *s, const float *logits, int64_t now_ms);
/* Learning is paused for what the line says, and the line was not taken back: scores that its lessons moved never return, and its
 * loss is that of a pupil of the fault.  Only a version from before since_ms (event time, as labels were met) can tell whether the
 * stream is as usual: guard_sound has what it gives a settled slate; without one the scores decide. */
bool guard_doubts(const struct guard *g, int64_t *since_ms);
void guard_sound(struct guard *g, const struct slate *s, const float *logits);

/* --- what may be learnt --- */
/* false: the slate is not to be learnt (a pause, or its user's or source's cap, or no item is left); counted.  keep (K): the items
 * that would be learnt from; those beyond their cap are cleared. */
bool guard_admits(struct guard *g, const struct slate *s, uint8_t *keep, int64_t now_ms);
/* The same of an item that is learnt once more, as a label came late: its cap counts that too; its list's user and source were
 * counted with the list. */
bool guard_admits_copy(struct guard *g, const struct slate *s, uint8_t *keep, int64_t now_ms);
uint64_t guard_source_key(struct str source); /* slate.origin: its hash, never 0; 0: absent */
/* Neither paused, nor shown while something was wrong, nor of a source in quarantine: caps apart, and nothing is counted. */
bool guard_lets(const struct guard *g, const struct slate *s);
bool guard_paused(const struct guard *g);
bool guard_counts(const struct guard *g); /* what comes is counted into the world (guard.counts, during a pause) */
/* The event's source is in quarantine: it goes to the dead letters. */
bool guard_quarantined(const struct guard *g, const struct event *ev);
bool guard_restart(struct guard *g); /* once after each pause, if guard.restart asks: the optimiser begins anew */
/* Once in a pause, when a monitor of guard.rollback_on left its level: since when (event time, as labels were met) what was
 * learnt is not to be trusted.  why: the caller's, GUARD_WHY bytes. */
#define GUARD_WHY 160
bool guard_undo(struct guard *g, int64_t *since_ms, char why[GUARD_WHY]);
/* It went back: the levels of its scores and of its loss are learnt anew.  That of the loss stays in a pause that one of them brought
 * about: it is what the line was worth before, and when it is worth that again, the stream is back. */
void guard_line_changed(struct guard *g);
void guard_dropped(struct guard *g); /* an event went to the dead letters */

/* --- what to say --- */
enum guard_said {
    GUARD_ALARM,
    GUARD_BACK,
    GUARD_PAUSED,
    GUARD_RESUMED,
    GUARD_ACCEPTED,
    GUARD_CAPPED,
    GUARD_QUARANTINED,
    GUARD_RELEASED
};
struct guard_note {
    enum guard_said what;
    int64_t at_ms;
    char text[320]; /* key=value */
};
const char *guard_said_name(enum guard_said what);
/* The oldest thing that was not said yet; false: none.  At most 16 wait, the oldest give way. */
bool guard_say(struct guard *g, struct guard_note *out);
const char *guard_trouble(const struct guard *g); /* one sentence while paused, else "" */
/* Sources in quarantine; *name and *until_ms: of the one that is out longest. */
uint32_t guard_in_quarantine(const struct guard *g, const char **name, int64_t *until_ms);
void guard_report(const struct guard *g, struct report_guard *out);

void guard_encode(struct buf *b, const struct guard *g);
enum status guard_decode(struct guard *g, struct buf_reader *r, struct err *e) MUST_CHECK; /* into an empty one */
#endif
