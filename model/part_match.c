/* part_match.c - late interaction over frozen sentence vectors (MODEL.md, `match`; as in DIN, Zhou et al. 2018, and
 * ColBERT, Khattab and Zaharia 2020).
 *
 *   k_e = v_e + W v_e;  s_e = v_item . k_e;  b_e = rank + age bucket + type bias
 *   learnt pooling {m, a_8, a_25, has-others}, m^2; fixed {v_item . taste, max_e cos without the identical item,
 *   has-history};
 *   all times match.linear, plus v_item times match.item
 */
#include "model/part_match.h"
#include "base/mem.h"

enum { TAUS = 2, POOLED = TAUS + 2, SQUARE = POOLED, FIXED = SQUARE + 1, N_FIXED = 3, N_LINEAR = FIXED + N_FIXED };

struct match {
    struct part base;
    size_t C, max_events;
    size_t map, tau, rank, age, type; /* tensors: (C,C) (2) (events) (16) (32) */
    size_t linear, item;              /* (1,8) (1,C) */
};
struct user_side {
    struct tape_value keys; /* (E,C): k_e */
    struct tape_value bias; /* (E,1) */
};
struct match_run {
    struct part_run base;
    struct kern *kern;
    struct part_matrix map;
    struct op_matrix pooled, square, fixed, item;
    struct tape_value tau, rank, age, type;
    struct tape_value events; /* (E,C) of the slate prepared: v_e, frozen */
    struct tape_value taste;  /* (1,C) */
    struct user_side own;
};

static enum status declare(struct match *p, const struct conf *c, struct param_table *t, struct err *e)
{
    const uint32_t C = (uint32_t)p->C, events = (uint32_t)(p->max_events > 0 ? p->max_events : 1);
    const float head = (float)c->train_head_rate;
    TRY(param_table_add(t, "match.map", PARAM_ADAMW, 2, (uint32_t[]){C, C}, (float)c->train_match_rate,
                        (float)c->train_weight_decay, &p->map, e));
    TRY(param_table_add(t, "match.tau", PARAM_ADAMW, 1, (uint32_t[]){TAUS}, head, 0, &p->tau, e));
    TRY(param_table_add(t, "match.rank", PARAM_ADAMW, 1, &events, head, 0, &p->rank, e));
    TRY(param_table_add(t, "match.age", PARAM_ADAMW, 1, (uint32_t[]){PART_AGES}, head, 0, &p->age, e));
    TRY(param_table_add(t, "match.type", PARAM_ADAMW, 1, (uint32_t[]){EVENT_TYPES_MAX}, head, 0, &p->type, e));
    /* AdaGrad for both linear terms: on Online Retail AdamW at 1e-3 or 1e-2 came 0.002 to 0.010 GAUC below it. */
    const float linear = (float)c->train_linear_rate;
    TRY(param_table_add(t, "match.item", PARAM_ADAGRAD, 2, (uint32_t[]){1, C}, linear, 0, &p->item, e));
    return param_table_add(t, "match.linear", PARAM_ADAGRAD, 2, (uint32_t[]){1, N_LINEAR}, linear, 0, &p->linear, e);
}

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    if (env->enc == NULL) return ERR_SET(e, STATUS_INVALID, "part match: needs an encoder; set model.base");
    struct match *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part match: %zu bytes", sizeof *p);
    p->base = (struct part){.ops = &part_match, .wants_states = true};
    p->C = encoder_shape(env->enc)->C;
    p->max_events = (size_t)env->conf->model_events;
    const enum status st = declare(p, env->conf, t, e);
    if (st == STATUS_OK)
        *out = &p->base;
    else
        mem_free(p);
    return st;
}

static void init(const struct part *part, const struct param_table *t, uint64_t seed, float *w)
{
    (void)seed;
    float *tau = w + param_at(t, ((const struct match *)part)->tau)->offset;
    tau[0] = 8;
    tau[1] = 25;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    TRY(part_run_alloc(out, p, sizeof(struct match_run), e));
    ((struct match_run *)*out)->kern = k;
    return STATUS_OK;
}

