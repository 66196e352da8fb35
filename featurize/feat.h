/* feat.h - from records to a slate's arrays: the code that learner and scorer share.
 *
 * Pure: reads records, a time and a context; writes sentences, numeric and hashed features into a slate.  Knows nothing
 * of where the records came from (tables of the learner, Redis of the scorer) and nothing of labels.  Everything
 * that depends on time is computed from the slate's time.
 */
#ifndef FEATURIZE_FEAT_H
#define FEATURIZE_FEAT_H
#include "base/pool.h"
#include "base/status.h"
#include "featurize/describe.h"
#include "featurize/token.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include "schemas/slate.h"

#define FEAT_NUMERIC_MAX 128
#define FEAT_HASHED_MAX 256 /* hashed features of one candidate at most */

struct feat; /* immutable after feat_new except its scratch: one per thread */
/* vocab and templates are borrowed and must outlive it. INVALID names an unknown feature in model.features. */
enum status feat_new(struct feat **out, const struct conf *c, const struct token_vocab *vocab,
                     const struct describe *templates, struct err *e) MUST_CHECK;
void feat_free(struct feat *f);
uint32_t feat_count(const struct feat *f); /* F, numeric features */
const char *feat_name(const struct feat *f, uint32_t i);
/* Called with every sentence that a behaviour brings into a user's history, and its item's: they will be asked for when the
 * next lists are scored.  ids (n) are valid during the call. */
typedef void feat_sentence_fn(void *user, const int32_t *ids, uint32_t n);
void feat_on_sentence(struct feat *f, feat_sentence_fn *fn, void *user);
/* Item's and event's sentence as token ids in f's scratch (valid until the next call). */
enum status feat_item_sentence(struct feat *f, const struct record_attr *attrs, uint32_t n_attrs, const int32_t **ids,
                               uint32_t *n, struct err *e) MUST_CHECK;
enum status feat_event_sentence(struct feat *f, uint8_t type, const char *type_name,
                                const struct record_attr *item_attrs, uint32_t n_attrs, const int32_t **ids,
                                uint32_t *n, struct err *e) MUST_CHECK;
#define FEAT_ROW_NONE UINT32_MAX /* record_item.row of a stand-in */
/* A candidate: its record, or a stand-in built from inline attributes (feat_item_from_attrs; it does not count as known).
 * NULL record: nothing is known but the id. */
struct feat_candidate {
    struct str id;
    const struct record_item *item;
    float label, weight, log_kq; /* NaN, 1, 0 by default */
    uint32_t flags;              /* SLATE_ITEM_SAMPLED; the rest is set here */
};
/* Fills user side and candidates of an empty slate (slate_reset): id, at, time, source, user, request are set by the
 * caller before.  user NULL: nobody known.  Events newer than the slate's time count as age 0. */
enum status feat_fill(struct feat *f, struct slate *s, const struct record_user *user,
                      const struct feat_candidate *items, uint32_t n, const struct event_attr *context,
                      uint32_t n_context, struct err *e) MUST_CHECK;
/* Shares the candidates of a slate with p's workers (borrowed; NULL: nobody's). */
void feat_use_pool(struct feat *f, struct pool *p);
/* What a request brings inline: attributes become a stand-in item record (owned by the caller: record_item_fini).  *out
 * zeroed, its scratch may be set. */
enum status feat_item_from_attrs(struct feat *f, struct record_item *out, struct str id, const struct event_attr *attrs,
                                 uint32_t n, int64_t time_ms, struct err *e) MUST_CHECK;
/* Puts one event in front of a user record's history (what the learner does when it takes a behaviour, and the scorer with
 * a request's `history`).  item may be NULL (unknown). */
enum status feat_user_take(struct feat *f, struct record_user *u, const struct record_item *item, struct str item_id,
                           uint8_t type, const char *type_name, double price, int64_t time_ms,
                           struct err *e) MUST_CHECK;
/* The templates given at feat_new; and a hash of templates, vocabulary and feature names: all that a sentence's ids and
 * the meaning of a slate's numbers follow from. */
const struct describe *feat_templates(const struct feat *f);
uint64_t feat_fingerprint(const struct feat *f);
/* The same with what else a slate's numbers are made by of a record and a request: limits of histories, half-lives, types.  A scorer
 * whose own differs from the learner's computes other scores (FEAT_RECIPE_KEYS). */
uint64_t feat_recipe(const struct feat *f);
#define FEAT_RECIPE_KEYS                                                                                               \
    "describe.*, type.*, model.base's vocabulary, model.max_tokens, model.features, model.events, history.events, "    \
    "history.pairs, counter.half_lives_hours and cooccur.half_life_days"
void feat_document(struct buf *b);               /* the numeric features there are, as a section of CONFIG.md */
uint64_t feat_tokens_seen(const struct feat *f); /* tokens made from text so far, and how many were [UNK] */
uint64_t feat_tokens_unknown(const struct feat *f);
#endif
