/* variants_state.c - the variants in and out of a store transaction.
 *
 * STORE_LEARNER "variants": who is in charge, the lines by name with the rows that open slates hold of each, the comparisons;
 * "variant/<name>": one line's counts, batch, evaluator and running statistics.  Hashed rows carry the name behind the page.
 */
#include "base/mem.h"
#include "job/variants_private.h"
#include <stdio.h>
#include <string.h>

enum { KEY_ROOM = 64 };

static struct str key_of(char key[KEY_ROOM], const char *name)
{
    return (struct str){key, (size_t)snprintf(key, KEY_ROOM, "variant/%s", name)};
}

static enum status put(struct store_txn *t, struct str key, const struct buf *b, struct err *e)
{
    TRY(buf_status(b, e));
    return store_put(t, STORE_LEARNER, key, (struct str){(const char *)b->p, b->n}, e);
}

static void common_encode(struct buf *b, const struct variants *v)
{
    buf_str(b, str_from(conf_line_name(v->conf, v->in_charge)));
    buf_varint(b, v->n + 1);
    for (size_t i = 0; i <= v->n; i++) {
        buf_str(b, str_from(conf_line_name(v->conf, i)));
        buf_varint(b, model_n_rows(variants_line(v, i)->model));
        paired_encode(b, &v->paired[i]);
    }
    buf_u64(b, v->settled);
    arms_encode(b, v->arms, v->conf);
    arms_cohorts_encode(b, v->arms, v->conf);
    arms_split_encode(b, v->arms, v->conf);
    arms_ratio_encode(b, v->arms, v->conf);
}

static void line_encode(struct buf *b, const struct line *l, const struct follower *f)
{
    buf_i64(b, f->first_ms);
    buf_u64(b, f->periods);
    buf_u64(b, f->times);
    buf_u64(b, l->counts.learnt_slates);
    buf_u64(b, l->counts.learnt_examples);
    buf_u64(b, l->counts.steps);
    line_batch_encode(b, l);
    model_run_encode(b, l->run);
    eval_encode(b, l->eval);
    loss_delay_encode(b, &l->delay);
    ope_encode(b, l->ope);
    spike_encode(b, &l->spike);
    if (l->gate != NULL) line_gate_encode(b, l->gate);
}

/* gated: the state has a gate of it. */
static enum status line_decode(struct line *l, struct follower *f, struct buf_reader *r, bool *gated, struct err *e)
{
    f->first_ms = buf_get_i64(r);
    f->periods = buf_get_u64(r);
    f->times = buf_get_u64(r);
    l->counts.learnt_slates = buf_get_u64(r);
    l->counts.learnt_examples = buf_get_u64(r);
    l->counts.steps = buf_get_u64(r);
    TRY(line_batch_decode(l, r, e));
    TRY(model_run_decode(l->run, r, e));
    TRY(eval_decode(l->eval, r, e));
    TRY(loss_delay_decode(&l->delay, r, e));
    if (buf_left(r) > 0) TRY(ope_decode(l->ope, r, e)); /* states of before have none */
    if (buf_left(r) > 0) spike_decode(&l->spike, r);
    *gated = buf_left(r) > 0 && l->gate != NULL;
    if (*gated) TRY(line_gate_decode(l->gate, r, e));
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "state of a variant is cut short") : STATUS_OK;
}

static const char *reservoir_of(char key[KEY_ROOM], const char *name)
{
    (void)snprintf(key, KEY_ROOM, "variant/%s/reservoir", name);
    return key;
}

/* ---- out ---- */

static enum status drop_gone(struct variants *v, struct store_txn *t, struct err *e)
{
    char key[KEY_ROOM];
    for (size_t i = 0; i < v->n_gone; i++) {
        TRY(store_delete(t, STORE_LEARNER, key_of(key, v->gone[i]), e));
        TRY(optim_sparse_forget(t, str_from(v->gone[i]), e));
        TRY(reservoir_forget(t, reservoir_of(key, v->gone[i]), e));
        TRY(line_gate_forget(v->gone[i], t, e));
    }
    return STATUS_OK;
}

enum status variants_save(struct variants *v, struct store_txn *t, struct err *e)
{
    char key[KEY_ROOM];
    struct buf b = {0};
    enum status st;
    TRY_OUT(st, drop_gone(v, t, e));
    if (v->n > 0) common_encode(&b, v);
    TRY_OUT(st, v->n > 0 ? put(t, STR("variants"), &b, e) : store_delete(t, STORE_LEARNER, STR("variants"), e));
    for (size_t i = 0; i < v->n; i++) {
        const struct line *l = v->lines[i];
        const char *name = conf_line_name(v->conf, i + 1);
        buf_clear(&b);
        line_encode(&b, l, &v->followers[i]);
        TRY_OUT(st, put(t, key_of(key, name), &b, e));
        TRY_OUT(st, reservoir_save(l->reservoir, t, reservoir_of(key, name), e));
        TRY_OUT(st, optim_sparse_save(l->optim, l->params, str_from(name), t, e));
        TRY_OUT(st, line_gate_save(l, name, t, e));
    }
out:
    buf_fini(&b);
    return st;
}

