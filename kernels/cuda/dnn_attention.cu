/* dnn_attention.cu - attention of learnt layers by cuDNN: all slates of a batch in one product on tensor cores.
 *
 * cuDNN's engines take batches of equal sizes in bfloat16, and know no prefix that segments share.  So a group (a slate) becomes one
 * entry of a batch: its queries, and as keys its prefix rows followed by its own, both padded; what a query must not see has
 * -1e9 added to its score.  Scores never lie in memory (FlashAttention, Dao et al. 2022): beside the mask, 2 bytes a pair for all
 * heads, what moves is 2*C bytes a row.  The products count every pair of an entry, not those that see each other alone, which
 * tensor cores make up for many times over; where they could not, or where there is little to do, it is attention.cu's.
 *
 * The way back computes the way there again for its softmax statistics, a third more work, in the place of keeping them: what
 * callers keep (`prob`) has room for probabilities, which cuDNN does not want.  Sums of one row have one writer, in cuDNN by the
 * choice of engine (dnn.cu), so bits are the same from run to run.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/dnn.h"
#include "kernels/cuda/segment.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLANS_MAX 64                /* later shapes are attention.cu's: each costs about a second to compile */
#define D_MAX 128                   /* of a head; a multiple of 8 */
#define ROWS_MAX 2048               /* of queries or keys of an entry */
#define CELLS_MAX ((size_t)1 << 26) /* of the mask */
#define WASTE_MAX 24                /* pairs that are multiplied for one that counts */
#define WORK_MIN ((size_t)1 << 21)  /* pairs times columns: one slate of few candidates is one small launch of ours */
#define HIDDEN (-1e9f)

/* --- shapes ----------------------------------------------------------------------------------------------------------- */

struct attention_shape {
    size_t B, Sq, Sk, H, D; /* entries, their queries and keys, all rounded up */
};

struct dnn_plans {
    struct dnn_plans *next;
    struct attention_shape shape;
    struct dnn_plan there, back;
};

/* Entry e of a call: the rows of one group, or of one segment where there are no groups. */
struct entry {
    int32_t q, n_q, k, n_k, p, n_p;
};

static size_t entries_of(const struct kern_segments *seg)
{
    return seg->groups > 0 ? seg->groups : seg->n;
}

static struct entry entry_of(const struct kern_segments *seg, size_t e)
{
    const size_t from = seg->groups > 0 ? (size_t)seg->s_off[e] : e,
                 to = seg->groups > 0 ? (size_t)seg->s_off[e + 1] : e + 1;
    const int32_t q = seg->q_off[from], k = seg->k_off[from], p = seg->groups > 0 ? seg->p_off[e] : 0;
    const struct entry x = {
        q, seg->q_off[to] - q, k, seg->k_off[to] - k, p, seg->groups > 0 ? seg->p_off[e + 1] - p : 0};
    return x;
}

/* Softmax over no key at all is 0 here, and a mean of what is hidden in cuDNN. */
static bool all_see(const struct kern_segments *seg)
{
    for (size_t g = 0; g < kern_groups(seg); g++) {
        const struct kern_group of = kern_group(seg, g);
        for (size_t s = 0; s < of.n && of.prefix == 0; s++)
            if (of.k_off[s + 1] == of.k_off[s] && of.q_off[s + 1] > of.q_off[s]) return false;
    }
    return true;
}

/* 1, 2, 3, 4, 6, 8, 12, … */
static size_t rounded_count(size_t n)
{
    size_t to = 1;
    while (to < n) to *= 2;
    return to >= 4 && to / 4 * 3 >= n ? to / 4 * 3 : to;
}

static size_t rounded_rows(size_t n)
{
    const size_t step = n <= 512 ? 64 : 256;
    return (n + step - 1) / step * step;
}

