/* part_text.c - the trainable top of the encoder (MODEL.md, `text`): views pooled and tokens, and the stack of all
 * views.
 *
 * User side: a learnt "user" state and E event states with rank, age and type embeddings; item side: its pooled state,
 * or its token states, with a role embedding.  Items see the user's rows and their own, the user's rows only the user's
 * (as in DeFormer, Cao et al. 2020; PreTTR, MacAvaney et al. 2020): so the user is computed once, and kept as the keys
 * and values of each layer.  In the last layer only what is read is computed.
 */
#include "model/part_text.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static enum status declare_layer(struct text *p, size_t l, const struct conf *c, struct param_table *t, struct err *e)
{
    /* clang-format off */
    static const char *const names[TEXT_TENSORS] = {"qkv.weight", "qkv.bias", "o.weight", "o.bias",
                                                    "up.weight",  "up.bias",  "down.weight", "down.bias",
                                                    "ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias"};
    const uint32_t C = (uint32_t)p->shape.C, F = (uint32_t)p->shape.F;
    const uint32_t shapes[TEXT_TENSORS][2] = {{3 * C, C}, {3 * C, 0}, {C, C}, {C, 0}, {F, C}, {F, 0},
                                              {C, F},     {C, 0},     {C, 0}, {C, 0}, {C, 0}, {C, 0}};
    /* clang-format on */
    for (size_t i = 0; i < TEXT_TENSORS; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "text.layer.%zu.%s", p->first + l, names[i]);
        const uint8_t rank = shapes[i][1] != 0 ? 2 : 1;
        TRY(param_table_add(t, name, PARAM_ADAMW, rank, shapes[i], (float)c->train_learning_rate,
                            rank == 2 ? (float)c->train_weight_decay : 0, &p->layers[l][i], e));
    }
    return STATUS_OK;
}

static enum status declare_rows(struct param_table *t, const char *name, size_t rows, size_t C, const struct conf *c,
                                size_t *index, struct err *e)
{
    const uint32_t shape[2] = {(uint32_t)rows, (uint32_t)C};
    return param_table_add(t, name, PARAM_ADAMW, 2, shape, (float)c->train_head_rate, 0, index, e);
}

static bool has_user(const struct text *p)
{
    return p->view != TEXT_CONCAT && p->n_layers > 0;
}

static enum status declare(struct text *p, const struct conf *c, struct param_table *t, struct err *e)
{
    const size_t C = p->shape.C, events = p->max_events > 0 ? p->max_events : 1;
    for (size_t l = 0; l < p->n_layers; l++) TRY(declare_layer(p, l, c, t, e));
    if (has_user(p)) {
        TRY(declare_rows(t, "text.user", 1, C, c, &p->user, e));
        TRY(declare_rows(t, "text.rank", events, C, c, &p->rank, e));
        TRY(declare_rows(t, "text.age", PART_AGES, C, c, &p->age, e));
        TRY(declare_rows(t, "text.type", EVENT_TYPES_MAX, C, c, &p->type, e));
        TRY(declare_rows(t, "text.role", 1, C, c, &p->role, e));
    }
    return declare_rows(t, "text.head", 1, C, c, &p->head, e);
}

static enum text_view view_of(const struct conf *c)
{
    if (strcmp(c->model_item_view, "concat") == 0 || strcmp(c->model_user_view, "concat") == 0) return TEXT_CONCAT;
    return strcmp(c->model_item_view, "tokens") == 0 ? TEXT_TOKENS : TEXT_POOLED;
}

