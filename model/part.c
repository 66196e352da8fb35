/* part.c - what parts share: tensors as values, frozen states of a slate, sparse gradients by row. */
#include "model/part.h"
#include "base/bf16.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include <assert.h>
#include <math.h>
#include <string.h>

struct tape_value part_value(const struct part_params *p, size_t index)
{
    const struct param *q = param_at(p->table, index);
    const bool learnt = p->dense != NULL && (q->group == PARAM_ADAMW || q->group == PARAM_ADAGRAD);
    return (struct tape_value){p->w + q->offset, learnt ? p->dense + q->offset : NULL, q->shape[0], q->n / q->shape[0]};
}

struct part_rows *part_rows_of(const struct part_params *p, size_t index)
{
    return p->rows != NULL ? &p->rows[param_sparse_place(p->table, index)] : NULL;
}

uint32_t part_item_row(uint64_t item, uint32_t mask)
{
    return (uint32_t)hash_mix(item, 0xd1b54a32d192ed03u) & mask;
}

void part_matrix_of(struct op_matrix *m, const struct part_params *p, size_t weight, size_t first, size_t out,
                    size_t bias)
{
    const struct tape_value w = part_value(p, weight);
    assert(first + out <= w.n);
    m->m = (struct kern_matrix){.w = w.x + first * w.c, .out = out, .in = w.c, .packed = m->m.packed};
    m->dw = w.dx != NULL ? w.dx + first * w.c : NULL;
    m->b = m->db = NULL;
    if (bias == SIZE_MAX) return;
    const struct tape_value b = part_value(p, bias);
    m->b = b.x + first;
    m->db = b.dx != NULL ? b.dx + first : NULL;
}

enum status part_pack(struct part_matrix *m, const struct part_params *p, struct kern *k, struct err *e)
{
    m->op.m.prec = p->prec;
    m->op.m.learnt = m->op.dw != NULL;
    m->op.owed = &m->owed;
    if (p->fresh) return STATUS_OK;
    if (MEM_GROW(p->packed->m, &p->packed->cap, p->packed->n + 1) != 0)
        return ERR_SET(e, STATUS_OOM, "model: no memory for a list of %zu matrices", p->packed->n + 1);
    p->packed->m[p->packed->n++] = &m->op;
    return k->ops->pack(k, &m->op.m, e);
}

enum status part_run_alloc(struct part_run **out, const struct part *p, size_t bytes, struct err *e)
{
    struct part_run *r = mem_calloc(1, bytes);
    *out = r;
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "part %s: %zu bytes", p->ops->name, bytes);
    r->part = p;
    return STATUS_OK;
}

void part_init_normal(const struct param_table *t, size_t index, double deviation, uint64_t seed, float *w)
{
    const struct param *p = param_at(t, index);
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = seed, .offset = (uint64_t)(p - t->params), .purpose = RAND_INIT});
    for (size_t i = 0; i < p->n; i++) w[p->offset + i] = (float)(deviation * rand_normal(&r));
}

/* --- what a part may leave out ------------------------------------------------------------------------------------- */

void part_destroy(struct part *p)
{
    if (p != NULL && p->ops->destroy != NULL)
        p->ops->destroy(p);
    else
        mem_free(p);
}

enum status part_prepare(struct part_run *r, struct part_slate *s, struct err *e)
{
    return r->part->ops->prepare != NULL ? r->part->ops->prepare(r, s, e) : STATUS_OK;
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

size_t part_listed(const struct part_list *lists, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += lists[i].n;
    return total;
}

enum status part_score(struct part_run *r, struct part_slate *s, const uint32_t *which, size_t n, struct tape_value *z,
                       struct err *e)
{
    const struct part_ops *o = r->part->ops;
    const struct part_list list = {s, which, n};
    return o->score != NULL ? o->score(r, s, which, n, z, e) : o->score_together(r, &list, 1, z, e);
}

/* --- frozen states ------------------------------------------------------------------------------------------------ */

static uint32_t sentence_of(const struct part_slate *s, const uint32_t *which, size_t i)
{
    return which == NULL ? s->slate->events[i].sentence : s->slate->items[which[i]].sentence;
}

enum status part_states(struct part_slate *s, const uint32_t *which, size_t n, struct err *e)
{
    struct tape *t = s->tape;
    struct state_request *req = tape_host(t, n + 1, sizeof *req);
    const struct state_entry **got = tape_host(t, n + 1, sizeof *got);
    uint32_t *place = tape_host(t, n + 1, sizeof *place);
    unsigned char *asked = tape_host(t, s->slate->n_sentences + 1u, 1);
    if (t->oom) return tape_status(t, e);
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t at = sentence_of(s, which, i);
        if (s->entries[at] != NULL || asked[at]) continue;
        asked[at] = 1;
        const struct slate_sentence *q = &s->slate->sentences[at];
        req[m] = (struct state_request){q->hash, s->slate->tokens + q->first, q->n};
        place[m++] = at;
    }
    if (m == 0) return STATUS_OK;
    TRY(state_acquire(s->states, req, m, got, e));
    for (size_t i = 0; i < m; i++) s->entries[place[i]] = got[i];
    return STATUS_OK;
}

