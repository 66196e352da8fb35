/* variants.h - the challengers: lines that learn from the same slates beside the learner's own, and how they compare.
 *
 * The learner's line is line 0 of schemas/conf_variant.h ("default"); what is here are the lines of `[variant.NAME]`.  They see
 * the same slates at the same moments, filled once: scored when opened, evaluated and learnt when settled.  What they predicted
 * is kept with the open slate, as further rows behind the default line's part logits.  Which line is in charge is part of the
 * state; here it only says with whom the others are compared.  Without [variant.NAME] sections there are none, and nothing
 * of this costs anything.  Thread: the learner's.
 */
#ifndef JOB_VARIANTS_H
#define JOB_VARIANTS_H
#include "job/line.h"
#include "schemas/conf_variant.h"
#include "schemas/report.h"

struct variants;
/* first (the default line), conf and enc are borrowed. */
enum status variants_new(struct variants **out, const struct conf *c, const struct encoder *enc,
                         const struct line *first, uint32_t n_numeric, struct eval_warmup warmup,
                         struct err *e) MUST_CHECK;
void variants_free(struct variants *v);
size_t variants_count(const struct variants *v);                   /* without the default line */
struct line *variants_line(const struct variants *v, size_t line); /* line 0: the default one */
size_t variants_in_charge(const struct variants *v);
/* From now on, in the state from the next checkpoint on; comparisons begin anew, with slates from next_slate on.  NOT_FOUND: no
 * line of that name. */
enum status variants_promote(struct variants *v, struct str name, uint64_t next_slate, struct err *e) MUST_CHECK;
void variants_split(struct variants *v, uint64_t next_slate); /* shares may have changed (arms_split) */
/* Rows of part logits that an open slate is kept with: the default line's, then each variant's logits and parts. */
size_t variants_rows(const struct variants *v);
/* Every variant's predictions behind the default line's (its predictions of s): into *out, until the next call.  first_ms: when the
 * stream began, which the periods of those that follow count from. */
enum status variants_predict(struct variants *v, const struct slate *s, int64_t first_ms, struct open_predictions *out,
                             struct err *e) MUST_CHECK;
/* What a line said of the slate when it opened, (K) in p; NaN: it was not there yet. */
const float *variants_logits(const struct variants *v, const struct slate *s, const struct open_predictions *p,
                             size_t line);
/* The slate has its labels; p as variants_predict made it when it opened.  Before anything is learnt from it.  estimate: before
 * settle, as line_estimate. */
void variants_estimate(struct variants *v, const struct slate *s, const struct open_predictions *p, int64_t first_ms);
enum status variants_settle(struct variants *v, const struct slate *s, const struct open_predictions *p,
                            int64_t first_ms, struct err *e) MUST_CHECK;
/* Each line learns a copy of s: whole (c NULL), or some of it.  c->shown: as variants_predict made it when s opened. */
enum status variants_learn(struct variants *v, const struct slate *s, const struct line_copies *c,
                           struct err *e) MUST_CHECK;
/* What settled labels say of delays, with each line's own logits in the place of settled->z. */
enum status variants_settle_delays(struct variants *v, const struct slate *s, const struct loss_delay_settled *settled,
                                   const struct open_predictions *p, struct err *e) MUST_CHECK;
enum status variants_step(struct variants *v, struct err *e) MUST_CHECK; /* batches that are not full, too */
enum status variants_advance(struct variants *v, int64_t now_ms, struct err *e) MUST_CHECK; /* line_advance of each */
void variants_report(const struct variants *v, struct report *out);

/* All but the weights and dense moments, which lie in files (job/checkpoint.c); hashed rows included.  A variant that the state
 * does not know begins at nothing, one that the configuration no longer has leaves the state (CONFLICT when it is
 * in charge).  layout: how open slates were kept then: map[row] is the row then, SIZE_MAX: none. */
enum status variants_save(struct variants *v, struct store_txn *t, struct err *e) MUST_CHECK;
void variants_saved(struct variants *v);
#define VARIANTS_ROWS_MAX ((size_t)(CONF_LINES_MAX) * (MODEL_ROWS_MAX + 1))
struct variants_layout {
    size_t rows_then, map[VARIANTS_ROWS_MAX];
};
enum status variants_load(struct variants *v, struct store_txn *t, struct variants_layout *layout,
                          struct err *e) MUST_CHECK;
#endif