static void destroy(struct part *part)
{
    if (part != NULL) mem_free(((struct text *)part)->layers);
    mem_free(part);
}

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    if (env->enc == NULL) return ERR_SET(e, STATUS_INVALID, "part text: needs an encoder; set model.base");
    const struct conf *c = env->conf;
    const struct encoder_shape *shape = encoder_shape(env->enc);
    const size_t K = (size_t)c->model_trainable_layers;
    if (K > shape->L)
        return ERR_SET(e, STATUS_INVALID, "model.trainable_layers=%zu: the model in %s has %zu layers", K,
                       encoder_dir(env->enc), shape->L);
    struct text *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part text: %zu bytes", sizeof *p);
    p->layers = mem_calloc(K, sizeof *p->layers);
    if (p->layers == NULL) {
        mem_free(p);
        return ERR_SET(e, STATUS_OOM, "part text: %zu layers", K);
    }
    p->view = view_of(c);
    p->base = (struct part){&part_text, p->view != TEXT_CONCAT, p->view == TEXT_TOKENS};
    p->enc = env->enc;
    p->shape = *shape;
    p->n_layers = K;
    p->first = shape->L - K;
    p->max_events = (size_t)c->model_events;
    p->concat_tokens = (size_t)c->model_concat_tokens;
    p->dropout = (float)c->model_dropout;
    kern_name(c, p->backend);
    const enum status st = declare(p, c, t, e);
    if (st == STATUS_OK)
        *out = &p->base;
    else
        destroy(&p->base);
    return st;
}

static void put(float *w, const struct param_table *t, size_t index, const float *from)
{
    const struct param *p = param_at(t, index);
    memcpy(w + p->offset, from, p->n * sizeof *from);
}

static void init(const struct part *part, const struct param_table *t, uint64_t seed, float *w)
{
    const struct text *p = (const struct text *)part;
    for (size_t l = 0; l < p->n_layers; l++) {
        const struct encoder_layer *q = encoder_layer(p->enc, p->first + l);
        const float *from[TEXT_TENSORS] = {q->qkv.w,  q->qkv_b,  q->o.w,      q->o_b,      q->up.w,     q->up_b,
                                           q->down.w, q->down_b, q->ln1_gain, q->ln1_bias, q->ln2_gain, q->ln2_bias};
        for (size_t i = 0; i < TEXT_TENSORS; i++) put(w, t, p->layers[l][i], from[i]);
    }
    if (!has_user(p)) return;
    const size_t small[] = {p->user, p->rank, p->age, p->type, p->role};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) part_init_normal(t, small[i], seed, w);
}

/* --- one thread's hands ------------------------------------------------------------------------------------------- */

static void run_destroy(struct part_run *run)
{
    struct text_run *r = (struct text_run *)run;
    if (r == NULL) return;
    const size_t K = ((const struct text *)run->part)->n_layers;
    for (size_t l = 0; r->layers != NULL && l < K; l++) {
        struct op_matrix *m[] = {&r->layers[l].q, &r->layers[l].kv, &r->layers[l].o, &r->layers[l].up,
                                 &r->layers[l].down};
        for (size_t i = 0; i < sizeof m / sizeof *m; i++) r->kern->ops->unpack(r->kern, &m[i]->m);
    }
    encoder_run_free(r->enc);
    mem_free(r->layers);
    mem_free(r->user_kv);
    mem_free(r);
}

static enum status run_create(struct part_run **out, const struct part *part, struct kern *k, struct err *e)
{
    const struct text *p = (const struct text *)part;
    *out = NULL;
    struct text_run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "part text: %zu bytes", sizeof *r);
    r->base.part = part;
    r->kern = k;
    r->layers = mem_calloc(p->n_layers, sizeof *r->layers);
    r->user_kv = mem_calloc(p->n_layers, sizeof *r->user_kv);
    enum status st = STATUS_OK;
    if (r->layers == NULL || r->user_kv == NULL) st = ERR_SET(e, STATUS_OOM, "part text: %zu layers", p->n_layers);
    if (st == STATUS_OK && p->view == TEXT_CONCAT) {
        st = encoder_run_new(&r->enc, p->enc, p->backend, e);
        if (st == STATUS_OK) st = encoder_run_reserve(r->enc, p->shape.P, e);
    }
    if (st == STATUS_OK)
        *out = &r->base;
    else
        run_destroy(&r->base);
    return st;
}