static bool suits(struct attention_shape *out, const struct dnn_call *call)
{
    const struct kern_segments *seg = call->seg;
    size_t q = 1, k = 1;
    if (seg->prec != KERN_BF16 || call->D % 8 != 0 || call->D > D_MAX) return false;
    const size_t pairs = kern_attention_probs(seg, 1), entries = entries_of(seg);
    if (pairs * call->H * call->D < WORK_MIN) return false;
    for (size_t e = 0; e < entries; e++) {
        const struct entry x = entry_of(seg, e);
        const size_t keys = (size_t)x.n_k + (size_t)x.n_p;
        q = (size_t)x.n_q > q ? (size_t)x.n_q : q;
        k = keys > k ? keys : k;
    }
    const struct attention_shape s = {rounded_count(entries), rounded_rows(q), rounded_rows(k), call->H, call->D};
    *out = s;
    const size_t cells = s.B * s.Sq * s.Sk;
    return s.Sq <= ROWS_MAX && s.Sk <= ROWS_MAX && cells <= CELLS_MAX && cells <= WASTE_MAX * pairs && all_see(seg);
}

/* --- graphs ----------------------------------------------------------------------------------------------------------- */

enum { Q = 1, K, V, MASK, O, STATS, SCALE, DO, DQ, DK, DV, ONE, MEAN, FIRST_WITHIN };

struct describing {
    struct dnn_graph g;
    struct attention_shape s;
    int64_t next; /* id of the next tensor that stays within */
};

/* (B, H, rows, D) where rows are C numbers apart, or with columns first as the second operand of a product; id 0: within. */
static void *rows_tensor(struct describing *d, int64_t id, size_t rows, bool turned)
{
    const int64_t H = (int64_t)d->s.H, D = (int64_t)d->s.D, n = (int64_t)rows, C = H * D;
    const struct dnn_shape as_is = {{(int64_t)d->s.B, H, n, D}, {n * C, D, C, 1}};
    const struct dnn_shape columns = {{(int64_t)d->s.B, H, D, n}, {n * C, D, 1, C}};
    if (id == 0) return dnn_tensor(&d->g, d->next++, DNN_FLOAT, &as_is, DNN_WITHIN);
    return dnn_tensor(&d->g, id, DNN_BFLOAT16, turned ? &columns : &as_is, DNN_OF_CALLER);
}

/* (B, H, Sq, Sk), or (B, H, Sk, Sq) over the same numbers. */
static void *pairs_tensor(struct describing *d, int type, bool turned)
{
    const int64_t B = (int64_t)d->s.B, H = (int64_t)d->s.H, q = (int64_t)d->s.Sq, k = (int64_t)d->s.Sk;
    const struct dnn_shape as_is = {{B, H, q, k}, {H * q * k, q * k, k, 1}},
                           over = {{B, H, k, q}, {H * q * k, q * k, 1, k}};
    return dnn_tensor(&d->g, d->next++, type, turned ? &over : &as_is, DNN_WITHIN);
}

/* (B, H, Sq, 1): a number a query and head. */
static void *query_tensor(struct describing *d, int64_t id)
{
    const int64_t H = (int64_t)d->s.H, q = (int64_t)d->s.Sq;
    const struct dnn_shape s = {{(int64_t)d->s.B, H, q, 1}, {H * q, q, 1, 1}};
    return dnn_tensor(&d->g, id != 0 ? id : d->next++, DNN_FLOAT, &s, id != 0 ? DNN_OF_CALLER : DNN_WITHIN);
}

static void *mask_tensor(struct describing *d)
{
    const int64_t q = (int64_t)d->s.Sq, k = (int64_t)d->s.Sk;
    const struct dnn_shape s = {{(int64_t)d->s.B, 1, q, k}, {q * k, q * k, k, 1}};
    return dnn_tensor(&d->g, MASK, DNN_BFLOAT16, &s, DNN_OF_CALLER);
}

static void *number_tensor(struct describing *d, int64_t id)
{
    const struct dnn_shape s = {{1, 1, 1, 1}, {1, 1, 1, 1}};
    return dnn_tensor(&d->g, id, DNN_FLOAT, &s, DNN_NUMBER);
}