static void run_destroy(struct part_run *run)
{
    struct match_run *r = (struct match_run *)run;
    if (r != NULL) r->kern->ops->unpack(r->kern, &r->map.op.m);
    mem_free(r);
}

/* Columns [first, first+n) of the (1, N) tensor as a matrix of its own. */
static void part_of_row(struct op_matrix *m, struct tape_value w, size_t first, size_t n)
{
    *m = (struct op_matrix){.m = {.w = w.x + first, .out = 1, .in = n}, .dw = w.dx != NULL ? w.dx + first : NULL};
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    struct match_run *r = (struct match_run *)run;
    const struct match *q = (const struct match *)run->part;
    const struct tape_value linear = part_value(p, q->linear);
    part_of_row(&r->pooled, linear, 0, POOLED);
    part_of_row(&r->square, linear, SQUARE, 1);
    part_of_row(&r->fixed, linear, FIXED, N_FIXED);
    part_matrix_of(&r->item, p, q->item, 0, 1, SIZE_MAX);
    r->tau = part_value(p, q->tau);
    r->rank = part_value(p, q->rank);
    r->age = part_value(p, q->age);
    r->type = part_value(p, q->type);
    part_matrix_of(&r->map.op, p, q->map, 0, q->C, SIZE_MAX);
    return part_pack(&r->map, p, r->kern, e);
}

/* b (E,1) */
static struct tape_value event_bias(struct match_run *r, struct part_slate *s)
{
    const size_t E = s->n_events;
    int32_t *idx = tape_host(s->tape, 3 * E + 1, sizeof *idx);
    if (idx == NULL) return (struct tape_value){0};
    for (size_t i = 0; i < E; i++) {
        idx[i] = (int32_t)i;
        idx[E + i] = part_age_bucket(s->slate->events[i].age_minutes);
        idx[2 * E + i] = s->slate->events[i].type;
    }
    const struct op_lookup lookups[3] = {{r->rank, idx}, {r->age, idx + E}, {r->type, idx + 2 * E}};
    return op_embed(s->tape, (struct tape_value){.n = E, .c = 1}, lookups, 3);
}

static struct user_side user_side(struct match_run *r, struct part_slate *s, struct tape_value events)
{
    return (struct user_side){
        .keys = op_add(s->tape, events, op_linear(s->tape, events, &r->map.op, KERN_ACT_NONE)),
        .bias = event_bias(r, s),
    };
}

/* Whether part idvec computes what is learnt from. */
static bool stands_aside(const struct match_run *r, const struct part_slate *s)
{
    return r->base.part->changed && s->tape->record;
}

static enum status read_events(struct match_run *r, struct part_slate *s, struct err *e)
{
    const size_t C = ((const struct match *)r->base.part)->C;
    TRY(part_states(s, NULL, s->n_events, e));
    float *taste = tape_host(s->tape, C, sizeof *taste);
    if (taste == NULL) return tape_status(s->tape, e);
    part_taste(s, taste, C);
    r->taste = tape_constant(s->tape, taste, 1, C);
    r->events = part_state_rows(s, PART_STATE_FINAL, NULL, s->n_events, C);
    return tape_status(s->tape, e);
}

static enum status prepare(struct part_run *run, struct part_slate *s, struct err *e)
{
    struct match_run *r = (struct match_run *)run;
    TRY(read_events(r, s, e));
    if (!stands_aside(r, s)) r->own = user_side(r, s, r->events);
    if (run->part->changed) s->match = tape_floats(s->tape, s->slate->n_items);
    return tape_status(s->tape, e);
}

/* (n, E) bytes of backend memory: 1 where the event is the candidate itself. */
static const uint8_t *same_item(struct part_slate *s, const uint32_t *which, size_t n)
{
    const size_t E = s->n_events;
    uint8_t *self = tape_host(s->tape, n * E + 1, 1);
    if (self == NULL) return NULL;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < E; j++)
            self[i * E + j] = s->slate->events[j].item == s->slate->items[which[i]].item;
    return tape_upload(s->tape, self, n * E);
}