static enum status bind_layer(struct text_run *r, const struct part_params *pp, size_t l, struct err *e)
{
    const struct text *p = (const struct text *)r->base.part;
    const size_t C = p->shape.C, *index = p->layers[l];
    struct text_layer *y = &r->layers[l];
    part_matrix(&y->q, pp, index[TEXT_QKV], 0, C, index[TEXT_QKV_BIAS]);
    part_matrix(&y->kv, pp, index[TEXT_QKV], C, 2 * C, index[TEXT_QKV_BIAS]);
    part_matrix(&y->o, pp, index[TEXT_O], 0, C, index[TEXT_O_BIAS]);
    part_matrix(&y->up, pp, index[TEXT_UP], 0, p->shape.F, index[TEXT_UP_BIAS]);
    part_matrix(&y->down, pp, index[TEXT_DOWN], 0, C, index[TEXT_DOWN_BIAS]);
    y->ln1_gain = part_value(pp, index[TEXT_LN1_GAIN]);
    y->ln1_bias = part_value(pp, index[TEXT_LN1_BIAS]);
    y->ln2_gain = part_value(pp, index[TEXT_LN2_GAIN]);
    y->ln2_bias = part_value(pp, index[TEXT_LN2_BIAS]);
    struct op_matrix *m[] = {&y->q, &y->kv, &y->o, &y->up, &y->down};
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) TRY(part_pack(m[i], pp, r->kern, e));
    return STATUS_OK;
}

static enum status bind(struct part_run *run, const struct part_params *pp, struct err *e)
{
    struct text_run *r = (struct text_run *)run;
    const struct text *p = (const struct text *)run->part;
    for (size_t l = 0; l < p->n_layers; l++) TRY(bind_layer(r, pp, l, e));
    part_matrix(&r->head, pp, p->head, 0, 1, SIZE_MAX);
    if (!has_user(p)) return STATUS_OK;
    r->user = part_value(pp, p->user);
    r->rank = part_value(pp, p->rank);
    r->age = part_value(pp, p->age);
    r->type = part_value(pp, p->type);
    r->role = part_value(pp, p->role);
    return STATUS_OK;
}

/* --- the trainable stack ------------------------------------------------------------------------------------------ */

/* What follows attention: y = LN2(h + down(act(up(h)))), h = LN1(x + o(attended)); dropout after o and down. */
static struct tape_value after_attention(struct text_run *r, struct part_slate *s, size_t l, struct tape_value attended,
                                         struct tape_value x)
{
    const struct text *p = (const struct text *)r->base.part;
    const struct text_layer *y = &r->layers[l];
    struct rand *random = s->dropout ? &r->random : NULL;
    struct tape_value a = op_linear(s->tape, attended, &y->o, KERN_ACT_NONE);
    a = op_dropout(s->tape, a, p->dropout, random);
    const struct tape_value h = op_layernorm(s->tape, a, x, y->ln1_gain, y->ln1_bias, p->shape.eps);
    struct tape_value d = op_linear(s->tape, op_linear(s->tape, h, &y->up, p->shape.act), &y->down, KERN_ACT_NONE);
    d = op_dropout(s->tape, d, p->dropout, random);
    return op_layernorm(s->tape, d, h, y->ln2_gain, y->ln2_bias, p->shape.eps);
}

/* Row off[i] of each of n segments; x itself when every segment is one row. */
static struct tape_value first_rows(struct tape *t, struct tape_value x, const int32_t *off, size_t n)
{
    if (x.n == n) return x;
    const struct op_lookup lookup = {x, off};
    return op_embed(t, (struct tape_value){.n = n, .c = x.c}, &lookup, 1);
}

static int32_t *iota(struct tape *t, size_t n)
{
    int32_t *p = tape_host(t, n, sizeof *p);
    for (size_t i = 0; p != NULL && i < n; i++) p[i] = (int32_t)i;
    return p;
}

/* x through the K layers, each segment seeing the user's rows (if prepared) and its own; result (n,C): its first
 * row. */
