/* parade.h - a shop whose items come and go: what sells them is what their titles say, and nothing else lasts.
 *
 * An item is shown 5 to 50 times and never again, so that what is counted of it hardly helps.  Its title is composed of kind,
 * colour, material, style and occasion.  A user has one of a few characters; the utility of a list's item is a fixed function
 * of its attributes that no sum over words can be: two attributes together (and), an aversion that spoils what else is liked
 * (not), kinds that go with the kind clicked last (fits with).  P(click) = sigmoid(bias + utility).  Each attribute has two
 * words, one for the first part of the log and one for the rest (`split`): what was learnt of the first word helps with the
 * second as far as language does.  From `flip` on every preference has the other sign.
 * Lists come at even distances, clicks before the next one.  Random numbers from base/rand.h: equal options, equal bytes.
 */
#ifndef SIMULATE_PARADE_H
#define SIMULATE_PARADE_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include <stdint.h>

#define PARADE_PHASES 3 /* first words; second words; flipped */

struct parade_options {
    uint32_t users, items, slate; /* items: on sale at a time */
    uint64_t events;              /* lines at most */
    uint64_t seed;
    double lists_per_s, split, flip; /* shares of the log; 1: never */
    int64_t start_ms;
};
struct parade_truth {
    uint64_t lists, shown, clicks, items;
    uint64_t lists_of[PARADE_PHASES]; /* how many of `lists` each phase has; the phases follow one another */
    double gauc[PARADE_PHASES];       /* of the utilities themselves: mean AUC of lists with both labels; NaN: none */
};
void parade_defaults(struct parade_options *o);
/* Writes lines through `line` (whole lines); a non-OK return stops (END is passed on).  OOM. */
enum status parade_run(const struct parade_options *o,
                       enum status (*line)(void *user, int64_t time_ms, struct str text), void *user,
                       struct parade_truth *truth, struct err *e) MUST_CHECK;
void parade_write_truth(struct buf *b, const struct parade_options *o, const struct parade_truth *t); /* JSON */
#endif