static struct describing begin(struct cuda_dnn *dnn, const struct attention_shape *s)
{
    struct describing d;
    memset(&d, 0, sizeof d);
    d.g.dnn = dnn;
    d.s = *s;
    d.next = FIRST_WITHIN;
    return d;
}

/* q k^T * scale + mask, of k with its columns first. */
static void *scores(struct describing *d, void *q, void *turned_k, void *scale)
{
    void *raw = pairs_tensor(d, DNN_FLOAT, false), *scaled = pairs_tensor(d, DNN_FLOAT, false);
    void *masked = pairs_tensor(d, DNN_FLOAT, false), *mask = mask_tensor(d);
    dnn_matmul(&d->g, raw, q, turned_k);
    dnn_pointwise(&d->g, DNN_MUL, scaled, raw, scale);
    dnn_pointwise(&d->g, DNN_ADD, masked, scaled, mask);
    return masked;
}

#define GRAPH_VERSION 1 /* of the descriptions below: kept plans of another are not taken */

static struct dnn_plan made(struct describing *d, const char *way)
{
    char name[128];
    const struct attention_shape *s = &d->s;
    (void)snprintf(name, sizeof name, "attention%d-%s-%zux%zux%zux%zux%zu", GRAPH_VERSION, way, s->B, s->Sq, s->Sk,
                   s->H, s->D);
    return dnn_plan(&d->g, name);
}

/* o = softmax(scores) v;  stats = log of what softmax divides by, its maximum added */
static struct dnn_plan plan_there(struct cuda_dnn *dnn, const struct attention_shape *s)
{
    struct describing d = begin(dnn, s);
    struct dnn_graph *g = &d.g;
    void *q = rows_tensor(&d, Q, s->Sq, false), *k = rows_tensor(&d, K, s->Sk, true),
         *v = rows_tensor(&d, V, s->Sk, false);
    void *o = rows_tensor(&d, O, s->Sq, false), *stats = query_tensor(&d, STATS);
    void *x = scores(&d, q, k, number_tensor(&d, SCALE));
    void *top = query_tensor(&d, 0), *sum = query_tensor(&d, 0), *log_sum = query_tensor(&d, 0);
    void *below = pairs_tensor(&d, DNN_FLOAT, false), *e = pairs_tensor(&d, DNN_FLOAT, false);
    void *p = pairs_tensor(&d, DNN_BFLOAT16, false);
    dnn_reduce(g, DNN_REDUCE_MAX, top, x);
    dnn_pointwise(g, DNN_SUB, below, x, top);
    dnn_pointwise(g, DNN_EXP, e, below, NULL);
    dnn_reduce(g, DNN_REDUCE_ADD, sum, e);
    dnn_pointwise(g, DNN_LOG, log_sum, sum, NULL);
    dnn_pointwise(g, DNN_ADD, stats, top, log_sum);
    dnn_pointwise(g, DNN_DIV, p, e, sum);
    dnn_matmul(g, o, p, v);
    return made(&d, "there");
}

