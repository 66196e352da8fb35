/* line_publish.c - see line_publish.h. */
#include "job/line_publish.h"
#include "schemas/weights_dense.h"
#include <stdio.h>

_Static_assert((int)PUBLISH_PAGE == (int)OPTIM_PAGE, "what the optimiser marks is what the publisher takes");

void line_publish_touch(const struct line *l, struct publish *to)
{
    const struct optim *o = l->optim;
    for (size_t page = optim_dirty_page(o, 0); page != SIZE_MAX; page = optim_dirty_page(o, page + 1))
        publish_touch(to, page);
}

enum status line_publish(const struct line *l, struct publish *to, const struct param_set *p, struct publish_version *v,
                         struct err *e)
{
    struct weights_view view = {0};
    struct arena a = {0};
    struct buf dense = {0};
    enum status st;
    const struct param_table *t = model_table(l->model);
    const uint64_t base = model_fingerprint(l->model);
    const size_t *first = t->group_first;
    const struct publish_hashed hashed = {p->w + first[PARAM_SPARSE], p->n - first[PARAM_SPARSE]};
    if (to == NULL) return STATUS_OK;
    v->version = p->version;
    (void)snprintf(v->sha256, sizeof v->sha256, "%s", p->sha256);
    (void)snprintf(v->base, sizeof v->base, "%016llx", (unsigned long long)base);
    TRY_OUT(st, param_view(t, p, base, &a, &view, e));
    TRY_OUT(st, weights_dense_encode(&dense, &view, first[PARAM_SPARSE], v->rounded ? first[PARAM_ADAGRAD] : 0, e));
    st = publish_weights(to, v, &dense, &hashed, e);
out:
    buf_fini(&dense);
    arena_fini(&a);
    return st;
}
