/* open.h - slates between opening and settling, with what was predicted: packed, so that many fit and a checkpoint is a copy.
 *
 * A table from slate id to bytes {slate, logits, part logits, frozen cosines}.  New ones are written to the store at the
 * next checkpoint, settled ones deleted there.
 */
#ifndef JOB_OPEN_H
#define JOB_OPEN_H
#include "base/buf.h"
#include "base/status.h"
#include "base/store.h"
#include "schemas/slate.h"

struct open_slates;
struct open_predictions {
    float *logits, *part_logits, *frozen; /* (K), (n_parts, K), (K) */
    size_t n_parts;                       /* rows of model_score: parts and tasks */
};
enum status open_new(struct open_slates **out, size_t n_parts, struct err *e) MUST_CHECK;
void open_free(struct open_slates *o);
enum status open_put(struct open_slates *o, const struct slate *s, const struct open_predictions *p,
                     struct err *e) MUST_CHECK;
/* Takes a slate out: decodes into s, predictions into p (arrays in s's arena). NOT_FOUND: no such slate. */
enum status open_take(struct open_slates *o, uint64_t id, struct slate *s, struct open_predictions *p,
                      struct err *e) MUST_CHECK;
/* The same without taking it out. */
enum status open_look(const struct open_slates *o, uint64_t id, struct slate *s, struct open_predictions *p,
                      struct err *e) MUST_CHECK;
/* The first n of k candidates' predictions, in place. */
void open_predictions_cut(struct open_predictions *p, size_t k, size_t n);
size_t open_count(const struct open_slates *o);
size_t open_bytes(const struct open_slates *o);   /* packed slates held */
size_t open_unsaved(const struct open_slates *o); /* of these, bytes that no checkpoint holds yet */
enum status open_save(struct open_slates *o, struct store_txn *t, struct err *e) MUST_CHECK;
void open_saved(struct open_slates *o);
enum status open_load(struct open_slates *o, struct store_txn *t, struct err *e) MUST_CHECK;
/* After open_load of slates that were kept with rows_then part logits: row i is from now on what row map[i] (n_parts of them)
 * was, NaN where map[i] is SIZE_MAX.  The changed records go out with the next checkpoint. */
enum status open_relayout(struct open_slates *o, size_t rows_then, const size_t *map, struct err *e) MUST_CHECK;
#endif
