/* guard_private.h - the guard's insides, shared by guard*.c alone. */
#ifndef TRAINER_GUARD_PRIVATE_H
#define TRAINER_GUARD_PRIVATE_H
#include "trainer/guard.h"
#include "trainer/quota.h"

#define GUARD_BINS 128 /* of logits, from -GUARD_LOGIT to GUARD_LOGIT */
#define GUARD_LOGIT 8.0
#define GUARD_SOURCES 32 /* sources that are known by name */
#define GUARD_SOURCE_NAME 64
#define GUARD_NOTES 16
#define GUARD_SHARE_LEAST 1000 /* examples of a window before a source's share of it means something */

/* Places of the monitors; types have one each, attributes the rest as they are met. */
enum {
    GUARD_LABELS,
    GUARD_VOLUME,
    GUARD_SCORES,
    GUARD_SCORES_HIGH,
    GUARD_REJECTS,
    GUARD_LOSS,
    GUARD_IMPRESSIONS,
    GUARD_TYPES,
    GUARD_ATTRIBUTES = GUARD_TYPES + EVENT_TYPES_MAX,
    GUARD_MONITORS = GUARD_ATTRIBUTES + 88
};
enum guard_cap { GUARD_CAP_USER, GUARD_CAP_ITEM, GUARD_CAP_SOURCE, GUARD_CAPS };

struct guard_source {
    uint64_t source; /* hash; 0: free */
    char name[GUARD_SOURCE_NAME];
    int64_t seen_ms, until_ms; /* until: of its quarantine; 0: none */
};
struct guard {
    const struct conf *conf;
    struct monitor monitors[GUARD_MONITORS];
    uint32_t n_attributes;     /* met so far */
    uint32_t bins[GUARD_BINS]; /* of the bucket of scores under way */
    struct guard_source sources[GUARD_SOURCES];
    bool paused, restart;
    bool line_new;    /* in this pause the line went back: what it says is watched again afterwards */
    bool undone;      /* in this pause what was learnt was taken back */
    int64_t undo_ms;  /* since when, if it is to be now; INT64_MIN: it is not */
    int64_t doubt_ms; /* since when scores or loss are out, of a pause that they brought about; INT64_MAX: others did */
    int64_t judged_ms; /* … and the loss of what is shown from then on decides when it ends; INT64_MIN: it does not */
    int64_t taught_ms; /* when the newest list that was let through to be learnt was shown; INT64_MIN: none was */
    char undo_why[GUARD_WHY];
    int64_t paused_ms;      /* since when learning is paused */
    int64_t from_ms, to_ms; /* slates shown from … to are never learnt; to: INT64_MAX while a monitor is out */
    int64_t good_ms;        /* what is shown from then on is as usual, as far as monitors came back */
    int64_t window_ms;      /* number of the window under way */
    struct quota *used[GUARD_CAPS];
    uint64_t window_examples;
    bool cap_said[GUARD_CAPS]; /* in this window */
    int64_t now_ms;
    struct report_guard counts;
    char trouble[320];
    struct guard_note notes[GUARD_NOTES];
    uint32_t n_notes, first_note;
};
void guard_tell(struct guard *g, enum guard_said what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct monitor_limits guard_limits(const struct guard *g, enum monitor_group group);
/* What a monitor's bucket meant for the breaker. */
void guard_changed(struct guard *g, struct monitor *m, enum drift_change c);
/* In a pause that scores or loss brought about: from now on the loss decides when it ends, if it knows its level. */
void guard_judge(struct guard *g);
void guard_calm(struct guard *g); /* monitors were reset: the stretch that is not learnt ends if none is out */
void guard_tick(struct guard *g, int64_t now_ms);           /* the breaker's and the quarantine's times */
uint64_t guard_source_of(struct guard *g, struct str name); /* its hash, remembered with its name; 0: none */
struct guard_source *guard_source_find(const struct guard *g, uint64_t source); /* NULL: not known */
bool guard_shuts_out(const struct guard *g, const struct slate *s);             /* it is of a source in quarantine */
bool guard_off(const struct guard *g);
#endif
