/* kern.c - makes and frees backends by name, and what all of them share. */
#include "kernels/kern.h"
#include "base/mem.h"
#include "kernels/kern_backend.h"
#include "schemas/conf.h"
#include <stdio.h>
#include <string.h>

static enum status find_ops(const struct kern_ops **out, const char *name, struct err *e)
{
    *out = NULL;
    if (strcmp(name, "ref") == 0) {
        *out = &kern_ref_ops;
    } else if (strcmp(name, "cpu") == 0) {
        *out = kern_cpu_ops(NULL);
    } else if (strncmp(name, "cpu-", 4) == 0) {
        *out = kern_cpu_ops(name + 4);
        if (*out == NULL)
            return ERR_SET(e, STATUS_UNSUPPORTED,
                           "kernels: backend '%s' asks for instructions that this processor or build has not; use cpu",
                           name);
    } else if (strcmp(name, "cuda") == 0) {
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "kernels: the cuda plug-in is not part of this build; set kernels.backend=cpu");
    } else {
        return ERR_SET(e, STATUS_INVALID, "kernels: unknown backend '%s'; use ref, cpu or cuda", name);
    }
    return STATUS_OK;
}

enum status kern_new(struct kern **out, const char *name, struct err *e)
{
    const struct kern_ops *ops;
    *out = NULL;
    TRY(find_ops(&ops, name, e));
    struct kern *k = mem_calloc(1, sizeof *k);
    if (k == NULL) return ERR_SET(e, STATUS_OOM, "kernels: no memory for backend %s", name);
    k->ops = ops;
    const enum status st = ops->open(k, e);
    if (st != STATUS_OK) {
        mem_free(k);
        return st;
    }
    *out = k;
    return STATUS_OK;
}

void kern_use_pool(struct kern *k, struct pool *p)
{
    k->pool = p;
}

void kern_name(const struct conf *c, char out[KERN_NAME_MAX])
{
    const bool chosen = strcmp(c->kernels_backend, "cpu") == 0 && strcmp(c->kernels_cpu, "auto") != 0;
    (void)snprintf(out, KERN_NAME_MAX, "%s%s%s", c->kernels_backend, chosen ? "-" : "", chosen ? c->kernels_cpu : "");
}

enum kern_precision kern_precision_of(const char *word)
{
    return strcmp(word, "int8") == 0 ? KERN_INT8 : strcmp(word, "bf16") == 0 ? KERN_BF16 : KERN_F32;
}

void kern_free(struct kern *k)
{
    if (k == NULL) return;
    k->ops->close(k);
    mem_free(k);
}

const char *kern_describe(const struct kern *k)
{
    const struct kern_state *s = k->state;
    return s->about;
}

size_t kern_attention_probs(const struct kern_segments *seg, size_t H)
{
    size_t n = 0;
    for (size_t s = 0; s < seg->n; s++) {
        const size_t queries = (size_t)(seg->q_off[s + 1] - seg->q_off[s]);
        const size_t own = (size_t)(seg->k_off[s + 1] - seg->k_off[s]);
        n += queries * H * (seg->prefix + own);
    }
    return n;
}