/* p = exp(scores - stats);  dv = p^T do;  ds = p (do v^T - sum(do o)) * scale;  dk = ds^T q;  dq = ds k */
static struct dnn_plan plan_back(struct cuda_dnn *dnn, const struct attention_shape *s)
{
    struct describing d = begin(dnn, s);
    struct dnn_graph *g = &d.g;
    void *q = rows_tensor(&d, Q, s->Sq, false), *k = rows_tensor(&d, K, s->Sk, true),
         *v = rows_tensor(&d, V, s->Sk, true);
    void *o = rows_tensor(&d, O, s->Sq, false), *dout = rows_tensor(&d, DO, s->Sq, false),
         *stats = query_tensor(&d, STATS);
    void *dq = rows_tensor(&d, DQ, s->Sq, false), *dk = rows_tensor(&d, DK, s->Sk, false),
         *dv = rows_tensor(&d, DV, s->Sk, false);
    void *scale = number_tensor(&d, SCALE), *one = number_tensor(&d, ONE);
    void *both = rows_tensor(&d, 0, s->Sq, false), *row_sum = query_tensor(&d, 0);
    void *mean = query_tensor(&d, MEAN); /* the engines want this one in memory */
    dnn_pointwise(g, DNN_MUL, both, dout, o);
    dnn_reduce(g, DNN_REDUCE_ADD, row_sum, both);
    dnn_pointwise(g, DNN_MUL, mean, row_sum, one);
    void *x = scores(&d, q, k, scale), *below = pairs_tensor(&d, DNN_FLOAT, false),
         *p = pairs_tensor(&d, DNN_FLOAT, false);
    dnn_pointwise(g, DNN_SUB, below, x, stats);
    dnn_pointwise(g, DNN_EXP, p, below, NULL);
    void *turned_p = pairs_tensor(&d, DNN_BFLOAT16, true);
    dnn_reshape(g, turned_p, p);
    dnn_matmul(g, dv, turned_p, dout);
    void *dp = pairs_tensor(&d, DNN_FLOAT, false), *over = pairs_tensor(&d, DNN_FLOAT, false);
    void *weighed = pairs_tensor(&d, DNN_FLOAT, false), *ds = pairs_tensor(&d, DNN_FLOAT, false);
    dnn_matmul(g, dp, dout, v);
    dnn_pointwise(g, DNN_SUB, over, dp, mean);
    dnn_pointwise(g, DNN_MUL, weighed, over, p);
    dnn_pointwise(g, DNN_MUL, ds, weighed, scale);
    void *turned_ds = pairs_tensor(&d, DNN_BFLOAT16, true), *rows_of_k = rows_tensor(&d, 0, s->Sk, false);
    dnn_reshape(g, turned_ds, ds);
    dnn_matmul(g, dk, turned_ds, q);
    dnn_reshape(g, rows_of_k, k);
    dnn_matmul(g, dq, ds, rows_of_k);
    return made(&d, "back");
}

static void say_declined(struct cuda_dnn *dnn, const struct attention_shape *s)
{
    if (!dnn->declined)
        (void)fprintf(stderr,
                      "freshet: cuda: cuDNN %zu makes no plan for attention of %zu x %zu x %zu rows (%zu heads of %zu); "
                      "freshet's own does such work (cuDNN compiles with NVRTC: is libnvrtc.so in LD_LIBRARY_PATH?)\n",
                      dnn->version, s->B, s->Sq, s->Sk, s->H, s->D);
    dnn->declined = true;
}

/* NULL: none of cuDNN's engines takes this shape.  An answer stays what it is, since the way back asks again. */
static struct dnn_plans *plans_of(struct cuda_dnn *dnn, const struct attention_shape *s)
{
    size_t n = 0;
    for (struct dnn_plans *p = dnn->plans; p != NULL; p = p->next, n++)
        if (memcmp(&p->shape, s, sizeof *s) == 0) return p->back.plan != NULL ? p : NULL;
    struct dnn_plans *made = n < PLANS_MAX ? (struct dnn_plans *)calloc(1, sizeof *made) : NULL;
    if (made == NULL) return NULL;
    made->shape = *s;
    made->there = plan_there(dnn, s);
    if (made->there.plan != NULL) made->back = plan_back(dnn, s);
    made->next = dnn->plans;
    dnn->plans = made;
    if (made->back.plan == NULL) say_declined(dnn, s);
    return made->back.plan != NULL ? made : NULL;
}

void dnn_plans_drop(struct cuda_dnn *dnn)
{
    for (struct dnn_plans *p = dnn->plans, *next; p != NULL; p = next) {
        next = p->next;
        dnn_plan_drop(dnn, &p->there);
        dnn_plan_drop(dnn, &p->back);
        free(p);
    }
    dnn->plans = NULL;
}