static struct tape_value stack(struct text_run *r, struct part_slate *s, const struct text_rows *rows, size_t n)
{
    const struct text *p = (const struct text *)r->base.part;
    struct tape *t = s->tape;
    struct tape_value x = rows->x;
    int32_t *ones = iota(t, n + 1);
    for (size_t l = 0; l < p->n_layers && !t->oom; l++) {
        const bool last = l + 1 == p->n_layers;
        const struct tape_value kv = op_linear(t, x, &r->layers[l].kv, KERN_ACT_NONE);
        if (last) x = first_rows(t, x, rows->off, n);
        const struct tape_value q = op_linear(t, x, &r->layers[l].q, KERN_ACT_NONE);
        const struct tape_value user = has_user(p) ? r->user_kv[l] : (struct tape_value){0};
        const struct kern_segments seg = {n, last ? ones : rows->off, rows->off, user.n};
        x = after_attention(r, s, l, op_attention(t, q, kv, user, &seg, p->shape.H), x);
    }
    return first_rows(t, x, rows->off, n);
}

/* --- user and item ------------------------------------------------------------------------------------------------ */

/* (1+E, C): the user state, then event states + rank + age + type. */
static struct tape_value user_rows(struct text_run *r, struct part_slate *s)
{
    const struct text *p = (const struct text *)r->base.part;
    const size_t E = s->n_events;
    int32_t *idx = tape_host(s->tape, 3 * E + 1, sizeof *idx);
    if (idx == NULL) return (struct tape_value){0};
    for (size_t i = 0; i < E; i++) {
        idx[i] = (int32_t)i;
        idx[E + i] = part_age_bucket(s->slate->events[i].age_minutes);
        idx[2 * E + i] = s->slate->events[i].type;
    }
    const struct op_lookup lookups[3] = {{r->rank, idx}, {r->age, idx + E}, {r->type, idx + 2 * E}};
    const struct tape_value states = part_state_rows(s, PART_STATE_POOLED, NULL, E, p->shape.C);
    return op_concat(s->tape, r->user, op_embed(s->tape, states, lookups, 3));
}

static enum status prepare(struct part_run *run, struct part_slate *s, struct err *e)
{
    struct text_run *r = (struct text_run *)run;
    const struct text *p = (const struct text *)run->part;
    struct tape *t = s->tape;
    const struct event_position at = s->slate->at;
    rand_init(&r->random, (struct rand_key){.seed = hash_mix(s->dropout_seed, s->dropout_chunk),
                                            .topic = at.topic,
                                            .partition = at.partition,
                                            .offset = at.offset,
                                            .purpose = RAND_DROPOUT});
    if (!has_user(p)) return STATUS_OK;
    TRY(part_states(s, NULL, s->n_events, e));
    struct tape_value x = user_rows(r, s);
    for (size_t l = 0; l < p->n_layers && !t->oom; l++) {
        r->user_kv[l] = op_linear(t, x, &r->layers[l].kv, KERN_ACT_NONE);
        if (l + 1 == p->n_layers) break;
        const int32_t off[2] = {0, (int32_t)x.n};
        const struct kern_segments seg = {1, off, off, 0};
        const struct tape_value q = op_linear(t, x, &r->layers[l].q, KERN_ACT_NONE);
        x = after_attention(r, s, l, op_attention(t, q, r->user_kv[l], (struct tape_value){0}, &seg, p->shape.H), x);
    }
    return tape_status(t, e);
}

