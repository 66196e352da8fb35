/* model_walk.h - slates on one tape: through the parts to their losses, and back.  For model_learn.c and model_steps.c.
 *
 * What is walked is what the run's pace says (enum model_pace): all parts, the quick ones, or the slow ones.
 */
#ifndef MODEL_MODEL_WALK_H
#define MODEL_MODEL_WALK_H
#include "model/model_inside.h"

#define WALK_MOST 256 /* slates on one tape */
#define WALK_FEW                                                                                                       \
    16 /* up to so many, parts that are only `wide` go slate by slate: where memory is the host's there are no more */

#define WALK_TERMS 3 /* of a slate's loss: binary cross-entropy, softmax, tasks */

struct walk { /* one slate */
    struct part_slate ps;
    uint32_t *all;
    float *labels, *soft, *weights; /* soft: what train.distill makes of the labels, or NULL; slate after slate */
    float *raw, *slope;             /* logits and their gradients, once they are told */
    float terms[WALK_TERMS];        /* of the loss, likewise */
    struct tape_value z[MODEL_PARTS_MAX + 1]; /* (K,1) each */
    struct tape_value sum;
    bool late[MODEL_PARTS_MAX + 1]; /* walked back in chunks, after the loss */
};
/* The tape's last step before each part. */
struct walk_below {
    const struct tape_step *part[MODEL_PARTS_MAX + 1];
};

/* Opens all slates on the run's tape, which the caller has reset. */
enum status walk_open(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed, struct walk *l,
                      struct err *e) MUST_CHECK;
/* Adds what the parts say to each slate's sum. */
enum status walk_forward(struct model_run *r, struct walk *l, size_t n, struct walk_below *below,
                         struct err *e) MUST_CHECK;
/* The losses and their logits' gradients; what they come to and raw are asked for (tape_settle). */
enum status walk_losses(struct model_run *r, struct walk *l, size_t n, struct err *e) MUST_CHECK;
/* loss (n): of each slate, once it is told; false: one is not finite. */
bool walk_totals(const struct model_run *r, const struct walk *l, size_t n, double *loss);
/* From the gradients of the sums; adds into the run's. */
enum status walk_back(struct model_run *r, struct walk *l, size_t n, const struct walk_below *below,
                      struct err *e) MUST_CHECK;
/* Asks for the slates' logits (raw), or their gradients (slope). */
enum status walk_bring(struct model_run *r, struct walk *l, size_t n, bool slopes, struct err *e) MUST_CHECK;
/* All of it (model_learn.c): loss (n), and what parts are told is there.  at_once: nothing has come to the gradients that are learnt
 * now; the host waits for the backend once, at the end.  *bad: a loss is not finite, and nothing was added. */
enum status walk_through(struct model_run *r, struct walk *l, size_t n, bool at_once, double *loss, bool *bad,
                         struct err *e) MUST_CHECK;
/* Tells the parts what was learnt of the slates, whose logits and gradients are told. */
void walk_tell(struct model_run *r, const struct walk *l, size_t n);
/* Whether the part learns from the slate at the run's pace. */
bool walk_learns(const struct model_run *r, size_t part, const struct slate *s);
#endif
