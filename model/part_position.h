/* part_position.h - what a place in a shown list does to the label, beside the intercepts (part_bias.c): learnt, never served.
 *
 *   while learning a recorded list    z += sum over b of w_b (x_b - share_b)      x_b = 1 when floor(log2(place)) = b
 *   whenever a list is scored         z += 0: a place is neutral at the mean of the places learnt from
 *
 * So what being first brings is not put down to the item (Richardson et al. 2007; Zhao et al. 2019), and figures, served scores and
 * ranking know nothing of places.  The shares are running statistics.  Where one ranker alone decides on places, they can't be told
 * from quality; lists of partly random order can (slate_item.propensity).
 */
#ifndef MODEL_PART_POSITION_H
#define MODEL_PART_POSITION_H
#include "model/part.h"

enum { PART_PLACES = 10 }; /* places 1, 2-3, 4-7, ... 512-1,000 */

struct part_position { /* architecture */
    bool on;
    size_t weight, share; /* tensors: (1, PART_PLACES), (PART_PLACES) */
};
struct part_position_run {
    const struct part_position *of;
    struct op_matrix weight;
    const float *share;                             /* host */
    double total[PART_PLACES], recent[PART_PLACES]; /* examples learnt; since the last apply */
};
enum status part_position_create(struct part_position *p, const struct part_env *env, struct param_table *t,
                                 struct err *e) MUST_CHECK;
void part_position_bind(struct part_position_run *r, const struct part_params *p);
/* z of the lists' candidates as it is, or with the places' share of it when recorded lists among them are learnt from. */
struct tape_value part_position_add(struct part_position_run *r, const struct part_list *lists, size_t n,
                                    struct tape_value z);
void part_position_learnt(struct part_position_run *r, const struct slate *s);
void part_position_apply(struct part_position_run *r, const struct param_table *t, float *w);
void part_position_drop(struct part_position_run *r);
void part_position_encode(struct buf *b, const struct part_position_run *r);
enum status part_position_decode(struct part_position_run *r, struct buf_reader *rd, struct err *e) MUST_CHECK;
#endif