void part_states_release(struct part_slate *s)
{
    if (s->states == NULL || s->entries == NULL) return;
    state_release(s->states, s->entries, s->slate->n_sentences);
    memset(s->entries, 0, s->slate->n_sentences * sizeof *s->entries);
}

void part_widen(float *out, const uint16_t *bf16, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = bf16_to(bf16[i]);
}

/* Rows that a device may have already, by what they are; false: they go up. */
static bool put_kept(struct part_slate *s, const uint64_t *key, const uint16_t *const *row, size_t n, struct tape_value to)
{
    struct kern *k = s->tape->kern;
    int32_t *place = tape_host(s->tape, n, sizeof *place);
    if (place == NULL || k->ops->kept == NULL || !k->ops->kept->find(k, place, key, row, n, to.c)) return false;
    const int32_t *there = tape_upload(s->tape, place, n * sizeof *place);
    if (there != NULL) k->ops->kept->widen(k, to.x, there, n, to.c);
    return true;
}

/* n rows of bfloat16 in memory that the host does not see; token t of a sentence is its kind PART_STATE_FINAL + 1 + t. */
static void put_rows(struct part_slate *s, const uint64_t *key, const uint16_t *const *row, size_t n, struct tape_value to)
{
    if (key == NULL || row == NULL || put_kept(s, key, row, n, to)) return;
    uint16_t *all = tape_host(s->tape, n * to.c, sizeof *all); /* in one copy */
    for (size_t i = 0; i < n && all != NULL; i++) memcpy(all + i * to.c, row[i], to.c * sizeof *all);
    const uint16_t *there = all != NULL ? tape_upload(s->tape, all, n * to.c * sizeof *all) : NULL;
    if (there != NULL) s->tape->kern->ops->widen(s->tape->kern, to.x, there, n * to.c);
}

static const uint16_t *numbers_of(struct part_slate *s, enum part_state what, const uint32_t *which, size_t i, size_t C)
{
    const struct state_entry *q = s->entries[sentence_of(s, which, i)];
    assert(q != NULL && q->width == C);
    return what == PART_STATE_POOLED ? q->pooled : q->final;
}

void part_state_put(struct part_slate *s, enum part_state what, const uint32_t *which, size_t n, struct tape_value to)
{
    const size_t C = to.c;
    if (n == 0 || to.x == NULL) return;
    if (s->tape->kern->ops->host_visible) {
        for (size_t i = 0; i < n; i++) part_widen(to.x + i * C, numbers_of(s, what, which, i, C), C);
        return;
    }
    const struct tape_mark mark = tape_save(s->tape);
    uint64_t *key = tape_host(s->tape, n, sizeof *key);
    const uint16_t **row = tape_host(s->tape, n, sizeof *row);
    for (size_t i = 0; i < n && key != NULL && row != NULL; i++) {
        key[i] = hash_mix(s->entries[sentence_of(s, which, i)]->hash, (uint64_t)what);
        row[i] = numbers_of(s, what, which, i, C);
    }
    put_rows(s, key, row, n, to);
    tape_rewind(s->tape, mark);
}

void part_state_put_tokens(struct part_slate *s, const struct state_entry *entry, struct tape_value to)
{
    assert(entry->n_tokens == to.n && entry->width == to.c);
    if (to.x == NULL) return;
    if (s->tape->kern->ops->host_visible) {
        part_widen(to.x, entry->tokens, to.n * to.c);
        return;
    }
    const struct tape_mark mark = tape_save(s->tape);
    uint64_t *key = tape_host(s->tape, to.n, sizeof *key);
    const uint16_t **row = tape_host(s->tape, to.n, sizeof *row);
    for (size_t i = 0; i < to.n && key != NULL && row != NULL; i++) {
        key[i] = hash_mix(entry->hash, PART_STATE_FINAL + 1 + i);
        row[i] = entry->tokens + i * to.c;
    }
    put_rows(s, key, row, to.n, to);
    tape_rewind(s->tape, mark);
}

