/* part_text_users.c - a head of each user's own, beside the common one that reads what the trainable top makes of a candidate.
 *
 * z += sum over d of gain_d · (map h)_d · u_d: h (C) the row that the head reads, map (U,C) learnt by all users together, u (U) the
 * user's row of a bounded table, by hash, 0 at first (a personal head on shared layers: FedPer, Arivazhagan et al. 2019; the
 * product of factors: Koren, Bell and Volinsky 2009).  So the top layers are paid for features that tell users apart, of texts
 * and not of items; events alone say of a user only what they read.  Users that share a row share what is learnt, as do all
 * visitors without a name.
 */
#include "base/hash.h"
#include "model/part_text.h"

#define SPREAD 0.1 /* deviation of the map at first: its products are then of size 1 */

struct reading { /* the rows that were read, on the tape */
    const struct text_run *run;
    const int32_t *rows;
};

enum status part_text_users_declare(struct text *p, const struct conf *c, struct param_table *t, struct err *e)
{
    const uint32_t U = (uint32_t)c->model_user_units, bits = (uint32_t)c->model_user_bits;
    const uint32_t rows[2] = {(uint32_t)1 << bits, U}, map[2] = {U, (uint32_t)p->shape.C}, gain[2] = {1, U};
    p->units = U;
    p->user_mask = rows[0] - 1;
    if (U == 0) return STATUS_OK;
    TRY(param_table_add(t, "text.user_rows", PARAM_SPARSE, 2, rows, (float)c->train_user_rate, 0, &p->user_rows, e));
    TRY(param_table_add(t, "text.user_map", PARAM_ADAMW, 2, map, (float)c->train_head_rate, 0, &p->user_map, e));
    return param_table_add(t, "text.user_gain", PARAM_ADAMW, 2, gain, (float)c->train_head_rate, 0, &p->user_gain, e);
}

void part_text_users_init(const struct text *p, const struct param_table *t, uint64_t seed, float *w)
{
    if (p->units == 0) return;
    part_init_normal(t, p->user_map, SPREAD, seed, w);
    const struct param *gain = param_at(t, p->user_gain);
    for (size_t i = 0; i < gain->n; i++) w[gain->offset + i] = 1;
}

void part_text_users_bind(struct text_run *r, const struct part_params *pp)
{
    const struct text *p = (const struct text *)r->base.part;
    if (p->units == 0) return;
    r->user_w = pp->w + param_at(pp->table, p->user_rows)->offset;
    r->user_grads = part_rows_of(pp, p->user_rows);
    part_matrix_of(&r->user_map, pp, p->user_map, 0, p->units, SIZE_MAX);
    part_matrix_of(&r->user_gain, pp, p->user_gain, 0, 1, SIZE_MAX);
}

static void add_grads(void *user, const float *dy, size_t n)
{
    const struct reading *q = user;
    const size_t U = q->run->user_grads->width;
    for (size_t i = 0; i < n / U; i++) part_rows_add(q->run->user_grads, (uint32_t)q->rows[i], dy + i * U);
}

/* (n,U): the row of each list's user. */
static struct tape_value users_of(struct text_run *r, const struct part_list *lists, size_t n)
{
    const struct text *p = (const struct text *)r->base.part;
    struct tape *t = lists[0].s->tape;
    struct reading *q = tape_host(t, 1, sizeof *q);
    int32_t *rows = tape_host(t, n, sizeof *rows);
    if (t->oom) return (struct tape_value){0};
    for (size_t i = 0; i < n; i++) rows[i] = (int32_t)part_item_row(hash_str(lists[i].s->slate->user), p->user_mask);
    *q = (struct reading){r, rows};
    const struct tape_value none = {.n = n, .c = p->units};
    return op_sparse_rows(t, none,
                          &(struct op_sparse_rows){r->user_w, rows, r->user_grads != NULL ? add_grads : NULL, q});
}

enum status part_text_users_add(struct text_run *r, const struct part_list *lists, size_t n, struct tape_value h,
                                struct tape_value *z, struct err *e)
{
    struct tape *t = lists[0].s->tape;
    if (((const struct text *)r->base.part)->units == 0 || t->oom) return STATUS_OK;
    if (t->record && r->user_grads != NULL) TRY(part_rows_reserve(r->user_grads, n, e));
    int32_t *whose = tape_host(t, h.n, sizeof *whose);
    const struct op_lookup users = {users_of(r, lists, n), whose};
    if (t->oom) return STATUS_OK;
    for (size_t i = 0, at = 0; i < n; i++)
        for (size_t k = 0; k < lists[i].n; k++) whose[at++] = (int32_t)i;
    const struct tape_value u = op_embed(t, (struct tape_value){.n = h.n, .c = users.table.c}, &users, 1),
                            q = op_linear(t, h, &r->user_map, KERN_ACT_NONE);
    if (t->oom) return STATUS_OK;
    const struct tape_value own = op_linear(t, op_mul(t, q, u), &r->user_gain, KERN_ACT_NONE);
    if (!t->oom) *z = op_add(t, *z, own);
    return STATUS_OK;
}
