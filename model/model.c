/* model.c - the architecture: which parts there are, their tensors, what versions must agree on. */
#include "base/hash.h"
#include "base/mem.h"
#include "model/model_inside.h"
#include <string.h>

/* In the order of summation; schemas/conf.c refuses other names.  The intercepts come first, outside the list. */
static const struct part_ops *const known[] = {&part_text,   &part_match, &part_numeric,  &part_cooccur,
                                               &part_hashed, &part_idvec, &part_itembias, &part_deep};
enum { KNOWN = sizeof known / sizeof *known };

/* Base weights, then every tensor's name, group and shape; views change no shape, so they are named. */
static uint64_t fingerprint(const struct model *m, const struct conf *c)
{
    uint64_t h = m->enc != NULL ? encoder_fingerprint(m->enc) : 0;
    h = hash_mix(h, hash_str(str_from(c->model_user_view)));
    h = hash_mix(h, hash_str(str_from(c->model_item_view)));
    h = hash_mix(h, (uint64_t)c->model_concat_tokens);
    for (size_t i = 0; i < m->table.n; i++) {
        const struct param *p = &m->table.params[i];
        h = hash_mix(h, hash_str(str_from(p->name)));
        h = hash_mix(h, (uint64_t)p->group);
        for (uint8_t d = 0; d < p->rank; d++) h = hash_mix(h, p->shape[d]);
    }
    return h;
}

static enum status create_parts(struct model *m, struct part_env *env, struct err *e)
{
    TRY(part_bias.create(&m->parts[m->n_parts], env, &m->table, e));
    m->first_tensor[++m->n_parts] = m->table.n;
    for (size_t i = 0; i < KNOWN; i++) {
        if (!conf_list_has(env->conf->model_parts, known[i]->name)) continue;
        TRY(known[i]->create(&m->parts[m->n_parts], env, &m->table, e));
        if (known[i] == &part_match) env->match = m->parts[m->n_parts];
        if (known[i] == &part_numeric) env->numeric = m->parts[m->n_parts], m->numeric_part = m->n_parts;
        m->wants_states |= m->parts[m->n_parts]->wants_states;
        m->wants_tokens |= m->parts[m->n_parts]->wants_tokens;
        m->wants_all_states |= m->parts[m->n_parts]->wants_states && m->parts[m->n_parts]->ops->rows == NULL;
        for (size_t k = m->first_tensor[m->n_parts]; k < m->table.n; k++)
            m->table.params[k].slow = m->parts[m->n_parts]->slow;
        m->first_tensor[++m->n_parts] = m->table.n;
    }
    return STATUS_OK;
}

/* Copies of a recorded list that are learnt early hold false negatives, or a late positive alone: their weights mend a sum over
 * examples (trainer/loss_delay.h), not a softmax over a list, nor do they say what recalibration would mend of one. */
static void set_loss(struct model *m, const struct conf *c)
{
    for (int i = 0; i < SLATE_SOURCES; i++) m->softmax_share[i] = (float)c->train_softmax_share;
    if (strcmp(c->join_loss, "wait") != 0) m->softmax_share[SLATE_IMPRESSION] = 0.0f;
    m->distill = (float)c->train_distill;
}

