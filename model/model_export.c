/* model_export.c - see model_export.h. */
#include "model/model_export.h"
#include "base/mem.h"
#include "model/safetensors.h"
#include <stdio.h>
#include <string.h>

#define PATH_MAX_BYTES 1024

/* Whether w is one of the arrays that stand in a replaced layer. */
static bool in_a_layer(const float *w, const struct encoder_replaced *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct kern_layer *y = &r[i].weights;
        const float *const all[] = {y->qkv.w, y->o.w,    y->up.w,     y->down.w,   y->qkv_b,    y->o_b,
                                    y->up_b,  y->down_b, y->ln1_gain, y->ln1_bias, y->ln2_gain, y->ln2_bias};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (all[k] == w) return true;
    }
    return false;
}

static enum status write_rest(const struct param_table *t, const struct param_set *p, const struct encoder_replaced *r,
                              size_t n_layers, const char *dir, struct err *e)
{
    char path[PATH_MAX_BYTES];
    size_t n = 0;
    if (snprintf(path, sizeof path, "%s/" MODEL_EXPORT_FILE, dir) >= (int)sizeof path)
        return ERR_SET(e, STATUS_INVALID, "export: the folder's name is over %d bytes", PATH_MAX_BYTES);
    struct safetensors_tensor *rest = mem_calloc(t->n, sizeof *rest);
    if (rest == NULL) return ERR_SET(e, STATUS_OOM, "export: no memory for a table of %zu tensors", t->n);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *from = &t->params[i];
        if (in_a_layer(p->w + from->offset, r, n_layers)) continue;
        struct safetensors_tensor *to = &rest[n++];
        *to = (struct safetensors_tensor){.name = from->name,
                                          .type = SAFETENSORS_F32,
                                          .rank = from->rank,
                                          .n = from->n,
                                          .data = (const unsigned char *)(p->w + from->offset),
                                          .bytes = from->n * sizeof(float)};
        for (uint8_t d = 0; d < from->rank; d++) to->shape[d] = from->shape[d];
    }
    const enum status st = safetensors_write(path, rest, n, e);
    mem_free(rest);
    return st;
}

enum status model_export_folder(const struct model *m, const struct encoder *enc, const struct param_set *p,
                                const char *dir, size_t *n_layers, struct err *e)
{
    const size_t L = encoder_shape(enc)->L;
    struct encoder_replaced *r = mem_calloc(L, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "export: no memory for %zu layers", L);
    const size_t n = model_replaced_layers(m, p, r, L);
    enum status st = encoder_write_folder(enc, dir, r, n, e);
    if (st == STATUS_OK) st = write_rest(model_table(m), p, r, n, dir, e);
    if (n_layers != NULL) *n_layers = n;
    mem_free(r);
    return st;
}
