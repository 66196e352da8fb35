/* cpu.h - what the cpu backend's files share: its tables, and how it opens and closes.
 *
 * There is one table per instruction set: the same loops (table.inc), each compiled with its own flags.
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H
#include "kernels/kern.h"

/* A table whose name is NULL was not compiled for its instruction set. */
extern const struct kern_ops kern_cpu_ops_avx512, kern_cpu_ops_avx2, kern_cpu_ops_base;

enum status kern_cpu_open(struct kern *k, const char *isa, bool tiles, struct err *e); /* tiles: products are our own */
void kern_cpu_close(struct kern *k);
#endif
