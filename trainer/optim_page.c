/* optim_page.c - sparse rows by pages of 64 numbers: what changed, out and in, as records. */
#include "trainer/optim_private.h"
#include <math.h>
#include <string.h>

#define NONE SIZE_MAX

size_t optim_pages(const struct optim *o)
{
    return (o->n_sparse + OPTIM_PAGE - 1) / OPTIM_PAGE;
}

size_t optim_dirty_page(const struct optim *o, size_t from)
{
    const size_t n = optim_pages(o);
    for (size_t page = from; page < n; page++) {
        const uint64_t rest = o->dirty[page / 64] >> (page % 64);
        if (rest != 0) return page + (size_t)__builtin_ctzll(rest);
        page |= 63; /* on to the next word */
    }
    return SIZE_MAX;
}

void optim_sparse_saved(struct optim *o)
{
    memset(o->dirty, 0, (optim_pages(o) / 64 + 1) * sizeof *o->dirty);
}

/* acc[i]: the accumulator of number i of a page; NONE: padding, or beyond the end. */
static void accumulators(const struct optim *o, size_t page, size_t acc[OPTIM_PAGE])
{
    const size_t from = page * OPTIM_PAGE;
    for (size_t i = 0; i < OPTIM_PAGE; i++) acc[i] = NONE;
    for (size_t t = 0; t < o->n_tensors; t++) {
        const struct optim_tensor *s = &o->tensors[t];
        const size_t first = s->first > from ? s->first : from;
        const size_t past = s->first + s->n < from + OPTIM_PAGE ? s->first + s->n : from + OPTIM_PAGE;
        for (size_t at = first; at < past; at++) acc[at - from] = s->row + (at - s->first) / s->width;
    }
}

void optim_page_get(const struct optim *o, const struct param_set *p, size_t page, struct optim_page *out)
{
    const float *w = p->w + o->t->group_first[PARAM_SPARSE];
    size_t acc[OPTIM_PAGE];
    accumulators(o, page, acc);
    for (size_t i = 0; i < OPTIM_PAGE; i++) {
        const size_t at = page * OPTIM_PAGE + i;
        out->w[i] = at < o->n_sparse ? w[at] : 0.0f;
        out->acc[i] = acc[i] != NONE && o->sparse != NULL ? o->sparse[acc[i]] : 1.0f;
    }
}

/* Whether number i of a page has the accumulator of the one before it. */
static bool shared(const size_t acc[OPTIM_PAGE], size_t i)
{
    return i > 0 && acc[i] != NONE && acc[i] == acc[i - 1];
}

size_t optim_page_encode(const struct optim *o, size_t page, const struct optim_page *in, void *out)
{
    size_t acc[OPTIM_PAGE], n = 0;
    float kept[OPTIM_PAGE];
    accumulators(o, page, acc);
    for (size_t i = 0; i < OPTIM_PAGE; i++)
        if (!shared(acc, i)) kept[n++] = in->acc[i];
    memcpy(out, in->w, sizeof in->w);
    memcpy((unsigned char *)out + sizeof in->w, kept, n * sizeof *kept);
    return sizeof in->w + n * sizeof *kept;
}

enum status optim_page_decode(const struct optim *o, size_t page, const void *bytes, size_t n, struct optim_page *out,
                              struct err *e)
{
    size_t acc[OPTIM_PAGE], want = sizeof out->w, at = sizeof out->w;
    accumulators(o, page, acc);
    for (size_t i = 0; i < OPTIM_PAGE; i++) want += shared(acc, i) ? 0 : sizeof *out->acc;
    if (n != want)
        return ERR_SET(e, STATUS_CORRUPT, "sparse rows: the record of page %zu has %zu bytes, %zu expected", page, n,
                       want);
    memcpy(out->w, bytes, sizeof out->w);
    for (size_t i = 0; i < OPTIM_PAGE; i++) {
        if (shared(acc, i)) {
            out->acc[i] = out->acc[i - 1];
            continue;
        }
        memcpy(&out->acc[i], (const unsigned char *)bytes + at, sizeof *out->acc);
        at += sizeof *out->acc;
    }
    return STATUS_OK;
}

enum status optim_page_put(struct optim *o, struct param_set *p, size_t page, const struct optim_page *in,
                           struct err *e)
{
    if (page >= optim_pages(o))
        return ERR_SET(e, STATUS_INVALID, "sparse rows: page %zu, there are %zu", page, optim_pages(o));
    for (size_t i = 0; i < OPTIM_PAGE; i++) {
        if (!isfinite(in->w[i]) || !isfinite(in->acc[i]) || in->acc[i] < 1.0f)
            return ERR_SET(e, STATUS_CORRUPT, "sparse rows: page %zu, number %zu is %g with accumulator %g", page, i,
                           (double)in->w[i], (double)in->acc[i]);
    }
    TRY(optim_need_sparse(o, e));
    float *w = p->w + o->t->group_first[PARAM_SPARSE];
    size_t acc[OPTIM_PAGE];
    accumulators(o, page, acc);
    for (size_t i = 0; i < OPTIM_PAGE && page * OPTIM_PAGE + i < o->n_sparse; i++) {
        w[page * OPTIM_PAGE + i] = in->w[i];
        if (acc[i] != NONE) o->sparse[acc[i]] = in->acc[i];
    }
    param_touch(p);
    return STATUS_OK;
}
