/* part_bias.c - the intercepts: one for recorded impressions, one for organic slates (sampled negatives), as their base
 * rates have nothing to do with each other.
 *
 * A served request takes the impressions' intercept if any impression was ever learnt from, else the organic one; that
 * this happened is a running statistic (bias.seen), so it travels with the version.
 */
#include "base/mem.h"
#include "model/part.h"
#include "model/part_position.h"

struct bias {
    struct part base;
    size_t bias, seen; /* tensors: (2), (2) */
    struct part_position position;
};
struct bias_run {
    struct part_run base;
    struct tape_value bias;
    const float *seen; /* host */
    bool learnt[2];    /* since the last apply */
    struct part_position_run position;
};

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    struct bias *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part bias: %zu bytes", sizeof *p);
    p->base.ops = &part_bias;
    p->base.wide = true;
    const uint32_t shape[1] = {2};
    enum status st = STATUS_OK;
    TRY_OUT(st,
            param_table_add(t, "bias", PARAM_ADAGRAD, 1, shape, (float)env->conf->train_linear_rate, 0, &p->bias, e));
    TRY_OUT(st, param_table_add(t, "bias.seen", PARAM_STAT, 1, shape, 0, 0, &p->seen, e));
    TRY_OUT(st, part_position_create(&p->position, env, t, e));
    *out = &p->base;
    p = NULL;
out:
    mem_free(p);
    return st;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    (void)k;
    TRY(part_run_alloc(out, p, sizeof(struct bias_run), e));
    ((struct bias_run *)*out)->position.of = &((const struct bias *)p)->position;
    return STATUS_OK;
}

static void run_destroy(struct part_run *r)
{
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct bias_run *r = (struct bias_run *)run;
    const struct bias *b = (const struct bias *)run->part;
    r->bias = part_value(p, b->bias);
    r->seen = p->host + param_at(p->table, b->seen)->offset;
    part_position_bind(&r->position, p);
    return STATUS_OK;
}

int part_bias_source(const struct part_run *run, const struct slate *s)
{
    const struct bias_run *r = (const struct bias_run *)run;
    if (s->source == SLATE_REQUEST) return r->seen[SLATE_IMPRESSION] > 0 ? SLATE_IMPRESSION : SLATE_ORGANIC;
    return s->source == SLATE_IMPRESSION ? SLATE_IMPRESSION : SLATE_ORGANIC;
}

static void learnt(struct part_run *run, const struct slate *s, const float *z, const float *dz)
{
    (void)z, (void)dz;
    struct bias_run *r = (struct bias_run *)run;
    r->learnt[part_bias_source(run, s)] = true;
    part_position_learnt(&r->position, s);
}

static void apply(struct part_run *run, const struct param_table *t, float *w)
{
    struct bias_run *r = (struct bias_run *)run;
    float *seen = w + param_at(t, ((const struct bias *)run->part)->seen)->offset;
    for (int i = 0; i < 2; i++) {
        if (r->learnt[i]) seen[i] = 1.0f;
        r->learnt[i] = false;
    }
    part_position_apply(&r->position, t, w);
}

static void drop(struct part_run *run)
{
    struct bias_run *r = (struct bias_run *)run;
    r->learnt[0] = r->learnt[1] = false;
    part_position_drop(&r->position);
}

static void encode(struct buf *b, const struct part_run *run)
{
    const struct bias_run *r = (const struct bias_run *)run;
    buf_u8(b, (uint8_t)(r->learnt[0] | r->learnt[1] << 1));
    part_position_encode(b, &r->position);
}

static enum status decode(struct part_run *run, struct buf_reader *rd, struct err *e)
{
    struct bias_run *r = (struct bias_run *)run;
    const uint8_t bits = buf_get_u8(rd);
    if (rd->bad || bits > 3) return ERR_SET(e, STATUS_CORRUPT, "state of part bias: malformed");
    r->learnt[0] = bits & 1;
    r->learnt[1] = bits >> 1;
    return part_position_decode(&r->position, rd, e);
}

static enum status score_together(struct part_run *run, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e)
{
    struct bias_run *r = (struct bias_run *)run;
    struct tape *t = lists[0].s->tape;
    const size_t K = part_listed(lists, n);
    int32_t *idx = tape_host(t, K + 1, sizeof *idx), *at = idx;
    if (idx == NULL) return tape_status(t, e);
    for (size_t l = 0; l < n; l++)
        for (size_t i = 0; i < lists[l].n; i++) *at++ = part_bias_source(run, lists[l].s->slate);
    const struct op_lookup lookup = {r->bias, idx};
    *z = op_embed(t, (struct tape_value){.n = K, .c = 1}, &lookup, 1);
    *z = part_position_add(&r->position, lists, n, *z);
    return tape_status(t, e);
}

const struct part_ops part_bias = {"bias", create,         NULL,   NULL,  run_create, run_destroy, bind,   NULL, NULL,
                                   NULL,   score_together, learnt, apply, drop,       encode,      decode, NULL};
