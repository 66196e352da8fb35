/* kern_backend.h - what the backends show to kern.c, and nobody else: their tables and the head of their state.
 *
 * Every backend's state begins with struct kern_state, so that kern_describe needs no entry in the table.
 */
#ifndef KERNELS_KERN_BACKEND_H
#define KERNELS_KERN_BACKEND_H
#include "kernels/kern.h"

struct kern_state {
    char about[120]; /* "cpu (avx512, register tiles, 1 thread)" */
};

/* The segments of one group, as loops over groups take them: prefix rows from `first` on. */
struct kern_group {
    size_t n;
    const int32_t *q_off, *k_off; /* (n+1) of the whole's */
    size_t first, prefix;
};
/* 1 where there is no prefix: all segments, and none of its rows. */
static inline size_t kern_groups(const struct kern_segments *seg)
{
    return seg->groups > 0 ? seg->groups : 1;
}

static inline struct kern_group kern_group(const struct kern_segments *seg, size_t g)
{
    if (seg->groups == 0) {
        const struct kern_group all = {seg->n, seg->q_off, seg->k_off, 0, 0};
        return all;
    }
    const size_t s = (size_t)seg->s_off[g], first = (size_t)seg->p_off[g];
    const struct kern_group one = {(size_t)seg->s_off[g + 1] - s, seg->q_off + s, seg->k_off + s, first,
                                   (size_t)seg->p_off[g + 1] - first};
    return one;
}

extern const struct kern_ops kern_ref_ops;

/* The table for this machine's best instruction set, or for the one named ("avx512", "avx2", "base"; NULL: the best).
 * NULL when the machine has it not. */
const struct kern_ops *kern_cpu_ops(const char *isa);
#endif
