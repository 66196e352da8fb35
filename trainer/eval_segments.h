/* eval_segments.h - the model's figures by segment: attributes of eval.segments, behaviour type, position, version, variant.
 *
 * A column is an attribute; a candidate has one value in each.  Configured columns come as numbers in slate.segments (who
 * numbers them bounds them: EVAL_VALUES at most); type is the order's behaviour or "impression"; position the place in a
 * recorded list (1 … 10, then in ranges).  Versions and variants are those that recorded lists echo: the EVAL_ECHOES last
 * seen of each, what is older summed up.  Meters are made when a value is first seen: memory is bounded, and flat once
 * all are there.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_SEGMENTS_H
#define TRAINER_EVAL_SEGMENTS_H
#include "base/status.h"
#include "schemas/slate.h"
#include "trainer/eval_light.h"

#define EVAL_VALUES 34 /* of a column: none, other, and 32 */
#define EVAL_ECHOES 16
enum { EVAL_COLUMN_TYPE, EVAL_COLUMN_POSITION, EVAL_COLUMN_CONFIGURED };
#define EVAL_COLUMNS (EVAL_COLUMN_CONFIGURED + SLATE_SEGMENTS_MAX)

struct eval_echo {
    char name[64]; /* empty: unused */
    uint64_t seen; /* slate that had it last */
    struct eval_light model;
};
struct eval_echoes {
    struct eval_echo newest[EVAL_ECHOES];
    struct eval_light older;
};
struct eval_segments {
    uint32_t n_configured;
    struct eval_light *meters[EVAL_COLUMNS][EVAL_VALUES]; /* NULL: never seen */
    struct eval_echoes versions, variants;
};
/* What the numbers of configured columns mean, and the names of behaviour types. */
struct eval_names {
    void *user;
    const char *(*column)(void *user, size_t column);
    const char *(*value)(void *user, size_t column, size_t value); /* NULL: none of that number */
    const char *(*type)(void *user, uint8_t type);
};
void eval_segments_free(struct eval_segments *g);
/* mask (K): scratch.  ordinal: of the slate, ascending.  OOM: counted nowhere from there on. */
enum status eval_segments_add(struct eval_segments *g, const struct slate *s, const struct eval_terms *t, uint8_t *mask,
                              uint64_t ordinal, struct err *e) MUST_CHECK;
void eval_segments_report(const struct eval_segments *g, const struct eval_names *names, struct report_detail *out);
void eval_segments_encode(struct buf *b, const struct eval_segments *g);
enum status eval_segments_decode(struct eval_segments *g, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
