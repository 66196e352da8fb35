/* param.c - see param.h.  Building keeps tensors in order of add; seal moves them once into file order. */
#include "model/param.h"
#include "base/arena.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

static enum status check_new(const struct param_table *t, const char *name, uint8_t rank, const uint32_t *shape,
                             size_t *n, struct err *e)
{
    if (t->total != 0) return ERR_SET(e, STATUS_INVALID, "parameter %s: the table is sealed already", name);
    if (name[0] == 0 || strlen(name) >= WEIGHTS_NAME_MAX)
        return ERR_SET(e, STATUS_INVALID, "parameter name of %zu bytes: 1 to %d allowed", strlen(name),
                       WEIGHTS_NAME_MAX - 1);
    if (t->n >= WEIGHTS_TENSORS_MAX)
        return ERR_SET(e, STATUS_INVALID, "parameter %s: a table has at most %d tensors", name, WEIGHTS_TENSORS_MAX);
    if (rank < 1 || rank > 4) return ERR_SET(e, STATUS_INVALID, "parameter %s: rank %u, must be 1 to 4", name, rank);
    *n = 1;
    for (uint8_t i = 0; i < rank; i++) {
        if (shape[i] == 0 || __builtin_mul_overflow(*n, (size_t)shape[i], n) || *n > SIZE_MAX / 64)
            return ERR_SET(e, STATUS_INVALID, "parameter %s: dimension %u is %u", name, i, shape[i]);
    }
    if (param_find(t, name) != NULL) return ERR_SET(e, STATUS_INVALID, "parameter %s exists already", name);
    return STATUS_OK;
}

enum status param_table_add(struct param_table *t, const char *name, enum param_group group, uint8_t rank,
                            const uint32_t *shape, float rate, float weight_decay, size_t *index, struct err *e)
{
    size_t n = 0;
    TRY(check_new(t, name, rank, shape, &n, e));
    if (MEM_GROW(t->params, &t->cap, t->n + 1) != 0 || MEM_GROW(t->place, &t->place_cap, t->n + 1) != 0)
        return ERR_SET(e, STATUS_OOM, "parameter table: %zu tensors", t->n + 1);
    struct param *p = &t->params[t->n];
    *p = (struct param){.group = group, .rank = rank, .n = n, .rate = rate, .weight_decay = weight_decay};
    memcpy(p->name, name, strlen(name) + 1);
    memcpy(p->shape, shape, rank * sizeof *shape);
    t->place[t->n] = t->n;
    if (index != NULL) *index = t->n;
    t->n++;
    return STATUS_OK;
}

size_t param_end(const struct param *p)
{
    return (p->offset + p->n + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
}

enum status param_table_seal(struct param_table *t, struct err *e)
{
    if (t->total != 0) return ERR_SET(e, STATUS_INVALID, "parameter table: sealed twice");
    if (t->n == 0) return ERR_SET(e, STATUS_INVALID, "parameter table: empty");
    struct param *sorted = mem_calloc(t->n, sizeof *sorted);
    if (sorted == NULL) return ERR_SET(e, STATUS_OOM, "parameter table: %zu tensors", t->n);
    size_t at = 0, k = 0;
    for (int g = 0; g < PARAM_GROUPS; g++) {
        t->group_first[g] = at;
        for (size_t i = 0; i < t->n; i++) {
            if (t->params[i].group != (enum param_group)g) continue;
            sorted[k] = t->params[i];
            sorted[k].offset = at;
            t->place[i] = k++;
            at = param_end(&sorted[k - 1]);
        }
    }
    t->group_first[PARAM_GROUPS] = t->total = at;
    mem_free(t->params);
    t->params = sorted;
    t->cap = t->n;
    return STATUS_OK;
}

const struct param *param_at(const struct param_table *t, size_t index)
{
    assert(index < t->n);
    return &t->params[t->place[index]];
}

const struct param *param_find(const struct param_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->params[i].name, name) == 0) return &t->params[i];
    return NULL;
}

/* Sparse tensors come last. */
size_t param_sparse_count(const struct param_table *t)
{
    size_t n = 0;
    while (n < t->n && t->params[t->n - 1 - n].group == PARAM_SPARSE) n++;
    return n;
}

const struct param *param_sparse(const struct param_table *t, size_t i)
{
    const size_t n = param_sparse_count(t);
    assert(i < n);
    return &t->params[t->n - n + i];
}

size_t param_sparse_place(const struct param_table *t, size_t index)
{
    return (size_t)(param_at(t, index) - param_sparse(t, 0));
}

size_t param_width(const struct param *p)
{
    return p->n / p->shape[0];
}

void param_table_fini(struct param_table *t)
{
    mem_free(t->params);
    mem_free(t->place);
    *t = (struct param_table){0};
}

void param_touch(struct param_set *p)
{
    static atomic_uint_fast64_t last = 0;
    p->generation = atomic_fetch_add(&last, 1) + 1;
    p->sha256[0] = 0;
}

