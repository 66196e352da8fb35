/* feat_private.h - the inside of struct feat, shared by feat*.c only: numeric features as a compiled list, hashed ones
 * as a writer, and what both read about one slate.
 */
#ifndef FEATURIZE_FEAT_PRIVATE_H
#define FEATURIZE_FEAT_PRIVATE_H
#include "featurize/catalogue.h"
#include "featurize/cooccur.h"
#include "featurize/counter.h"
#include "featurize/feat.h"
#include "featurize/feat_sentences.h"
#include "featurize/history.h"

#define FEAT_NAME_MAX 64

struct feat_numeric { /* one numeric feature */
    char name[FEAT_NAME_MAX];
    uint8_t kind;   /* index into the table of families in feat_numeric.c */
    uint8_t type;   /* event type or enum record_tally_type, where the family has one */
    uint8_t window; /* half-life or COUNTER_ALL, where it has one */
    uint16_t kappa; /* of a rate */
};
struct feat_view;
struct feat {
    const struct token_vocab *vocab;
    const struct describe *templates;
    struct counter_decay decay;
    struct history_limits limits;
    struct cooccur cooccur;
    uint32_t n_events; /* model.events */
    size_t max_tokens;
    uint32_t n_types;
    bool positive[EVENT_TYPES_MAX]; /* label positive */
    unsigned popularity_window;     /* half-life of the popularity baseline */
    unsigned rate_window;           /* half-life that rates are counted over */
    struct feat_numeric numeric[FEAT_NUMERIC_MAX];
    uint32_t n_numeric;
    /* scratch */
    struct feat_sentences *kept;
    float user_values[FEAT_NUMERIC_MAX]; /* of the slate under way; where the feature is the user's */
    int32_t *ids;                        /* (max_tokens) */
    char text[DESCRIBE_BYTES_MAX];
    uint32_t *hashed_idx; /* (n_hashed, cap_hashed) of the slate under way */
    float *hashed_val;
    size_t n_hashed, cap_hashed;
    struct feat_view *views; /* (cap_views) of the candidates */
    size_t cap_views;
    struct pool *pool; /* NULL: none */
    uint64_t tokens_seen, tokens_unknown;
    feat_sentence_fn *sentence; /* NULL: nobody wants to know */
    void *sentence_user;
};

/* What the features of one candidate read. */
struct feat_view {
    struct feat *f;
    const struct slate *s;
    const struct record_user *user; /* NULL: nobody known */
    const struct record_item *item; /* NULL: nothing known */
    uint64_t item_hash, user_hash;
    const struct record_pair *pairs; /* the user's with the item */
    uint32_t n_pairs;
    const int32_t *ids; /* of the item's sentence, [CLS] and [SEP] included */
    uint32_t n_ids;
    const struct event_attr *context;
    uint32_t n_context;
    bool known;
};
/* Compiles model.features.  INVALID names the unknown one and shows the families. */
enum status feat_numeric_init(struct feat *f, const struct conf *c, struct err *e) MUST_CHECK;
/* The user's features, once a slate; then each candidate's row: (n_numeric), all finite. */
void feat_numeric_user(const struct feat_view *v);
void feat_numeric_fill(const struct feat_view *v, float *out);
/* Appends a candidate's hashed features to f's scratch. OOM. */
enum status feat_hashed_add(const struct feat_view *v, struct err *e) MUST_CHECK;
double feat_days(int64_t from_ms, int64_t to_ms); /* at least 0 */
#endif