/* --- packing ---------------------------------------------------------------------------------------------------------- */

/* Where row i of an entry's keys, or of its queries, lies: in the prefix, among the caller's own rows, or nowhere: it is padding. */
struct place {
    bool prefix, own;
    size_t row;
};

DEVICE struct place place_of(const struct entry *e, bool keys, size_t i)
{
    const size_t before = keys ? (size_t)e->n_p : 0, own = keys ? (size_t)e->n_k : (size_t)e->n_q;
    const struct place p = {i < before, i >= before && i < before + own,
                            i < before ? (size_t)e->p + i : (size_t)(keys ? e->k : e->q) + i - before};
    return p;
}

/* Two matrices of rows, each to bfloat16 entries (B, S, C); what is beyond an entry's rows is 0. */
struct pack {
    uint16_t *to[2]; /* NULL: not this one */
    const float *own[2], *prefix[2];
    size_t ld[2], ldp, B, S, C, entries;
    size_t keys; /* rows are k and v, else queries */
    const struct entry *entry;
};

KERNEL(k_pack_rows, struct pack)
{
    const size_t c = THREAD % a.C, i = THREAD / a.C % a.S, b = THREAD / a.C / a.S;
    struct place p = {false, false, 0};
    if (b >= a.B) return;
    if (b < a.entries) p = place_of(&a.entry[b], a.keys != 0, i);
    for (unsigned m = 0; m < 2; m++) {
        if (a.to[m] == NULL) continue;
        const float x = p.prefix ? a.prefix[m][p.row * a.ldp + c] : p.own ? a.own[m][p.row * a.ld[m] + c] : 0.0f;
        a.to[m][THREAD] = bf16_round(x);
    }
}

struct mask {
    uint16_t *to; /* (B, Sq, Sk) */
    const int32_t *q_off, *k_off;
    size_t n, B, Sq, Sk, entries;
    const struct entry *entry;
};

KERNEL(k_mask, struct mask)
{
    const size_t j = THREAD % a.Sk, i = THREAD / a.Sk % a.Sq, b = THREAD / a.Sk / a.Sq;
    if (b >= a.B) return;
    float x = 0.0f; /* rows of padding see everything: their softmax is a number, and nobody reads it */
    if (b < a.entries && i < (size_t)a.entry[b].n_q) {
        const struct entry e = a.entry[b];
        const size_t s = segment_of(a.q_off, a.n, (size_t)e.q + i), before = (size_t)e.n_p;
        const size_t from = before + (size_t)(a.k_off[s] - e.k), to = before + (size_t)(a.k_off[s + 1] - e.k);
        if (j >= before && (j < from || j >= to)) x = HIDDEN;
    }
    a.to[THREAD] = bf16_round(x);
}

/* Entries back to rows; `add`: to what stands there. */
struct unpack {
    float *own[2], *prefix[2];
    const uint16_t *from[2];
    size_t ld, ldp, S, C, entries;
    size_t keys, add;
    const struct entry *entry;
};

KERNEL(k_unpack_rows, struct unpack)
{
    const size_t c = THREAD % a.C, i = THREAD / a.C % a.S, b = THREAD / a.C / a.S;
    if (b >= a.entries) return;
    const struct place p = place_of(&a.entry[b], a.keys != 0, i);
    if (!p.prefix && !p.own) return;
    for (unsigned m = 0; m < 2; m++) {
        if (a.from[m] == NULL) continue;
        float *to = p.prefix ? a.prefix[m] + p.row * a.ldp + c : a.own[m] + p.row * a.ld + c;
        const float x = bf16_value(a.from[m][THREAD]);
        *to = a.add ? *to + x : x;
    }
}

/* --- calls ------------------------------------------------------------------------------------------------------------ */

/* One call's place in scratch. */
struct room {
    uint16_t *q, *k, *v, *mask, *o, *dout, *dq, *dk, *dv;
    float *stats, *mean;
    void *workspace;
    const struct entry *entry;
    const int32_t *q_off, *k_off;
    struct attention_shape s;
    float scale;
};

