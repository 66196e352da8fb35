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

#define SMALL 0.02 /* deviation of what BERT begins with (Devlin et al. 2019) */

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
    TRY(declare_rows(t, "text.head", 1, C, c, &p->head, e));
    return part_text_users_declare(p, c, t, e);
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
    const bool frozen = p->view != TEXT_CONCAT;
    p->base = (struct part){.ops = &part_text,
                            .wants_states = frozen,
                            .wants_tokens = p->view == TEXT_TOKENS,
                            .slow = true,
                            .together = frozen && K > 0 && c->model_dropout <= 0};
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
        const struct kern_layer *q = encoder_layer(p->enc, p->first + l);
        const float *from[TEXT_TENSORS] = {q->qkv.w,  q->qkv_b,  q->o.w,      q->o_b,      q->up.w,     q->up_b,
                                           q->down.w, q->down_b, q->ln1_gain, q->ln1_bias, q->ln2_gain, q->ln2_bias};
        for (size_t i = 0; i < TEXT_TENSORS; i++) put(w, t, p->layers[l][i], from[i]);
    }
    part_text_users_init(p, t, seed, w);
    if (!has_user(p)) return;
    const size_t small[] = {p->user, p->rank, p->age, p->type, p->role};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) part_init_normal(t, small[i], SMALL, seed, w);
}

/* --- one thread's hands ------------------------------------------------------------------------------------------- */

static void run_destroy(struct part_run *run)
{
    struct text_run *r = (struct text_run *)run;
    if (r == NULL) return;
    const size_t K = ((const struct text *)run->part)->n_layers;
    for (size_t l = 0; r->layers != NULL && l < K; l++) {
        struct part_matrix *m[] = {&r->layers[l].q, &r->layers[l].kv, &r->layers[l].o, &r->layers[l].up,
                                   &r->layers[l].down};
        for (size_t i = 0; i < sizeof m / sizeof *m; i++) r->kern->ops->unpack(r->kern, &m[i]->op.m);
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
    part_matrix_of(&y->q.op, pp, index[TEXT_QKV], 0, C, index[TEXT_QKV_BIAS]);
    part_matrix_of(&y->kv.op, pp, index[TEXT_QKV], C, 2 * C, index[TEXT_QKV_BIAS]);
    part_matrix_of(&y->o.op, pp, index[TEXT_O], 0, C, index[TEXT_O_BIAS]);
    part_matrix_of(&y->up.op, pp, index[TEXT_UP], 0, p->shape.F, index[TEXT_UP_BIAS]);
    part_matrix_of(&y->down.op, pp, index[TEXT_DOWN], 0, C, index[TEXT_DOWN_BIAS]);
    y->ln1_gain = part_value(pp, index[TEXT_LN1_GAIN]);
    y->ln1_bias = part_value(pp, index[TEXT_LN1_BIAS]);
    y->ln2_gain = part_value(pp, index[TEXT_LN2_GAIN]);
    y->ln2_bias = part_value(pp, index[TEXT_LN2_BIAS]);
    struct part_matrix *m[] = {&y->q, &y->kv, &y->o, &y->up, &y->down};
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) TRY(part_pack(m[i], pp, r->kern, e));
    return STATUS_OK;
}

