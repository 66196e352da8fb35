/* loops_avx512.c - the cpu backend's loops for avx512; compiled with that instruction set's flags, chosen by CPUID. */
#include "kernels/cpu/cpu.h"
#ifdef __AVX512F__
#define KERN_CPU_TABLE kern_cpu_ops_avx512
#define KERN_CPU_ISA "avx512"
#include "kernels/cpu/table.inc"
#else
const struct kern_ops kern_cpu_ops_avx512 = {0}; /* not compiled for it */
#endif