void variants_saved(struct variants *v)
{
    for (size_t i = 0; i < v->n; i++) {
        optim_sparse_saved(v->lines[i]->optim);
        reservoir_saved(v->lines[i]->reservoir);
        line_gate_saved(v->lines[i]);
    }
    while (v->n_gone > 0) mem_free(v->gone[--v->n_gone]);
}

/* ---- back ---- */

static enum status note_gone(struct variants *v, struct str name, struct err *e)
{
    char text[CONF_VARIANT_NAME] = "";
    if (name.n >= sizeof text || v->n_gone == CONF_LINES_MAX)
        return ERR_SET(e, STATUS_CORRUPT, "state of variants: names");
    memcpy(text, name.p, name.n);
    v->gone[v->n_gone] = mem_strdup(text);
    if (v->gone[v->n_gone] == NULL) return ERR_SET(e, STATUS_OOM, "state of variants");
    v->n_gone++;
    return STATUS_OK;
}

/* One line of the state: its rows then, from *row on. */
static enum status take_line(struct variants *v, struct buf_reader *r, struct variants_layout *layout, size_t *row,
                             struct err *e)
{
    struct paired pair = {0};
    const struct str name = buf_get_str(r);
    const size_t parts = (size_t)buf_get_varint(r), line = conf_line_find(v->conf, name);
    TRY(paired_decode(&pair, r, e));
    if (parts > MODEL_ROWS_MAX || *row + parts + 1 > VARIANTS_ROWS_MAX)
        return ERR_SET(e, STATUS_CORRUPT, "state of variants: %zu parts", parts);
    const size_t from = *row, n = line == 0 ? parts : parts + 1;
    *row += n;
    if (line == SIZE_MAX) return note_gone(v, name, e);
    if (model_n_rows(variants_line(v, line)->model) != parts)
        return ERR_SET(e, STATUS_CONFLICT, "variant %s had %zu parts in the state", conf_line_name(v->conf, line),
                       parts);
    const size_t to = line == 0 ? 0 : v->row[line - 1];
    for (size_t i = 0; i < n; i++) layout->map[to + i] = from + i;
    if (v->paired != NULL) v->paired[line] = pair;
    if (line > 0) v->fresh[line - 1] = false;
    return STATUS_OK;
}

static enum status common_decode(struct variants *v, struct buf_reader *r, struct variants_layout *layout,
                                 struct err *e)
{
    size_t row = 0;
    const struct str champion = buf_get_str(r);
    const size_t n = (size_t)buf_get_varint(r), line = conf_line_find(v->conf, champion);
    if (r->bad || n > CONF_LINES_MAX) return ERR_SET(e, STATUS_CORRUPT, "state of %zu variants", n);
    if (line == SIZE_MAX)
        return ERR_SET(e, STATUS_CONFLICT,
                       "variant \"" STR_FMT "\" is in charge and has no [variant." STR_FMT "] in the configuration; "
                       "put it back; once another one is promoted there, it can go",
                       STR_ARG(champion), STR_ARG(champion));
    v->in_charge = line;
    variants_split(v, 0); /* of a state that does not say: it was this one */
    for (size_t i = 0; i < n; i++) TRY(take_line(v, r, layout, &row, e));
    layout->rows_then = row;
    v->settled = buf_get_u64(r);
    if (v->arms == NULL) return STATUS_OK;
    TRY(arms_decode(v->arms, v->conf, r, e));
    if (buf_left(r) > 0) TRY(arms_cohorts_decode(v->arms, v->conf, r, e)); /* of before: none */
    if (buf_left(r) > 0) TRY(arms_split_decode(v->arms, v->conf, r, e));
    if (buf_left(r) > 0) return arms_ratio_decode(v->arms, v->conf, r, e);
    arms_ratio_recount(v->arms);
    return STATUS_OK;
}

static enum status load_line(struct variants *v, size_t i, struct store_txn *t, struct err *e)
{
    char key[KEY_ROOM];
    struct str value;
    const char *name = conf_line_name(v->conf, i + 1);
    struct line *l = v->lines[i];
    if (v->fresh[i]) return STATUS_OK;
    TRY(store_get(t, STORE_LEARNER, key_of(key, name), &value, e));
    struct buf_reader r = buf_reader(value.p, value.n);
    bool gated;
    if (line_decode(l, &v->followers[i], &r, &gated, e) != STATUS_OK)
        return err_prefix(e, "state record 'variant/%s'", name);
    if (gated) TRY(line_gate_load(l, name, t, e));
    TRY(reservoir_load(l->reservoir, t, reservoir_of(key, name), e));
    return optim_sparse_load(l->optim, l->params, str_from(name), t, e);
}

enum status variants_load(struct variants *v, struct store_txn *t, struct variants_layout *layout, struct err *e)
{
    struct str value;
    layout->rows_then = model_n_rows(v->first->model);
    for (size_t i = 0; i < VARIANTS_ROWS_MAX; i++) layout->map[i] = i < layout->rows_then ? i : SIZE_MAX;
    const enum status st = store_get(t, STORE_LEARNER, STR("variants"), &value, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK; /* the state has none */
    TRY(st);
    struct buf_reader r = buf_reader(value.p, value.n);
    if (common_decode(v, &r, layout, e) != STATUS_OK) return err_prefix(e, "state record 'variants'");
    for (size_t i = 0; i < v->n; i++) TRY(load_line(v, i, t, e));
    return STATUS_OK;
}
