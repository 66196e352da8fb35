/* op_attention.c - attention on segments with a shared one-way prefix (Vaswani et al. 2017; the mask of MODEL.md
 * `text`: candidates see the user's rows and their own, the user's rows see only the user's). */
#include "model/op.h"
#include <assert.h>
#include <string.h>

struct saved_attention {
    struct tape_value q, own, prefix, y;
    const struct op_group *groups;
    size_t n;
    const float *prob;
    size_t heads;
};

/* A gradient that nobody wants still needs a place, as the kernel writes all of them. */
static float *sink(struct tape *t, struct tape_value v)
{
    return v.dx != NULL || v.n == 0 ? v.dx : tape_zeros(t, v.n * v.c);
}

/* The values of keys-and-values rows start at column C; an empty side has none. */
static float *values_of(float *kv, size_t c)
{
    return kv != NULL ? kv + c : NULL;
}

/* A group's rows of the prefix. */
static float *prefix_of(float *prefix, const struct op_group *g, size_t c)
{
    return prefix != NULL ? prefix + g->first * 2 * c : NULL;
}

static void attention_backward(struct tape *t, void *saved)
{
    const struct saved_attention *s = saved;
    const size_t c = s->y.c;
    const float *prob = s->prob;
    float *dq = sink(t, s->q), *dkv = sink(t, s->own), *dprefix = sink(t, s->prefix);
    if (t->oom) return;
    for (size_t i = 0; i < s->n; i++) {
        const struct op_group *g = &s->groups[i];
        float *p = prefix_of(s->prefix.x, g, c), *dp = prefix_of(dprefix, g, c);
        t->kern->ops->attention_backward(t->kern, dq, c, dkv, values_of(dkv, c), 2 * c, dp, values_of(dp, c), 2 * c,
                                         s->y.dx, prob, s->q.x, c, s->own.x, values_of(s->own.x, c), 2 * c, p,
                                         values_of(p, c), 2 * c, &g->seg, s->heads, c / s->heads);
        prob += kern_attention_probs(&g->seg, s->heads);
    }
}

static const int32_t *copy_offsets(struct tape *t, const int32_t *off, size_t n)
{
    int32_t *to = tape_host(t, n + 1, sizeof *to);
    if (to != NULL) memcpy(to, off, (n + 1) * sizeof *to);
    return to;
}

static const struct op_group *copy_groups(struct tape *t, const struct op_group *groups, size_t n)
{
    struct op_group *out = tape_host(t, n, sizeof *out);
    for (size_t i = 0; out != NULL && i < n; i++) {
        out[i] = groups[i];
        out[i].seg.q_off = copy_offsets(t, groups[i].seg.q_off, groups[i].seg.n);
        out[i].seg.k_off = copy_offsets(t, groups[i].seg.k_off, groups[i].seg.n);
    }
    return out;
}

struct tape_value op_attention(struct tape *t, struct tape_value q, struct tape_value own, struct tape_value prefix,
                               const struct op_group *groups, size_t n, size_t heads)
{
    if (t->oom) return (struct tape_value){0};
    assert(q.c % heads == 0 && own.c == 2 * q.c);
    const size_t c = q.c;
    size_t probs = 0;
    for (size_t i = 0; i < n; i++) {
        assert(groups[i].first + groups[i].seg.prefix <= prefix.n);
        probs += kern_attention_probs(&groups[i].seg, heads);
    }
    struct tape_value y = tape_new(t, q.n, c, q.dx != NULL || own.dx != NULL || prefix.dx != NULL);
    float *const kept = y.dx != NULL ? tape_floats(t, probs) : NULL, *prob = kept;
    if (t->oom) return (struct tape_value){0};
    for (size_t i = 0; i < n; i++) {
        float *p = prefix_of(prefix.x, &groups[i], c);
        t->kern->ops->attention(t->kern, y.x, prob, q.x, c, own.x, values_of(own.x, c), 2 * c, p, values_of(p, c),
                                2 * c, &groups[i].seg, heads, c / heads);
        if (prob != NULL) prob += kern_attention_probs(&groups[i].seg, heads);
    }
    struct saved_attention *s = y.dx != NULL ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return y;
    *s = (struct saved_attention){q, own, prefix, y, copy_groups(t, groups, n), n, kept, heads};
    tape_push(t, attention_backward, s);
    return y;
}