enum status param_set_new(struct param_set **out, const struct param_table *t, struct err *e)
{
    *out = NULL;
    struct param_set *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "parameters: %zu bytes", sizeof *p);
    p->w = mem_aligned(t->total, sizeof *p->w);
    if (p->w == NULL) {
        mem_free(p);
        return ERR_SET(e, STATUS_OOM, "parameters: %zu floats", t->total);
    }
    p->n = t->total;
    atomic_init(&p->refs, 1);
    param_touch(p);
    *out = p;
    return STATUS_OK;
}

void param_set_acquire(struct param_set *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

void param_set_release(struct param_set *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) return;
    mem_free(p->w);
    mem_free(p);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the block is hashed and saved as it lies in memory");

void param_here(const struct param_set *p)
{
    struct param_set *own = (struct param_set *)(uintptr_t)p; /* the same values, now where they are asked for */
    if (p->fetch != NULL) p->fetch(p->from, own);
}

uint64_t param_hash(const struct param_set *p)
{
    param_here(p);
    return hash_bytes(p->w, p->n * sizeof *p->w);
}

enum status param_sha256(struct param_set *p, struct err *e)
{
    param_here(p);
    return hash_sha256_of(p->w, p->n * sizeof *p->w, p->sha256, e);
}

enum status param_view(const struct param_table *t, const struct param_set *p, uint64_t base_fingerprint,
                       struct arena *a, struct weights_view *out, struct err *e)
{
    param_here(p);
    *out = (struct weights_view){.version = p->version,
                                 .base_fingerprint = base_fingerprint,
                                 .params = p->w,
                                 .n_params = p->n,
                                 .n_tensors = (uint32_t)t->n};
    memcpy(out->sha256, p->sha256, sizeof out->sha256);
    out->tensors = arena_alloc(a, t->n, sizeof *out->tensors);
    if (out->tensors == NULL) return ERR_SET(e, STATUS_OOM, "weight file: table of %zu tensors", t->n);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *q = &t->params[i];
        struct weights_tensor *w = &out->tensors[i];
        *w = (struct weights_tensor){.name = q->name, .rank = q->rank, .offset = q->offset};
        memcpy(w->shape, q->shape, sizeof w->shape);
    }
    return STATUS_OK;
}

static bool same_tensor(const struct param *p, const struct weights_tensor *w)
{
    return strcmp(p->name, w->name) == 0 && p->rank == w->rank && p->offset == w->offset &&
           memcmp(p->shape, w->shape, p->rank * sizeof p->shape[0]) == 0;
}

/* Whole blocks first, with no way out inside, so that it is a vector loop.  The bytes may be unaligned. */
size_t param_first_not_finite(const float *x, size_t n)
{
    enum { BLOCK = 1024 };
    for (size_t at = 0; at < n; at += BLOCK) {
        uint32_t bits[BLOCK], bad = 0;
        const size_t k = n - at < BLOCK ? n - at : BLOCK;
        memcpy(bits, (const unsigned char *)x + at * sizeof *x, k * sizeof *x);
        for (size_t i = 0; i < k; i++) bad |= (uint32_t)((bits[i] & 0x7f800000u) == 0x7f800000u);
        for (size_t i = 0; i < k && bad; i++)
            if ((bits[i] & 0x7f800000u) == 0x7f800000u) return at + i;
    }
    return n;
}

enum status param_fits(const struct param_table *t, const struct weights_view *v, uint64_t base_fingerprint,
                       struct err *e)
{
    if (v->base_fingerprint != base_fingerprint)
        return ERR_SET(
            e, STATUS_CONFLICT,
            "weights of version %llu were learnt on model %016llx, this one is %016llx: use the same base model, "
            "model.*, train.* and kernels.precision",
            (unsigned long long)v->version, (unsigned long long)v->base_fingerprint,
            (unsigned long long)base_fingerprint);
    if (v->n_tensors != t->n || v->n_params != t->total)
        return ERR_SET(e, STATUS_INVALID, "weights have %u tensors and %llu numbers, the model %zu and %zu",
                       v->n_tensors, (unsigned long long)v->n_params, t->n, t->total);
    for (size_t i = 0; i < t->n; i++) {
        if (!same_tensor(&t->params[i], &v->tensors[i]))
            return ERR_SET(e, STATUS_INVALID,
                           "weights: tensor %zu is %.80s, the model's is %.80s (name, shape and place must agree)", i,
                           v->tensors[i].name, t->params[i].name);
    }
    return STATUS_OK;
}

enum status param_from_view(const struct param_table *t, const struct weights_view *v, uint64_t base_fingerprint,
                            struct param_set *p, struct err *e)
{
    TRY(param_fits(t, v, base_fingerprint, e));
    const size_t bad = param_first_not_finite(v->params, t->total);
    if (bad < t->total) return ERR_SET(e, STATUS_INVALID, "weights: number %zu is not finite", bad);
    param_here(p); /* nothing may come later */
    memcpy(p->w, v->params, t->total * sizeof *p->w);
    param_touch(p);
    p->version = v->version;
    memcpy(p->sha256, v->sha256, sizeof p->sha256);
    return STATUS_OK;
}
