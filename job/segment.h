/* segment.h - which value of each attribute of eval.segments the candidates of a slate have.
 *
 * eval.segments=user.country,item.category,context.page: attributes of the user, of the item, of a recorded list's context, as
 * they were known when the slate opened.  Values are numbered by first sight, 32 a column; later ones are "other".  The
 * numbers lie in the slate, their meaning here, and both in the state.  Thread: the learner's.
 */
#ifndef JOB_SEGMENT_H
#define JOB_SEGMENT_H
#include "featurize/world.h"
#include "trainer/eval_segments.h"

struct segment;
/* INVALID names the key: a column without user., item. or context., or more than SLATE_SEGMENTS_MAX. */
enum status segment_new(struct segment **out, const struct conf *c, struct err *e) MUST_CHECK;
void segment_free(struct segment *g);
size_t segment_count(const char *list); /* how many columns eval.segments names */
/* Fills s->segments of a filled slate.  context (n): of the list; NULL for orders. */
enum status segment_fill(struct segment *g, struct world *w, struct slate *s, const struct event_attr *context,
                         uint32_t n, struct err *e) MUST_CHECK;
struct eval_names segment_names(struct segment *g); /* for the report; lives with g */
void segment_encode(struct buf *b, const struct segment *g);
/* Of other columns than g's: nothing is taken. */
enum status segment_decode(struct segment *g, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