static size_t aligned_bytes(size_t n)
{
    return (n + 255) / 256 * 256;
}

static void *cut(char *base, size_t *at, size_t bytes)
{
    void *p = base != NULL ? base + *at : NULL;
    *at += aligned_bytes(bytes);
    return p;
}

/* Lays everything out from `base` on; returns how much it is (base NULL: that alone). */
static size_t lay_out(struct room *r, char *base, const struct dnn_plans *p, const struct kern_segments *seg, bool back)
{
    size_t at = 0;
    const struct attention_shape *s = &r->s;
    const size_t C = s->H * s->D, queries = s->B * s->Sq * C * sizeof(uint16_t),
                 keys = s->B * s->Sk * C * sizeof(uint16_t);
    const size_t numbers = s->B * s->H * s->Sq * sizeof(float), off = (seg->n + 1) * sizeof(int32_t);
    const size_t most = p->there.workspace > p->back.workspace ? p->there.workspace : p->back.workspace;
    r->entry = (const struct entry *)cut(base, &at, entries_of(seg) * sizeof(struct entry));
    r->q_off = (const int32_t *)cut(base, &at, off);
    r->k_off = (const int32_t *)cut(base, &at, off);
    r->q = (uint16_t *)cut(base, &at, queries);
    r->k = (uint16_t *)cut(base, &at, keys);
    r->v = (uint16_t *)cut(base, &at, keys);
    r->mask = (uint16_t *)cut(base, &at, s->B * s->Sq * s->Sk * sizeof(uint16_t));
    r->o = (uint16_t *)cut(base, &at, queries);
    r->stats = (float *)cut(base, &at, numbers);
    r->workspace = cut(base, &at, most);
    if (!back) return at;
    r->mean = (float *)cut(base, &at, numbers);
    r->dout = (uint16_t *)cut(base, &at, queries);
    r->dq = (uint16_t *)cut(base, &at, queries);
    r->dk = (uint16_t *)cut(base, &at, keys);
    r->dv = (uint16_t *)cut(base, &at, keys);
    return at;
}

static bool upload_offsets(struct kern *k, const struct room *r, const struct kern_segments *seg)
{
    const size_t n = entries_of(seg);
    struct entry *host = (struct entry *)cuda_host_room(cuda_of(k), n * sizeof *host);
    if (host == NULL) return false;
    for (size_t e = 0; e < n; e++) host[e] = entry_of(seg, e);
    k->ops->upload(k, (void *)(uintptr_t)r->entry, host, n * sizeof *host);
    k->ops->upload(k, (void *)(uintptr_t)r->q_off, seg->q_off, (seg->n + 1) * sizeof *seg->q_off);
    k->ops->upload(k, (void *)(uintptr_t)r->k_off, seg->k_off, (seg->n + 1) * sizeof *seg->k_off);
    return true;
}

