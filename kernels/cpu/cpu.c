/* cpu.c - the cpu backend's choice of instruction set, and its state. */
#include "kernels/cpu/cpu.h"
#include "base/mem.h"
#include "kernels/cpu/blas.h"
#include "kernels/kern_backend.h"
#include <stdio.h>
#include <string.h>

static bool has_avx2(void)
{
#if defined(__x86_64__)
    return kern_cpu_ops_avx2.name != NULL && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_avx512bf16(void)
{
#if defined(__x86_64__)
    return kern_cpu_ops_avx512bf16.name != NULL && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#if defined(__x86_64__)
    return kern_cpu_ops_avx512.name != NULL && has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

const struct kern_ops *kern_cpu_ops(const char *isa)
{
    const struct {
        const char *name;
        const struct kern_ops *ops;
        bool there;
    } sets[] = {{"avx512bf16", &kern_cpu_ops_avx512bf16, has_avx512bf16()},
                {"avx512", &kern_cpu_ops_avx512, has_avx512()},
                {"avx2", &kern_cpu_ops_avx2, has_avx2()},
                {"base", &kern_cpu_ops_base, true}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i].there && (isa == NULL || strcmp(isa, sets[i].name) == 0)) return sets[i].ops;
    return NULL;
}

struct kern_cpu {
    struct kern_state head;
    void *scratch;
};

void *kern_cpu_scratch(const struct kern *k)
{
    return ((const struct kern_cpu *)k->state)->scratch;
}

enum status kern_cpu_open(struct kern *k, const char *isa, bool tiles, struct err *e)
{
    char blas[64] = "register tiles";
    struct kern_cpu *s = mem_calloc(1, sizeof *s);
    if (s != NULL) s->scratch = mem_aligned(KERN_CPU_SCRATCH, 1);
    if (s == NULL || s->scratch == NULL) {
        mem_free(s);
        return ERR_SET(e, STATUS_OOM, "kernels: no memory for backend cpu");
    }
    if (!tiles) kern_blas_open(blas, sizeof blas);
    (void)snprintf(s->head.about, sizeof s->head.about, "cpu (%s, %s)", isa, blas);
    k->state = s;
    return STATUS_OK;
}

void kern_cpu_close(struct kern *k)
{
    struct kern_cpu *s = k->state;
    mem_free(s->scratch);
    mem_free(s);
    k->state = NULL;
}
