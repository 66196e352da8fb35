/* encoder_place.c - the frozen weights where the kernels can read them: as they lie, or copied into the backend's memory once,
 * for all runs of the process.
 */
#include "base/mem.h"
#include "model/encoder_weights.h"

#define ALIGN 16 /* floats */

/* Copies are made one behind the other; without a block their sizes are only added up. */
struct placing {
    struct kern *kern;
    float *block;
    size_t at; /* floats */
};

static void put(struct placing *p, const float **w, size_t n)
{
    if (p->block != NULL) {
        p->kern->ops->upload(p->kern, p->block + p->at, *w, n * sizeof **w);
        *w = p->block + p->at;
    }
    p->at += (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void put_layer(struct placing *p, struct kern_layer *w, const struct encoder_shape *s)
{
    const size_t C = s->C, F = s->F;
    const struct {
        const float **w;
        size_t n;
    } all[] = {{&w->qkv.w, 3 * C * C}, {&w->o.w, C * C},  {&w->up.w, F * C}, {&w->down.w, C * F},
               {&w->qkv_b, 3 * C},     {&w->o_b, C},      {&w->up_b, F},     {&w->down_b, C},
               {&w->ln1_gain, C},      {&w->ln1_bias, C}, {&w->ln2_gain, C}, {&w->ln2_bias, C}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) put(p, all[i].w, all[i].n);
}

static void put_all(struct encoder *m, struct placing *p)
{
    const struct encoder_shape *s = &m->shape;
    struct encoder_embedding *w = &m->placed_embedding;
    put(p, &w->word, s->V * s->C);
    put(p, &w->position, s->P * s->C);
    put(p, &w->type, s->types * s->C);
    put(p, &w->ln_gain, s->C);
    put(p, &w->ln_bias, s->C);
    for (size_t l = 0; l < s->L; l++) put_layer(p, &m->placed[l], s);
}

enum status encoder_place(struct encoder *m, struct kern *k, struct err *e)
{
    m->placed_embedding = m->embedding;
    m->placed = m->layers;
    if (k == NULL || k->ops->host_visible) return STATUS_OK;
    m->placed = mem_calloc(m->shape.L, sizeof *m->placed);
    if (m->placed == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for %zu layers", m->dir, m->shape.L);
    for (size_t l = 0; l < m->shape.L; l++) m->placed[l] = m->layers[l];
    struct placing p = {.kern = k};
    put_all(m, &p);
    m->kern = k;
    m->block = p.block = k->ops->alloc(k, p.at * sizeof(float));
    if (m->block == NULL)
        return ERR_SET(e, STATUS_OOM, "%s: the frozen layers take %zu MiB of backend %s's memory, which is not free",
                       m->dir, p.at * sizeof(float) >> 20, k->ops->name);
    p.at = 0;
    put_all(m, &p);
    return STATUS_OK;
}

void encoder_unplace(struct encoder *m)
{
    for (size_t i = 0; i < m->n_packed; i++) m->kern->ops->unpack(m->kern, encoder_matrix(m, i));
    if (m->block != NULL) m->kern->ops->release(m->kern, m->block);
    if (m->placed != m->layers) mem_free(m->placed);
}

struct kern_matrix *encoder_matrix(struct encoder *m, size_t i)
{
    struct kern_layer *w = &m->placed[i / 4];
    struct kern_matrix *all[4] = {&w->qkv, &w->o, &w->up, &w->down};
    return all[i % 4];
}

const struct kern_layer *encoder_placed_layer(const struct encoder *m, size_t l)
{
    return &m->placed[l];
}

const struct encoder_embedding *encoder_placed_embedding(const struct encoder *m)
{
    return &m->placed_embedding;
}