/* Token states of the candidates, packed. */
static struct tape_value token_rows(struct text_run *r, struct part_slate *s, const uint32_t *which, size_t n,
                                    int32_t *off)
{
    const size_t C = ((const struct text *)r->base.part)->shape.C;
    for (size_t i = 0; i < n; i++) {
        const struct state_entry *q = s->entries[s->slate->items[which[i]].sentence];
        off[i + 1] = off[i] + (int32_t)q->n_tokens;
    }
    float *rows = tape_host(s->tape, (size_t)off[n] * C + 1, sizeof *rows);
    for (size_t i = 0; rows != NULL && i < n; i++) {
        const struct state_entry *q = s->entries[s->slate->items[which[i]].sentence];
        part_widen(rows + (size_t)off[i] * C, q->tokens, q->n_tokens * C);
    }
    return rows != NULL ? tape_constant(s->tape, rows, (size_t)off[n], C) : (struct tape_value){0};
}

static enum status item_rows(struct text_run *r, struct part_slate *s, const uint32_t *which, size_t n,
                             struct text_rows *out, struct err *e)
{
    const struct text *p = (const struct text *)r->base.part;
    TRY(part_states(s, which, n, e));
    out->off = p->view == TEXT_TOKENS ? tape_host(s->tape, n + 1, sizeof *out->off) : iota(s->tape, n + 1);
    if (out->off == NULL) return tape_status(s->tape, e);
    out->x = p->view == TEXT_TOKENS ? token_rows(r, s, which, n, out->off)
                                    : part_state_rows(s, PART_STATE_POOLED, which, n, p->shape.C);
    int32_t *zero = tape_host(s->tape, out->x.n + 1, sizeof *zero);
    if (zero == NULL || !has_user(p)) return tape_status(s->tape, e);
    const struct op_lookup role = {r->role, zero};
    out->x = op_embed(s->tape, out->x, &role, 1);
    return tape_status(s->tape, e);
}

static size_t rows(const struct part_run *run, const struct part_slate *s, uint32_t item)
{
    const struct text *p = (const struct text *)run->part;
    size_t n = 1;
    if (p->view == TEXT_TOKENS) n = s->slate->sentences[s->slate->items[item].sentence].n;
    if (p->view == TEXT_CONCAT) n = part_text_concat_length(p, s, item);
    return n * (p->n_layers > 0 ? p->n_layers : 1);
}

static enum status score(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e)
{
    struct text_run *r = (struct text_run *)run;
    struct text_rows in = {0};
    if (((const struct text *)run->part)->view == TEXT_CONCAT)
        TRY(part_text_concat_rows(r, s, which, n, &in, e));
    else
        TRY(item_rows(r, s, which, n, &in, e));
    const struct tape_value h = stack(r, s, &in, n);
    if (!s->tape->oom) *z = op_linear(s->tape, h, &r->head, KERN_ACT_NONE);
    return tape_status(s->tape, e);
}

static size_t replaced(const struct part *part, const struct param_table *t, const float *w,
                       struct encoder_replaced *out, size_t max)
{
    const struct text *p = (const struct text *)part;
    for (size_t l = 0; l < p->n_layers && l < max; l++) {
        const float *v[TEXT_TENSORS];
        for (size_t i = 0; i < TEXT_TENSORS; i++) v[i] = w + param_at(t, p->layers[l][i])->offset;
        struct encoder_layer y = *encoder_layer(p->enc, p->first + l); /* sizes */
        y.qkv.w = v[TEXT_QKV], y.qkv_b = v[TEXT_QKV_BIAS], y.o.w = v[TEXT_O], y.o_b = v[TEXT_O_BIAS];
        y.up.w = v[TEXT_UP], y.up_b = v[TEXT_UP_BIAS], y.down.w = v[TEXT_DOWN], y.down_b = v[TEXT_DOWN_BIAS];
        y.ln1_gain = v[TEXT_LN1_GAIN], y.ln1_bias = v[TEXT_LN1_BIAS];
        y.ln2_gain = v[TEXT_LN2_GAIN], y.ln2_bias = v[TEXT_LN2_BIAS];
        out[l] = (struct encoder_replaced){p->first + l, y};
    }
    return p->n_layers;
}

const struct part_ops part_text = {"text",  create, destroy, init, run_create, run_destroy, bind,    rows,
                                   prepare, score,  NULL,    NULL, NULL,       NULL,        replaced};