static enum status bind(struct part_run *run, const struct part_params *pp, struct err *e)
{
    struct text_run *r = (struct text_run *)run;
    const struct text *p = (const struct text *)run->part;
    for (size_t l = 0; l < p->n_layers; l++) TRY(bind_layer(r, pp, l, e));
    part_matrix_of(&r->head, pp, p->head, 0, 1, SIZE_MAX);
    part_text_users_bind(r, pp);
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
    struct tape_value a = op_linear(s->tape, attended, &y->o.op, KERN_ACT_NONE);
    a = op_dropout(s->tape, a, p->dropout, random);
    const struct tape_value h = op_layernorm(s->tape, a, x, y->ln1_gain, y->ln1_bias, p->shape.eps);
    struct tape_value d =
        op_linear(s->tape, op_linear(s->tape, h, &y->up.op, p->shape.act), &y->down.op, KERN_ACT_NONE);
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

/* Candidates are segments; a list's are a group, with that slate's user rows (if prepared) as their prefix. */
static struct kern_segments segments_of(struct text_run *r, struct tape *t, const struct part_list *lists, size_t n,
                                        const struct text_rows *rows)
{
    struct kern_segments seg = {.n = rows->n, .q_off = rows->off, .k_off = rows->off};
    if (!has_user((const struct text *)r->base.part)) return seg;
    int32_t *s_off = tape_host(t, n + 1, sizeof *s_off);
    if (s_off == NULL) return seg;
    s_off[0] = 0;
    for (size_t i = 0; i < n; i++) s_off[i + 1] = s_off[i] + (int32_t)lists[i].n;
    seg.groups = n;
    seg.s_off = s_off;
    seg.p_off = r->user_off;
    return seg;
}

/* rows through the K layers, each candidate seeing its slate's user and its own rows; result (rows->n,C): its first row. */
static struct tape_value stack(struct text_run *r, const struct part_list *lists, size_t n,
                               const struct text_rows *rows)
{
    const struct text *p = (const struct text *)r->base.part;
    struct part_slate *s = lists[0].s;
    struct tape *t = s->tape;
    struct tape_value x = rows->x;
    const int32_t *ones = iota(t, rows->n + 1);
    struct kern_segments seg = segments_of(r, t, lists, n, rows);
    for (size_t l = 0; l < p->n_layers && !t->oom; l++) {
        const bool last = l + 1 == p->n_layers;
        const struct tape_value role = l == 0 && has_user(p) ? r->role : (struct tape_value){0};
        const struct tape_value kv = op_linear_shared(t, x, &r->layers[l].kv.op, KERN_ACT_NONE, role);
        if (last) x = first_rows(t, x, rows->off, rows->n);
        const struct tape_value q = op_linear_shared(t, x, &r->layers[l].q.op, KERN_ACT_NONE, role);
        const struct tape_value user = has_user(p) ? r->user_kv[l] : (struct tape_value){0};
        if (last) seg.q_off = ones;
        seg.prec = r->layers[l].q.op.m.prec; /* attention is as exact as the products around it */
        x = after_attention(r, s, l, op_attention(t, q, kv, user, &seg, p->shape.H), x);
    }
    return first_rows(t, x, rows->off, rows->n);
}

/* --- users -------------------------------------------------------------------------------------------------------- */

/* The events of all slates as rows: states + rank + age + type. */
static struct tape_value event_rows(struct text_run *r, struct part_slate *const *slates, size_t n, size_t E)
{
    const size_t C = ((const struct text *)r->base.part)->shape.C;
    struct tape *t = slates[0]->tape;
    int32_t *idx = tape_host(t, 3 * E + 1, sizeof *idx);
    struct tape_value states = tape_new(t, E, C, false);
    if (t->oom) return (struct tape_value){0};
    for (size_t i = 0, at = 0; i < n; at += slates[i++]->n_events) {
        part_state_put(slates[i], PART_STATE_POOLED, NULL, slates[i]->n_events,
                       tape_rows(states, at, slates[i]->n_events));
        for (size_t j = 0; j < slates[i]->n_events; j++) {
            idx[at + j] = (int32_t)j;
            idx[E + at + j] = part_age_bucket(slates[i]->slate->events[j].age_minutes);
            idx[2 * E + at + j] = slates[i]->slate->events[j].type;
        }
    }
    const struct op_lookup lookups[3] = {{r->rank, idx}, {r->age, idx + E}, {r->type, idx + 2 * E}};
    return op_embed(t, states, lookups, 3);
}

/* Slate by slate the learnt user state, then its events; r->user_off says where. */
static struct tape_value user_rows(struct text_run *r, struct part_slate *const *slates, size_t n)
{
    struct tape *t = slates[0]->tape;
    size_t E = 0;
    for (size_t i = 0; i < n; i++) E += slates[i]->n_events;
    int32_t *off = tape_host(t, n + 1, sizeof *off), *idx = tape_host(t, n + E, sizeof *idx);
    const struct tape_value all = op_concat(t, r->user, event_rows(r, slates, n, E));
    if (t->oom) return all;
    for (size_t i = 0, at = 0, event = 1; i < n; i++) {
        off[i] = (int32_t)at;
        idx[at++] = 0;
        for (size_t j = 0; j < slates[i]->n_events; j++) idx[at++] = (int32_t)event++;
        off[i + 1] = (int32_t)at;
    }
    r->user_off = off;
    if (n == 1) return all; /* in order already */
    const struct op_lookup lookup = {all, idx};
    return op_embed(t, (struct tape_value){.n = n + E, .c = all.c}, &lookup, 1);
}

/* Keys and values of the users' rows, layer by layer; users see only themselves. */
static enum status prepare_users(struct text_run *r, struct part_slate *const *slates, size_t n, struct err *e)
{
    const struct text *p = (const struct text *)r->base.part;
    struct tape *t = slates[0]->tape;
    for (size_t i = 0; i < n; i++) TRY(part_states(slates[i], NULL, slates[i]->n_events, e));
    struct tape_value x = user_rows(r, slates, n);
    for (size_t l = 0; l < p->n_layers && !t->oom; l++) {
        r->user_kv[l] = op_linear(t, x, &r->layers[l].kv.op, KERN_ACT_NONE);
        if (l + 1 == p->n_layers) break;
        const struct kern_segments all = {
            .n = n, .q_off = r->user_off, .k_off = r->user_off, .prec = r->layers[l].q.op.m.prec};
        const struct tape_value q = op_linear(t, x, &r->layers[l].q.op, KERN_ACT_NONE);
        const struct tape_value seen = op_attention(t, q, r->user_kv[l], (struct tape_value){0}, &all, p->shape.H);
        x = after_attention(r, slates[0], l, seen, x);
    }
    return tape_status(t, e);
}

static enum status prepare(struct part_run *run, struct part_slate *s, struct err *e)
{
    struct text_run *r = (struct text_run *)run;
    const struct event_position at = s->slate->at;
    rand_init(&r->random, (struct rand_key){.seed = hash_mix(s->dropout_seed, s->dropout_chunk),
                                            .topic = at.topic,
                                            .partition = at.partition,
                                            .offset = at.offset,
                                            .purpose = RAND_DROPOUT});
    return has_user((const struct text *)run->part) ? prepare_users(r, &s, 1, e) : STATUS_OK;
}

/* --- candidates --------------------------------------------------------------------------------------------------- */

static const struct state_entry *entry_of(const struct part_list *list, size_t i)
{
    return list->s->entries[list->s->slate->items[list->which[i]].sentence];
}

/* Where each candidate's rows begin: one each, or its tokens. */
static int32_t *row_offsets(struct text_run *r, const struct part_list *lists, size_t n, struct tape *t)
{
    const bool tokens = ((const struct text *)r->base.part)->view == TEXT_TOKENS;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++) total += lists[i].n;
    int32_t *off = tape_host(t, total + 1, sizeof *off);
    for (size_t i = 0; off != NULL && i < n; i++)
        for (size_t j = 0; j < lists[i].n; j++, at++)
            off[at + 1] = off[at] + (tokens ? (int32_t)entry_of(&lists[i], j)->n_tokens : 1);
    return off;
}

