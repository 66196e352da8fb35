/* loops_base.c - the cpu backend's loops for every machine: four lanes, no fused multiply-add. */
#define KERN_CPU_TABLE kern_cpu_ops_base
#define KERN_CPU_ISA "base"
#include "kernels/cpu/table.inc"
