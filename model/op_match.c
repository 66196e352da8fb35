/* op_match.c - late interaction of candidates with the user's events (MODEL.md, `match`). */
#include "model/op.h"
#include <assert.h>

struct saved_match {
    struct tape_value s, b, tau, y;
    struct kern_match m;
    const float *keep;
};

static void match_backward(struct tape *t, void *saved)
{
    const struct saved_match *s = saved;
    float *ds = s->s.dx != NULL ? s->s.dx : tape_zeros(t, s->m.K * s->m.E);
    float *db = s->b.dx != NULL ? s->b.dx : tape_zeros(t, s->m.E);
    float *dtau = s->tau.dx != NULL ? s->tau.dx : tape_zeros(t, s->m.T);
    if (t->oom) return;
    t->kern->ops->match_backward(t->kern, ds, db, dtau, s->y.dx, s->keep, &s->m);
}

struct tape_value op_match(struct tape *t, struct tape_value s, struct tape_value b, struct tape_value tau,
                           const uint8_t *self)
{
    assert(b.n * b.c == s.c || t->oom);
    const size_t K = s.n, E = s.c, T = tau.n * tau.c;
    struct tape_value y = tape_new(t, K, T + 2, s.dx != NULL || b.dx != NULL || tau.dx != NULL);
    float *keep = tape_floats(t, K * (T + 1) * E);
    if (t->oom) return (struct tape_value){0};
    const struct kern_match m = {.s = s.x, .b = b.x, .tau = tau.x, .self = self, .K = K, .E = E, .T = T};
    t->kern->ops->match(t->kern, y.x, keep, &m);
    struct saved_match *saved = y.dx != NULL ? tape_host(t, 1, sizeof *saved) : NULL;
    if (saved == NULL) return y;
    *saved = (struct saved_match){s, b, tau, y, m, keep};
    tape_push(t, match_backward, saved);
    return y;
}