/* The frozen states of one list's candidates, from row `at` on. */
static void put_states(struct text_run *r, const struct part_list *list, struct tape_value x, const int32_t *off)
{
    const struct text *p = (const struct text *)r->base.part;
    const size_t first = (size_t)off[0], rows = (size_t)off[list->n] - first;
    if (p->view != TEXT_TOKENS) {
        part_state_put(list->s, PART_STATE_POOLED, list->which, list->n, tape_rows(x, first, rows));
        return;
    }
    for (size_t i = 0; i < list->n; i++)
        part_state_put_tokens(list->s, entry_of(list, i), tape_rows(x, (size_t)off[i], (size_t)(off[i + 1] - off[i])));
}

/* Frozen states of the candidates of n slates + role. */
static enum status item_rows(struct text_run *r, const struct part_list *lists, size_t n, struct text_rows *out,
                             struct err *e)
{
    const struct text *p = (const struct text *)r->base.part;
    struct tape *t = lists[0].s->tape;
    out->n = 0;
    for (size_t i = 0; i < n; out->n += lists[i++].n) TRY(part_states(lists[i].s, lists[i].which, lists[i].n, e));
    out->off = row_offsets(r, lists, n, t);
    if (out->off == NULL) return tape_status(t, e);
    out->x = tape_new(t, (size_t)out->off[out->n], p->shape.C, false);
    if (t->oom) return tape_status(t, e);
    for (size_t i = 0, at = 0; i < n; at += lists[i++].n) put_states(r, &lists[i], out->x, out->off + at);
    int32_t *zero = tape_host(t, out->x.n + 1, sizeof *zero);
    if (zero == NULL || !has_user(p)) return tape_status(t, e);
    const struct op_lookup role = {r->role, zero};
    out->x = op_embed(t, out->x, &role, 1);
    return tape_status(t, e);
}

