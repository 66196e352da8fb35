/* op_attention.c - attention on segments with a shared one-way prefix (Vaswani et al. 2017; the mask of MODEL.md
 * `text`: candidates see the user's rows and their own, the user's rows see only the user's). */
#include "model/op.h"
#include <assert.h>
#include <string.h>

struct saved_attention {
    struct tape_value q, own, prefix, y;
    struct kern_segments seg;
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

static void attention_backward(struct tape *t, void *saved)
{
    const struct saved_attention *s = saved;
    const size_t c = s->y.c;
    float *dq = sink(t, s->q), *dkv = sink(t, s->own), *dprefix = sink(t, s->prefix);
    if (t->oom) return;
    t->kern->ops->attention_backward(t->kern, dq, c, dkv, values_of(dkv, c), 2 * c, dprefix, values_of(dprefix, c),
                                     2 * c, s->y.dx, s->prob, s->q.x, c, s->own.x, values_of(s->own.x, c), 2 * c,
                                     s->prefix.x, values_of(s->prefix.x, c), 2 * c, &s->seg, s->heads, c / s->heads);
}

static const int32_t *copy_offsets(struct tape *t, const int32_t *off, size_t n)
{
    int32_t *to = tape_host(t, n + 1, sizeof *to);
    if (to != NULL) memcpy(to, off, (n + 1) * sizeof *to);
    return to;
}

static struct kern_segments copy_segments(struct tape *t, const struct kern_segments *seg)
{
    struct kern_segments out = *seg;
    out.q_off = copy_offsets(t, seg->q_off, seg->n);
    out.k_off = copy_offsets(t, seg->k_off, seg->n);
    if (seg->groups == 0) return out;
    out.s_off = copy_offsets(t, seg->s_off, seg->groups);
    out.p_off = copy_offsets(t, seg->p_off, seg->groups);
    return out;
}

struct tape_value op_attention(struct tape *t, struct tape_value q, struct tape_value own, struct tape_value prefix,
                               const struct kern_segments *seg, size_t heads)
{
    if (t->oom) return (struct tape_value){0};
    assert(q.c % heads == 0 && own.c == 2 * q.c);
    assert(seg->groups == 0 || (size_t)seg->p_off[seg->groups] <= prefix.n);
    const size_t c = q.c;
    struct tape_value y = tape_new(t, q.n, c, q.dx != NULL || own.dx != NULL || prefix.dx != NULL);
    float *prob = y.dx != NULL ? tape_floats(t, kern_attention_probs(seg, heads)) : NULL;
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->attention(t->kern, y.x, prob, q.x, c, own.x, values_of(own.x, c), 2 * c, prefix.x,
                            values_of(prefix.x, c), 2 * c, seg, heads, c / heads);
    struct saved_attention *s = y.dx != NULL ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return y;
    *s = (struct saved_attention){q, own, prefix, y, copy_segments(t, seg), prob, heads};
    tape_push(t, attention_backward, s);
    return y;
}