enum status model_new(struct model **out, const struct conf *c, const struct encoder *enc, uint32_t n_numeric,
                      struct err *e)
{
    *out = NULL;
    struct model *m = mem_calloc(1, sizeof *m);
    if (m == NULL) return ERR_SET(e, STATUS_OOM, "model: %zu bytes", sizeof *m);
    struct part_env env = {.conf = c, .enc = enc, .n_numeric = n_numeric};
    enum status st = STATUS_OK;
    m->enc = enc;
    m->n_numeric = n_numeric;
    m->max_events = (size_t)c->model_events;
    m->dropout = c->model_dropout > 0;
    kern_name(c, m->backend);
    m->prec = kern_precision_of(c->kernels_train_precision);
    set_loss(m, c);
    TRY_OUT(st, create_parts(m, &env, e));
    TRY_OUT(st, model_tasks_declare(&m->tasks, c, m->numeric_part > 0 ? n_numeric : 0, &m->table, e));
    TRY_OUT(st, model_recal_declare(&m->recal, c, &m->table, e));
    TRY_OUT(st, param_table_seal(&m->table, e));
    if (enc != NULL) {
        m->C = encoder_shape(enc)->C;
        m->frozen = encoder_shape(enc)->L;
        if (conf_list_has(c->model_parts, part_text.name)) m->frozen -= (size_t)c->model_trainable_layers;
    }
    m->fingerprint = fingerprint(m, c);
    *out = m;
    m = NULL;
out:
    model_free(m);
    return st;
}

void model_free(struct model *m)
{
    if (m == NULL) return;
    for (size_t i = 0; i < m->n_parts; i++) part_destroy(m->parts[i]);
    param_table_fini(&m->table);
    mem_free(m);
}

const struct param_table *model_table(const struct model *m)
{
    return &m->table;
}

size_t model_n_parts(const struct model *m)
{
    return m->n_parts - 1;
}

bool model_part_counts(const struct model *m, size_t i)
{
    return m->parts[i + 1]->counts;
}

size_t model_n_tasks(const struct model *m)
{
    return m->tasks.n;
}

size_t model_n_rows(const struct model *m)
{
    return m->n_parts - 1 + m->tasks.n;
}

bool model_by_utility(const struct model *m)
{
    return m->tasks.by_utility;
}

float model_rank_key(const struct model *m, const float *logits, const float *part_logits, size_t K, size_t i)
{
    return m->tasks.by_utility ? model_tasks_utility(&m->tasks, part_logits + (m->n_parts - 1) * K, K, i) : logits[i];
}

const char *model_task_name(const struct model *m, size_t i)
{
    return m->tasks.names[i];
}

const char *model_part_name(const struct model *m, size_t i)
{
    return m->parts[i + 1]->ops->name;
}

const float *model_precision(const struct model *m, const struct param_set *p, size_t *n)
{
    const struct param *q = param_find(&m->table, PART_NUMERIC_PRECISION);
    *n = q != NULL ? q->shape[0] : 0;
    return q != NULL ? p->w + q->offset : NULL;
}

size_t model_frozen_layers(const struct model *m)
{
    return m->frozen;
}

bool model_wants_states(const struct model *m)
{
    return m->wants_states;
}

bool model_wants_all_states(const struct model *m)
{
    return m->wants_all_states;
}

bool model_wants_tokens(const struct model *m)
{
    return m->wants_tokens;
}

bool model_states_alike(const struct model *a, const struct model *b)
{
    return model_frozen_layers(a) == model_frozen_layers(b) && a->wants_tokens == b->wants_tokens;
}

uint64_t model_fingerprint(const struct model *m)
{
    return m->fingerprint;
}

enum status model_init_params(const struct model *m, uint64_t seed, struct param_set *p, struct err *e)
{
    if (p->n != m->table.total)
        return ERR_SET(e, STATUS_INVALID, "parameters: %zu floats, the model has %zu", p->n, m->table.total);
    memset(p->w, 0, p->n * sizeof *p->w);
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i]->ops->init != NULL) m->parts[i]->ops->init(m->parts[i], &m->table, seed, p->w);
    model_tasks_init(&m->tasks, &m->table, p->w);
    param_touch(p);
    return STATUS_OK;
}

size_t model_replaced_layers(const struct model *m, const struct param_set *p, struct encoder_replaced *out, size_t max)
{
    for (size_t i = 0; i < m->n_parts; i++) {
        const struct part_ops *o = m->parts[i]->ops;
        if (o->replaced != NULL) return o->replaced(m->parts[i], &m->table, p->w, out, max);
    }
    return 0;
}
