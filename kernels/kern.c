/* kern.c - makes and frees backends by name, and what all of them share. */
#include "kernels/kern.h"
#include "base/log.h"
#include "base/mem.h"
#include "kernels/kern_backend.h"
#include "kernels/kern_plugin.h"
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
                           "kernels: '%s' asks for instructions that this processor or build has not; kernels.cpu=auto "
                           "takes the best that it has",
                           name);
    } else {
        return ERR_SET(e, STATUS_INVALID, "kernels: unknown backend '%s'; use ref, cpu or cuda", name);
    }
    return STATUS_OK;
}

/* settings: what a plug-in's open reads; NULL for the others. */
static enum status make(struct kern **out, const char *name, const struct kern_ops *ops,
                        struct kern_plugin_settings *settings, struct err *e)
{
    struct kern *k = mem_calloc(1, sizeof *k);
    if (k == NULL) return ERR_SET(e, STATUS_OOM, "kernels: no memory for backend %s", name);
    k->ops = ops;
    k->state = settings;
    const enum status st = ops->open(k, e);
    if (st != STATUS_OK) {
        mem_free(k);
        return st;
    }
    *out = k;
    return STATUS_OK;
}

/* text: the settings behind "cuda:", or NULL. */
static enum status make_plugged(struct kern **out, const char *text, struct err *e)
{
    struct kern_plugin_settings settings;
    char path[KERN_NAME_MAX];
    bool to_cpu;
    const struct kern_ops *ops;
    struct err why = {0};
    TRY(kern_plugin_parse(&settings, path, sizeof path, &to_cpu, text, e));
    enum status st = kern_plugin_load(&ops, path, &why);
    if (st == STATUS_OK) st = make(out, "cuda", ops, &settings, &why);
    if (st == STATUS_OK) return st;
    if (to_cpu) {
        log_limited(LOG_WARN, "kernels", "%s; kernels.fallback=cpu: the processor computes instead", why.text);
        return kern_new(out, "cpu", e);
    }
    if (e != NULL) *e = why;
    return st;
}

enum status kern_new(struct kern **out, const char *name, struct err *e)
{
    const struct kern_ops *ops;
    *out = NULL;
    if (strcmp(name, "cuda") == 0 || strncmp(name, "cuda:", 5) == 0)
        return make_plugged(out, name[4] == ':' ? name + 5 : NULL, e);
    TRY(find_ops(&ops, name, e));
    return make(out, name, ops, NULL, e);
}

void kern_use_pool(struct kern *k, struct pool *p)
{
    k->pool = p;
}

void kern_name(const struct conf *c, char out[KERN_NAME_MAX])
{
    if (strcmp(c->kernels_backend, "cuda") == 0) {
        const bool tf32 = strcmp(c->kernels_precision, "tf32") == 0 || strcmp(c->kernels_train_precision, "tf32") == 0;
        const bool cudnn = strcmp(c->kernels_cudnn, "auto") == 0;
        (void)snprintf(out, KERN_NAME_MAX, "cuda:device=%d,memory=%d,kept=%d,tf32=%d,cudnn=%d,fallback=%s,plans=%s,plugin=%s",
                       (int)c->kernels_device, (int)c->kernels_device_mb, (int)c->kernels_device_cache_mb, tf32, cudnn, c->kernels_fallback,
                       c->kernels_plans_dir, c->kernels_plugin);
        return;
    }
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