/* Operands, mask, and the way there; false: no memory, and c has failed. */
static bool go_there(struct kern *k, struct room *r, const struct dnn_plans *p, const struct dnn_call *call, bool back,
                     const float *dout)
{
    struct cuda *c = cuda_of(k);
    const struct attention_shape *s = &r->s;
    const size_t C = s->H * s->D, n = entries_of(call->seg), bytes = lay_out(r, NULL, p, call->seg, back);
    char *scratch = (char *)cuda_scratch(c, bytes);
    if (scratch == NULL) return false;
    (void)lay_out(r, scratch, p, call->seg, back);
    if (!upload_offsets(k, r, call->seg)) return false;
    const struct pack queries = {{r->q, r->dout}, {call->q, dout}, {NULL, NULL}, {call->ldq, C}, 0, s->B, s->Sq, C, n,
                                 false,           r->entry};
    const struct pack keys = {{r->k, r->v},
                              {call->k, call->v},
                              {call->pk, call->pv},
                              {call->ldk, call->ldk},
                              call->ldp,
                              s->B,
                              s->Sk,
                              C,
                              n,
                              true,
                              r->entry};
    const struct mask mask = {r->mask, r->q_off, r->k_off, call->seg->n, s->B, s->Sq, s->Sk, n, r->entry};
    LAUNCH(c, k_pack_rows, launch_blocks(s->B * s->Sq * C, BLOCK), BLOCK, &queries);
    LAUNCH(c, k_pack_rows, launch_blocks(s->B * s->Sk * C, BLOCK), BLOCK, &keys);
    LAUNCH(c, k_mask, launch_blocks(s->B * s->Sq * s->Sk, BLOCK), BLOCK, &mask);
    r->scale = 1.0f / sqrtf((float)s->D);
    const int64_t ids[] = {Q, K, V, MASK, O, STATS, SCALE};
    void *const pointers[] = {r->q, r->k, r->v, r->mask, r->o, r->stats, NULL};
    dnn_run(c, &p->there, sizeof ids / sizeof *ids, ids, pointers, 1, &r->scale, r->workspace);
    return true;
}

/* The plans for a call; NULL: it is for attention.cu. */
static struct dnn_plans *taken(struct kern *k, struct room *r, const struct dnn_call *call)
{
    struct cuda *c = cuda_of(k);
    memset(r, 0, sizeof *r);
    if (c->dnn == NULL || !suits(&r->s, call) || !dnn_agrees(k)) return NULL;
    return plans_of(c->dnn, &r->s);
}

bool dnn_attention(struct kern *k, float *out, const struct dnn_call *call)
{
    struct room r;
    struct dnn_plans *p = taken(k, &r, call);
    if (p == NULL) return false;
    const size_t C = r.s.H * r.s.D, n = entries_of(call->seg);
    if (!go_there(k, &r, p, call, false, NULL)) return true;
    const struct unpack o = {{out, NULL}, {NULL, NULL}, {r.o, NULL}, C, 0, r.s.Sq, C, n, false, false, r.entry};
    LAUNCH(cuda_of(k), k_unpack_rows, launch_blocks(n * r.s.Sq * C, BLOCK), BLOCK, &o);
    return true;
}

bool dnn_attention_backward(struct kern *k, const struct dnn_back *back, const struct dnn_call *call)
{
    struct room r;
    struct dnn_plans *p = taken(k, &r, call);
    if (p == NULL) return false;
    const size_t C = r.s.H * r.s.D, n = entries_of(call->seg);
    if (!go_there(k, &r, p, call, true, back->dout)) return true;
    const int64_t ids[] = {Q, K, V, MASK, O, STATS, DO, DQ, DK, DV, MEAN, SCALE, ONE};
    void *const pointers[] = {r.q, r.k, r.v, r.mask, r.o, r.stats, r.dout, r.dq, r.dk, r.dv, r.mean, NULL, NULL};
    const float numbers[] = {r.scale, 1.0f};
    dnn_run(cuda_of(k), &p->back, sizeof ids / sizeof *ids, ids, pointers, 2, numbers, r.workspace);
    const struct unpack q = {{back->dq, NULL}, {NULL, NULL}, {r.dq, NULL}, back->lddq, 0, r.s.Sq, C, n, false, true,
                             r.entry};
    const struct unpack keys = {{back->dk, back->dv},
                                {back->dpk, back->dpv},
                                {r.dk, r.dv},
                                back->lddk,
                                back->lddp,
                                r.s.Sk,
                                C,
                                n,
                                true,
                                true,
                                r.entry};
    LAUNCH(cuda_of(k), k_unpack_rows, launch_blocks(n * r.s.Sq * C, BLOCK), BLOCK, &q);
    LAUNCH(cuda_of(k), k_unpack_rows, launch_blocks(n * r.s.Sk * C, BLOCK), BLOCK, &keys);
    return true;
}