/* The fixed features (n, 3). */
static struct tape_value fixed_features(struct match_run *r, struct part_slate *s, struct tape_value items,
                                        const uint8_t *self)
{
    const struct tape_value cosines = op_dot(s->tape, items, r->events), taste = op_dot(s->tape, items, r->taste);
    const struct tape_value out = tape_new(s->tape, items.n, N_FIXED, false);
    if (!s->tape->oom)
        r->kern->ops->match_fixed(r->kern, out.x, taste.x, cosines.x, self, items.n, s->n_events);
    return out;
}

/* Column 0 of feat as a value of its own. */
static struct tape_value first_column(struct tape *t, struct tape_value feat)
{
    int32_t *idx = tape_host(t, feat.n + 1, sizeof *idx);
    if (idx == NULL) return (struct tape_value){0};
    for (size_t i = 0; i < feat.n; i++) idx[i] = (int32_t)(i * feat.c);
    const struct op_lookup lookup = {{feat.x, feat.dx, feat.n * feat.c, 1}, idx};
    return op_embed(t, (struct tape_value){.n = feat.n, .c = 1}, &lookup, 1);
}

/* One set of vectors: frozen (n,C), of which the fixed features are, and what the rest reads. */
static enum status logits(struct match_run *r, struct part_slate *s, const struct user_side *u,
                          struct tape_value frozen, struct tape_value items, const uint32_t *which,
                          struct tape_value *z, struct err *e)
{
    struct tape *t = s->tape;
    *z = op_linear(t, items, &r->item, KERN_ACT_NONE);
    if (s->n_events == 0) return tape_status(t, e);
    const uint8_t *self = same_item(s, which, frozen.n);
    if (self == NULL) return tape_status(t, e);
    const struct tape_value fixed = fixed_features(r, s, frozen, self);
    if (t->oom) return tape_status(t, e);
    const struct tape_value feat = op_match(t, op_dot(t, items, u->keys), u->bias, r->tau, self);
    const struct tape_value m = first_column(t, feat);
    *z = op_add(t, *z, op_linear(t, feat, &r->pooled, KERN_ACT_NONE));
    *z = op_add(t, *z, op_linear(t, op_mul(t, m, m), &r->square, KERN_ACT_NONE));
    *z = op_add(t, *z, op_linear(t, fixed, &r->fixed, KERN_ACT_NONE));
    return tape_status(t, e);
}

/* What idvec takes off again from the whole. */
static void keep_logits(struct match_run *r, struct part_slate *s, const uint32_t *which, struct tape_value z)
{
    const int32_t *rows = tape_upload(s->tape, which, z.n * sizeof *which);
    if (rows != NULL) r->kern->ops->put_rows(r->kern, s->match, z.x, rows, z.n, 1);
}

static enum status score(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e)
{
    struct match_run *r = (struct match_run *)run;
    if (stands_aside(r, s)) {
        *z = tape_new(s->tape, n, 1, false);
        if (z->x != NULL) r->kern->ops->zero(r->kern, z->x, n);
        return tape_status(s->tape, e);
    }
    TRY(part_states(s, which, n, e));
    const struct tape_value items =
        part_state_rows(s, PART_STATE_FINAL, which, n, ((const struct match *)run->part)->C);
    TRY(logits(r, s, &r->own, items, items, which, z, e));
    if (run->part->changed) keep_logits(r, s, which, *z);
    return tape_status(s->tape, e);
}

enum status part_match_changed(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                               part_match_add *add, void *user, struct tape_value *z, struct err *e)
{
    struct match_run *r = (struct match_run *)run;
    TRY(read_events(r, s, e)); /* what was prepared since may be another slate */
    TRY(part_states(s, which, n, e));
    const struct tape_value frozen =
        part_state_rows(s, PART_STATE_FINAL, which, n, ((const struct match *)run->part)->C);
    const struct tape_value events = add(user, s, r->events, NULL), items = add(user, s, frozen, which);
    TRY(tape_status(s->tape, e));
    const struct user_side u = user_side(r, s, events);
    return logits(r, s, &u, frozen, items, which, z, e);
}

const struct part_ops part_match = {"match", create, NULL, init, run_create, run_destroy, bind, NULL, prepare,
                                    score,   NULL,   NULL, NULL, NULL,       NULL,        NULL, NULL};
