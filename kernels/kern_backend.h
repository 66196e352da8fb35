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

extern const struct kern_ops kern_ref_ops;

/* The table for this machine's best instruction set, or for the one named ("avx512", "avx2", "base"; NULL: the best).
 * NULL when the machine has it not. */
const struct kern_ops *kern_cpu_ops(const char *isa);
#endif