static size_t rows(const struct part_run *run, const struct part_slate *s, uint32_t item)
{
    const struct text *p = (const struct text *)run->part;
    size_t n = 1;
    if (p->view == TEXT_TOKENS) n = s->slate->sentences[s->slate->items[item].sentence].n;
    if (p->view == TEXT_CONCAT) n = part_text_concat_length(p, s, item);
    return n * (p->n_layers > 0 ? p->n_layers : 1);
}

static enum status score_lists(struct text_run *r, const struct part_list *lists, size_t n, struct tape_value *z,
                               struct err *e)
{
    struct text_rows in = {0};
    if (((const struct text *)r->base.part)->view == TEXT_CONCAT)
        TRY(part_text_concat_rows(r, lists, &in, e));
    else
        TRY(item_rows(r, lists, n, &in, e));
    struct tape *t = lists[0].s->tape;
    const struct tape_value h = stack(r, lists, n, &in);
    if (!t->oom) *z = op_linear(t, h, &r->head, KERN_ACT_NONE);
    TRY(part_text_users_add(r, lists, n, h, z, e));
    return tape_status(t, e);
}

static enum status score(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e)
{
    const struct part_list list = {s, which, n};
    return score_lists((struct text_run *)run, &list, 1, z, e);
}

static enum status score_together(struct part_run *run, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e)
{
    struct text_run *r = (struct text_run *)run;
    struct tape *t = lists[0].s->tape;
    struct part_slate **slates = tape_host(t, n, sizeof *slates);
    if (slates == NULL) return tape_status(t, e);
    for (size_t i = 0; i < n; i++) slates[i] = lists[i].s;
    TRY(prepare_users(r, slates, n, e));
    return score_lists(r, lists, n, z, e);
}

static size_t replaced(const struct part *part, const struct param_table *t, const float *w,
                       struct encoder_replaced *out, size_t max)
{
    const struct text *p = (const struct text *)part;
    for (size_t l = 0; l < p->n_layers && l < max; l++) {
        const float *v[TEXT_TENSORS];
        for (size_t i = 0; i < TEXT_TENSORS; i++) v[i] = w + param_at(t, p->layers[l][i])->offset;
        struct kern_layer y = *encoder_layer(p->enc, p->first + l); /* sizes */
        y.qkv.w = v[TEXT_QKV], y.qkv_b = v[TEXT_QKV_BIAS], y.o.w = v[TEXT_O], y.o_b = v[TEXT_O_BIAS];
        y.up.w = v[TEXT_UP], y.up_b = v[TEXT_UP_BIAS], y.down.w = v[TEXT_DOWN], y.down_b = v[TEXT_DOWN_BIAS];
        y.ln1_gain = v[TEXT_LN1_GAIN], y.ln1_bias = v[TEXT_LN1_BIAS];
        y.ln2_gain = v[TEXT_LN2_GAIN], y.ln2_bias = v[TEXT_LN2_BIAS];
        out[l] = (struct encoder_replaced){p->first + l, y};
    }
    return p->n_layers;
}

const struct part_ops part_text = {"text", create, destroy, init,  run_create,     run_destroy,
                                   bind,   rows,   prepare, score, score_together, NULL,
                                   NULL,   NULL,   NULL,    NULL,  replaced};
