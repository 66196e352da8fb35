/* slate.h - what featurize hands to the model: one list of candidates for one user at one time, as arrays.
 *
 * Filled from histories, catalogue and counters as they were before the slate's own event; kept whole (token ids too)
 * from opening to settling, so that what is learnt is what was scored.  All memory is in the slate's own arena.  Letters: E user events
 * (newest first), K candidates, F numeric features.
 */
#ifndef SCHEMAS_SLATE_H
#define SCHEMAS_SLATE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "schemas/event.h"

#define SLATE_CONVERTED (UINT32_C(1) << 31) /* among an item's tasks: the behaviour of eval.conversion met it */
enum slate_rank { SLATE_ABOVE, SLATE_BESIDE, SLATE_ABOVE_POPULAR, SLATE_BESIDE_POPULAR, SLATE_RANKS };
#define SLATE_SEGMENTS_MAX 8 /* attributes of eval.segments */
/* What is learnt of a slate: WHOLE, all parts learn it.  With join.loss other than wait (trainer/loss_delay.h) EARLY is what
 * intercepts and the parts that read no counts learn before its end, by themselves, AGAIN what they learn of an item of it that
 * was marked since, and ENDED what the others add, at its end. */
enum slate_copy { SLATE_WHOLE, SLATE_EARLY, SLATE_AGAIN, SLATE_ENDED, SLATE_COPIES };
enum slate_source { SLATE_IMPRESSION, SLATE_ORGANIC, SLATE_REQUEST, SLATE_SOURCES };

/* A sentence: its token ids ([CLS] … [SEP] included) and their hash (hash_bytes over the int32 ids). */
struct slate_sentence {
    uint64_t hash;
    uint32_t first, n; /* in slate.tokens */
};
struct slate_event {
    uint32_t sentence; /* in slate.sentences */
    uint64_t item;     /* hash_str of the item's id */
    int64_t time_ms;
    float age_minutes; /* at the slate's time, >= 0 */
    uint8_t type;      /* enum event_type or the user's own */
};
enum slate_flag { SLATE_ITEM_KNOWN = 1, SLATE_ITEM_COLD = 2, SLATE_ITEM_FIRST_TIME = 4, SLATE_ITEM_SAMPLED = 8 };
struct slate_item {
    struct str id;
    uint64_t item; /* hash_str(id) */
    uint32_t sentence;
    float label;  /* 0, 1; NaN while open or in a request */
    float weight; /* of the example in the loss; 1 by default */
    /* That it stands for, types' weights apart: 1; 0: learnt again (trainer/reservoir.h); of a copy that is learnt early see
     * trainer/loss_delay.h. */
    float examples;
    float taught;      /* probability that train.distill learns beside the label; 0: none.  Set at the step, not kept */
    float apart;       /* not WHOLE: what intercepts and the parts that learn early said of it when it was shown */
    float log_kq;      /* ln(k*q(i)) of the sampling correction; ln r where recorded negatives are learnt at rate r */
    uint32_t flags;    /* enum slate_flag */
    float popularity;  /* baseline scores, higher is better: decayed sales of the item ... */
    float repeat;      /* ... and times this user took the item */
    float age_days;    /* of the item; for the self-check by age */
    float cooccur[2];  /* counts with the user's events' items: mean and largest, as features; 0 without */
    float propensity;  /* of being shown at its place, as the list echoed it: in (0, 1]; 0: not said */
    uint32_t position; /* place in the recorded list, from 1; 0: not from one */
    uint32_t tasks;    /* bit t: task t's behaviour marked the item before the slate was settled; SLATE_CONVERTED */
    uint32_t category; /* hash of its category as it was known; 0: none */
    float served;      /* probability with which it was shown, as the list or the log of answers says; 0: not said */
};
/* A hashed feature's index: its family above so many bits of hash (model.hashed_bits is no more than these). */
#define SLATE_HASH_BITS 28
#define SLATE_HASH_FAMILIES 16
struct slate {
    uint64_t id; /* ordinal of opening within the state folder, from 1 */
    enum slate_source source;
    enum slate_copy copy;
    struct event_position at; /* of the event that opened it */
    int64_t time_ms;
    int64_t settled_ms;          /* event time at which its labels were settled; 0 while open */
    struct str user, request;    /* request: impression's or order's id */
    struct str version, variant; /* that made the list, as it echoed them; absent: not said */
    uint64_t origin;             /* hash of the `source` that the event names; 0: none */
    bool cold_user;
    /* Settled before its window had ended, as the log did (--flush) or memory was short: a label could still have come.  It
     * is learnt, and in no figure; orders wait for nothing and never are.  Not kept. */
    bool cut_off;
    struct slate_sentence *sentences;
    uint32_t n_sentences;
    int32_t *tokens;
    uint32_t n_tokens;
    struct slate_event *events;
    uint32_t n_events; /* E */
    struct slate_item *items;
    uint32_t n_items;     /* K */
    uint32_t n_unseen;    /* shown below these, and not looked at (join.cascade): counted as shown alone; not kept */
    float *numeric;       /* (K, F) raw, not standardised */
    uint32_t n_numeric;   /* F */
    uint32_t *hashed_off; /* K+1 */
    uint32_t *hashed_idx; /* family, then SLATE_HASH_BITS of hash that the part masks to its table */
    float *hashed_val;
    uint8_t type;        /* of the order's behaviour; EVENT_TYPES_MAX: no order */
    uint16_t *segments;  /* (S, K) which value of eval.segments' attribute; for the evaluator alone */
    uint32_t n_segments; /* S */
    /* Unsampled check: of n_ranked active items and the candidates, how many stood above candidate k and how many beside
     * it, by the model's logits and by popularity; NULL: not checked. */
    uint32_t *ranks; /* (SLATE_RANKS, K) */
    uint32_t n_ranked;
    float spread; /* mean of 1 - cosine of the sentence vectors at the top of the model's order; NaN: not known */
    struct arena *arena; /* owns everything above and the struct itself */
};

/* An empty slate in an arena of its own; free with slate_free.  For reuse without allocation: slate_reset. */
enum status slate_new(struct slate **out, struct err *e) MUST_CHECK;
void slate_free(struct slate *s);
void slate_reset(struct slate *s); /* back to empty, memory kept */
/* Items by their age: where each group ends, in days, the last one never; and the group of an age. */
#define SLATE_AGES 8
extern const double slate_age_below[SLATE_AGES];
size_t slate_age_group(double days);
void slate_encode(struct buf *b, const struct slate *s);
/* Decodes into s (reset first).  CORRUPT on any inconsistency (index out of range, counts, NaN where none may be). */
enum status slate_decode(struct slate *s, struct buf_reader *r, struct err *e) MUST_CHECK;
/* Leaves the items i with keep[i] (n_items), in their order; sentences and events stay. */
void slate_keep(struct slate *s, const uint8_t *keep);
/* What a model reads of each candidate (numbers, crosses, its sentence, the user's sentences), hashed: out (K).  Equal hashes,
 * equal features, whatever list the candidate stands in. */
void slate_features(const struct slate *s, uint32_t *out);
/* Adds a sentence (ids copied), returning its index; an equal one already there is reused.  UINT32_MAX: out of memory. */
uint32_t slate_add_sentence(struct slate *s, const int32_t *ids, uint32_t n);
#endif