struct tape_value part_state_rows(struct part_slate *s, enum part_state what, const uint32_t *which, size_t n, size_t C)
{
    const struct tape_value to = tape_new(s->tape, n, C, false);
    part_state_put(s, what, which, n, to);
    return to;
}

void part_taste(const struct part_slate *s, float *out, size_t C)
{
    memset(out, 0, C * sizeof *out);
    for (size_t i = 0; i < s->n_events; i++) {
        const struct state_entry *q = s->entries[s->slate->events[i].sentence];
        const float weight = exp2f(-(float)i / 10.0f);
        for (size_t c = 0; c < C; c++) out[c] += weight * bf16_to(q->final[c]);
    }
    double norm = 0;
    for (size_t c = 0; c < C; c++) norm += (double)out[c] * out[c];
    const float scale = norm > 0 ? (float)(1.0 / sqrt(norm)) : 0.0f;
    for (size_t c = 0; c < C; c++) out[c] *= scale;
}

int32_t part_age_bucket(float minutes)
{
    if (!(minutes > 0)) return 0;
    const double b = floor(log2(1.0 + (double)minutes) / 1.5);
    return b < PART_AGES - 1 ? (int32_t)b : PART_AGES - 1;
}

/* --- sparse gradients by row -------------------------------------------------------------------------------------- */

static size_t slot_of(const struct part_rows *r, uint32_t row)
{
    size_t at = hash_mix(row, 0x9e3779b97f4a7c15u) & (r->n_slots - 1);
    while (r->slots[at] != 0 && r->rows[r->slots[at] - 1] != row) at = (at + 1) & (r->n_slots - 1);
    return at;
}

enum status part_rows_reserve(struct part_rows *r, size_t more, struct err *e)
{
    r->promised += more;
    const size_t need = r->promised;
    assert(r->width > 0);
    if (need >= UINT32_MAX) return ERR_SET(e, STATUS_FULL, "sparse gradients: %zu rows in one batch", need);
    if (MEM_GROW(r->rows, &r->rows_cap, need) != 0 || MEM_GROW(r->grads, &r->grads_cap, need * r->width) != 0)
        return ERR_SET(e, STATUS_OOM, "sparse gradients: %zu rows", need);
    if (need * 2 <= r->n_slots) return STATUS_OK;
    size_t n_slots = r->n_slots != 0 ? r->n_slots : 1024;
    while (n_slots < need * 2) n_slots *= 2;
    uint32_t *slots = mem_calloc(n_slots, sizeof *slots);
    if (slots == NULL) return ERR_SET(e, STATUS_OOM, "sparse gradients: %zu rows", need);
    mem_free(r->slots);
    r->slots = slots;
    r->n_slots = n_slots;
    for (size_t i = 0; i < r->n; i++) r->slots[slot_of(r, r->rows[i])] = (uint32_t)i + 1;
    return STATUS_OK;
}

void part_rows_add(struct part_rows *r, uint32_t row, const float *grad)
{
    const size_t at = slot_of(r, row), C = r->width;
    if (r->slots[at] == 0) {
        assert(r->n < r->rows_cap && (r->n + 1) * C <= r->grads_cap);
        r->rows[r->n] = row;
        memset(r->grads + r->n * C, 0, C * sizeof *grad);
        r->slots[at] = (uint32_t)++r->n;
    }
    float *to = r->grads + (r->slots[at] - 1) * C;
    for (size_t c = 0; c < C; c++) to[c] += grad[c];
}

void part_rows_clear(struct part_rows *r)
{
    if (r->n * 4 > r->n_slots) {
        memset(r->slots, 0, r->n_slots * sizeof *r->slots);
    } else { /* newest first: a probe for a row passes only slots that were filled before its own */
        for (size_t i = r->n; i-- > 0;) r->slots[slot_of(r, r->rows[i])] = 0;
    }
    r->n = 0;
    r->promised = 0;
}

void part_rows_fini(struct part_rows *r)
{
    mem_free(r->rows);
    mem_free(r->grads);
    mem_free(r->slots);
    *r = (struct part_rows){.width = r->width};
}
